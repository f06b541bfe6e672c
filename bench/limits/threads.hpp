// split(n, threads, f): f(first, last) on equal parts of 0..n, one per thread.
#pragma once
#include <cstdint>
#include <thread>
#include <vector>

template <class Function>
void split(int64_t n, int64_t threads, Function function) {
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; ++i) others.emplace_back(function, n * i / threads, n * (i + 1) / threads);
  function(0, n / threads);
  for (auto& thread : others) thread.join();
}
