// ring.hpp: how steps map to slots of a storage.
//
// Index invariant.  A storage has `initial` slots filled before step 0 and R slots in all.  The value of step t
// (t >= -initial) is in slot (t + initial) mod R.  When step t runs, the values of steps t-depth .. t-1 are all
// there, and writing step t overwrites step t - R, which nothing reads any more:
//   R >= depth + 1   the slot written is never one that step t still reads,
//   R >= keep        the last `keep` values survive the last step.
// A storage that is updated in place has R >= depth only: what is written is first read.  A step changes the one
// slot of a state of depth 1 when it has read it; or lanes, which nothing else reads, are in registers for all
// steps of a block. After the last step the core turns a ring that keeps several steps so that the oldest of them
// is in slot 0. A storage of the whole trace has R = initial + steps, so the "mod R" never does anything.
#pragma once

#include <cstdint>

namespace scanlib {

constexpr std::int64_t keep_all = -1;

// Slots of a ring that keeps the last `keep` steps and is read `depth` steps back; 0 if nothing is stored.
// `in_place`: what a step, or a block of steps, overwrites has been read before.
// The rule itself stands in storage.cpp and nowhere else.  keep >= 0, depth >= 0.
std::int64_t ring_slots(std::int64_t keep, std::int64_t depth, bool in_place = false) noexcept;

// Slots of a storage, whole traces included.
std::int64_t storage_slots(std::int64_t keep, std::int64_t depth, std::int64_t initial, std::int64_t steps,
                           bool in_place = false) noexcept;

// The slot that holds the value of `step` (>= -initial) in a storage of `slots` (> 0) slots.
constexpr std::int64_t ring_slot(std::int64_t step, std::int64_t initial, std::int64_t slots) noexcept {
  return (step + initial) % slots;
}

}  // namespace scanlib
