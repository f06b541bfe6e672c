// split(n, threads, f): f(first, last) on equal parts of 0..n, one per thread.
#pragma once
#include <sched.h>

#include <cstdint>
#include <thread>
#include <vector>

// A new thread may stay on its parent's CPU for milliseconds; this one goes to the one `places` after that.
inline void leave(int parent, int64_t places) {
  cpu_set_t allowed, chosen;
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET((parent + cpu) % CPU_SETSIZE, &allowed)) cpus.push_back((parent + cpu) % CPU_SETSIZE);
  CPU_ZERO(&chosen);
  CPU_SET(cpus[places % cpus.size()], &chosen);
  sched_setaffinity(0, sizeof chosen, &chosen);
}

template <class Function>
void split(int64_t n, int64_t threads, Function function) {
  const int cpu = sched_getcpu();
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; ++i)
    others.emplace_back([=] {
      leave(cpu, i);
      function(n * i / threads, n * (i + 1) / threads);
    });
  function(0, n / threads);
  for (auto& thread : others) thread.join();
}
