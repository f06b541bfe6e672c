// threads_test.cpp: the pool: every part once, in order of ranges, nested, concurrent, asleep, after a fork.
#include "threads.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "check.hpp"
#include "plans.hpp"
#include "scanlib/memory.hpp"

using namespace scanlib;
using plans::Threads;

namespace {

// Sums 0 .. count - 1 in parts.
std::int64_t parallel_sum(std::int64_t count, std::int64_t grain) {
  std::array<std::int64_t, max_threads> sums{};
  run_split(split_items(count, grain, get_threads()), [&](int part, std::int64_t first, std::int64_t last) {
    std::int64_t sum = 0;
    for (std::int64_t i = first; i < last; ++i) sum += i;
    sums[static_cast<std::size_t>(part)] = sum;
  });
  std::int64_t total = 0;
  for (const std::int64_t sum : sums) total += sum;
  return total;
}

// The same in several parts for each thread.
std::int64_t sum_in_shares(std::int64_t count, std::int64_t enough, int shares) {
  std::array<std::int64_t, max_threads> sums{};
  run_split(split_in_shares(count, enough, get_threads(), shares),
            [&](int part, std::int64_t first, std::int64_t last) {
              for (std::int64_t i = first; i < last; ++i) sums[static_cast<std::size_t>(part)] += i;
            });
  std::int64_t total = 0;
  for (const std::int64_t sum : sums) total += sum;
  return total;
}

bool sums_are_right(int repeats) {
  bool good = true;
  for (int i = 0; i < repeats; ++i) {
    const std::int64_t count = 1 + i % 300;
    good = good && parallel_sum(count, 1 + i % 3) == count * (count - 1) / 2;
  }
  return good;
}

}  // namespace

TEST(threads, shares) {
  const Threads threads(3);
  for (const std::int64_t count : {0, 1, 11, 12, 1000}) {
    const Split split = split_in_shares(count, 4, 3, 4);
    CHECK(split.parts == (count == 1000 ? 12 : count < 3 ? static_cast<int>(count < 1 ? 1 : count) : 3));
    for (int i = 0; i < 200; ++i) CHECK(sum_in_shares(count, 4, 4) == count * (count - 1) / 2);
  }
  CHECK(split_in_shares(1'000'000, 4, max_threads, 4).parts == max_threads);
}

TEST(threads, setting) {
  const Threads threads(3);
  CHECK(get_threads() == 3);
  set_threads(0);
  CHECK(get_threads() >= 1);
  set_threads(-5);
  CHECK(get_threads() >= 1);
  set_threads(1'000'000);
  CHECK(get_threads() == max_threads);
}

TEST(threads, splits_are_contiguous_and_even) {
  for (const std::int64_t count : {0, 1, 63, 64, 65, 1000, 12345}) {
    for (const std::int64_t grain : {1, 8, 64}) {
      for (const int threads : {-1, 1, 2, 3, 16}) {
        const Split split = split_items(count, grain, threads);
        CHECK(split.parts >= 1 && split.parts <= std::max(threads, 1));
        CHECK(split.first(0) == 0 && split.first(split.parts) == count);
        for (int part = 0; part < split.parts; ++part) {
          const std::int64_t size = split.first(part + 1) - split.first(part);
          CHECK(split.first(part) % grain == 0 && (size > 0 || count == 0));
          CHECK(size <= (count / grain / split.parts + 2) * grain);
        }
      }
    }
  }
}

TEST(threads, every_item_once) {
  for (const int count : {1, 2, 3, 9}) {
    const Threads threads(count);
    CHECK(sums_are_right(2000));
    std::vector<int> seen(1000, 0);
    parallel_for(1000, 7, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    CHECK(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
  }
}

TEST(threads, workers_wake_up_from_sleep) {
  const Threads threads(3);
  for (int i = 0; i < 30; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(20 * i));  // before, at, and after falling asleep
    CHECK(sums_are_right(2));
  }
}

TEST(threads, nothing_is_allocated) {
  const Threads threads(3);
  CHECK(sums_are_right(1));
  const std::int64_t before = allocation_count();
  CHECK(sums_are_right(100));
  CHECK(allocation_count() == before);
}

TEST(threads, nested_use_runs_inline) {
  const Threads threads(4);
  std::atomic<std::int64_t> total{0};
  for (int i = 0; i < 100; ++i) {
    parallel_for(4, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t outer = first; outer < last; ++outer) total += parallel_sum(10, 1);
    });
  }
  CHECK(total == 100 * 4 * 45);
}

TEST(threads, concurrent_callers) {
  const Threads threads(3);
  std::atomic<bool> good{true};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      if (!sums_are_right(2000)) good = false;
    });
  }
  for (int i = 0; i < 200; ++i) set_threads(1 + i % 6);
  for (std::thread& caller : callers) caller.join();
  CHECK(good);
}

TEST(threads, forked_children_have_their_own) {
  const Threads threads(3);
  CHECK(sums_are_right(10));
  for (int i = 0; i < 5; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(sums_are_right(100) ? 0 : 1);
    CHECK(sums_are_right(100));
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
}

namespace {

// Check 5 for lane 130 and for the last lane; the lane and the step it would be reported for.
std::int64_t failing_lanes(void**, std::int64_t* d, std::int64_t start, std::int64_t, std::int64_t first,
                           std::int64_t last) {
  for (std::int64_t lane = first; lane < last; ++lane) {
    if (lane != 130 && lane != d[plans::one] - 1) continue;
    d[report_step_slot] = start;
    d[report_value_slot] = lane;
    return 5;
  }
  return 0;
}

}  // namespace

TEST(threads, lowest_failing_lane_reports) {
  Plan plan;
  plan.initial_dims.assign(plans::total_slots, 0);
  plan.initial_dims[plans::one] = 1000;
  plan.initial_dims[plans::block] = 1'000'000;
  plan.instructions = {{Call{0, "lanes", plans::one, plans::block}}};
  const Executable executable(std::move(plan), {failing_lanes});
  for (const int count : {1, 2, 7}) {
    const Threads threads(count);
    for (int i = 0; i < 50; ++i) {
      const Result result = executable.run(nullptr);
      CHECK(result.failure().kind == FailureKind::check && result.failure().code == 5);
      CHECK(result.failure().values[0] == 130);
    }
  }
}
