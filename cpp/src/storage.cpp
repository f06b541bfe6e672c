// storage.cpp: the one place that decides how many slots a storage has.  ring.hpp states the invariant.
#include <algorithm>

#include "runner.hpp"
#include "scanlib/ring.hpp"

namespace scanlib {

std::int64_t ring_slots(std::int64_t keep, std::int64_t depth, bool in_place) noexcept {
  if (depth == 0) return keep;
  return std::max(keep, in_place ? depth : depth + 1);
}

std::int64_t storage_slots(std::int64_t keep, std::int64_t depth, std::int64_t initial, std::int64_t steps,
                           bool in_place) noexcept {
  return keep == keep_all ? initial + steps : ring_slots(keep, depth, in_place);
}

bool allocate_storages(const Loop& loop, std::int64_t steps, Workspace& workspace) noexcept {
  for (const Storage& storage : loop.storages) {
    if (storage.keep == 0 && storage.depth == 0) continue;
    const std::int64_t slots =
        storage_slots(storage.keep, storage.depth, storage.initial_slots, steps, storage.in_place);
    const std::int64_t slot_bytes = workspace.dim(storage.slot_bytes_slot);
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(slots, slot_bytes, &bytes)) {
      return workspace.fail(FailureKind::memory, INT64_MAX, "");
    }
    if (!workspace.reserve(storage.buffer, bytes)) return false;
  }
  return true;
}

void straighten_rings(const Loop& loop, std::int64_t done, Workspace& workspace) noexcept {
  for (const Storage& storage : loop.storages) {
    if (storage.keep < 2) continue;
    const std::int64_t slots =
        storage_slots(storage.keep, storage.depth, storage.initial_slots, 0, storage.in_place);
    const std::int64_t oldest = done - std::min(storage.keep, done);
    const std::int64_t slot_bytes = workspace.dim(storage.slot_bytes_slot);
    const std::int64_t turn = ring_slot(oldest, storage.initial_slots, slots);
    auto* first = static_cast<char*>(workspace.pointer(storage.buffer));
    std::rotate(first, first + turn * slot_bytes, first + slots * slot_bytes);
  }
}

}  // namespace scanlib
