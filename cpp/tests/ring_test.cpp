// ring_test.cpp: the index invariant of ring.hpp, by simulating rings.
#include "scanlib/ring.hpp"

#include <vector>

#include "check.hpp"

using namespace scanlib;

TEST(ring, sizes) {
  CHECK(ring_slots(0, 0) == 0);
  CHECK(ring_slots(1, 0) == 1);
  CHECK(ring_slots(1, 1) == 2);
  CHECK(ring_slots(0, 3) == 4);
  CHECK(ring_slots(5, 3) == 5);
  CHECK(ring_slots(1, 1, true) == 1);
  CHECK(ring_slots(0, 3, true) == 3);
  CHECK(ring_slots(5, 3, true) == 5);
  CHECK(storage_slots(keep_all, 2, 2, 10) == 12);
  CHECK(storage_slots(3, 2, 2, 10) == 3);
}

// Writes steps into a ring and checks that all a step may read, and all that is kept, is there.
static bool simulate(std::int64_t keep, std::int64_t depth, std::int64_t steps) {
  const std::int64_t initial = depth;
  const std::int64_t slots = storage_slots(keep, depth, initial, steps);
  if (slots == 0) return true;
  std::vector<std::int64_t> ring(static_cast<std::size_t>(slots), -1000);
  const auto at = [&](std::int64_t step) -> std::int64_t& {
    return ring[static_cast<std::size_t>(ring_slot(step, initial, slots))];
  };
  for (std::int64_t step = -initial; step < 0; ++step) at(step) = step;
  for (std::int64_t step = 0; step < steps; ++step) {
    at(step) = step;
    for (std::int64_t tap = 1; tap <= depth; ++tap) {
      if (at(step - tap) != step - tap) return false;
    }
  }
  const std::int64_t kept = keep == keep_all ? steps : keep;
  for (std::int64_t back = 1; back <= kept && steps - back >= 0; ++back) {
    if (at(steps - back) != steps - back) return false;
  }
  return true;
}

TEST(ring, invariant) {
  for (std::int64_t keep = keep_all; keep < 6; ++keep) {
    for (std::int64_t depth = 0; depth < 5; ++depth) {
      for (std::int64_t steps = 0; steps < 20; ++steps) CHECK(simulate(keep, depth, steps));
    }
  }
}
