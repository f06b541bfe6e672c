// profile.hpp: what an executable counts in all its calls, once it was told to.  Times are in ns.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace scanlib {

using Counter = std::atomic<std::int64_t>;

// Of one loop; the time of a part includes that of the loops inside it.
struct LoopCounters {
  Counter calls{0};
  Counter steps{0};
  Counter blocks{0};
  Counter total_ns{0};
  Counter prologue_ns{0};
  Counter recurrence_ns{0};
  Counter epilogue_ns{0};
  Counter bytes{0};  // of its storages and temporaries, the most of any call
};

// `loops` is in the order of Loop::number: as the plan lists them, each before the loops inside it.
struct Profile {
  explicit Profile(std::size_t loop_count) : loops(loop_count) {}
  Counter calls{0};
  Counter total_ns{0};
  std::vector<LoopCounters> loops;
};

}  // namespace scanlib
