// overlap.cpp: blocks whose parts run beside each other, on two threads.
//
// While one thread takes block k through its recurrence, another one ends block k - 1 and prepares block k + 1.
// Invariants:
//
//   * All of block k works with the tables of side k mod 2, whose pointers lead to one half of what is memory of
//     blocks; blocks k - 1 and k + 1 have the same half, which one thread uses for the one, then for the other.
//   * Python has made sure that a recurrence and the other parts of its neighbours meet in nothing else.
//   * Failures are told in the order of a loop that runs part by part: block k - 1 ends before block k recurs, and
//     what failed in the preparation of block k + 1 is told when its turn has come.
#include <algorithm>

#include "runner.hpp"
#include "scanlib/lanes.hpp"
#include "scanlib/threads.hpp"
#include "timer.hpp"

namespace scanlib {
namespace {

constexpr std::int64_t blocks_of_trial = 16;

// What runs beside the recurrence counts as far as the loop waits for it.
void add_times(LoopCounters& counted, std::int64_t total, std::int64_t recurrence, std::int64_t epilogue) noexcept {
  const std::int64_t waited = std::max<std::int64_t>(total - recurrence, 0);
  counted.recurrence_ns += total - waited;
  counted.epilogue_ns += std::min(waited, epilogue);
  counted.prologue_ns += waited - std::min(waited, epilogue);
  ++counted.blocks;
}

}  // namespace

bool Runner::may_overlap(const Loop& loop, std::int64_t steps) const noexcept {
  if (loop.shared_buffers.empty() || std::min(workspace_.part_count(), get_threads()) < 2) return false;
  const std::int64_t length = part_.dim(loop.block_slot);
  return steps > length && length * part_.dim(loop.beside_cost_slot) >= work_of_part;
}

// Runs all steps, the two threads with or without overlap, whichever takes less time.
bool Runner::run_paced(const Loop& loop, std::int64_t steps) noexcept {
  Pace& pace = workspace_.pace(loop.number);
  const std::int64_t length = part_.dim(loop.block_slot);
  std::int64_t first = 0;
  while (first < steps) {
    const std::int64_t rest = steps - first;
    const std::int64_t count = rest < (blocks_of_trial + 2) * length ? rest : blocks_of_trial * length;
    const int way = pace.choose();
    const std::int64_t before = now_ns();
    const bool good =
        way == 0 ? run_blocks(loop, first, first + count) : run_overlapped(loop, first, first + count);
    if (!good) return false;
    pace.record(way, static_cast<double>(now_ns() - before) / static_cast<double>(count));
    first += count;
  }
  return true;
}

// Runs the steps [first, steps).
bool Runner::run_overlapped(const Loop& loop, std::int64_t first, std::int64_t steps) noexcept {
  const std::int64_t length = part_.dim(loop.block_slot);
  const std::int64_t blocks = (steps - first + length - 1) / length;
  Runner sides[2] = {Runner(*this, workspace_.fresh_side(0), 0, all_lanes),
                     Runner(*this, workspace_.fresh_side(1), 0, all_lanes)};
  for (const int buffer : loop.shared_buffers) {
    const std::int64_t half = workspace_.dim(workspace_.bytes_slot(buffer)) / 2;
    sides[1].part_.pointers[buffer] = static_cast<char*>(workspace_.pointer(buffer)) + half;
  }
  const auto last_of = [&](std::int64_t block) { return std::min(first + (block + 1) * length, steps); };
  const auto run_stage = [&](const Instructions& stage, std::int64_t block) {
    if (block < 0 || block >= blocks) return true;
    Runner& side = sides[block % 2];
    side.part_.dims[report_step_slot] = -1;
    return side.run(stage, first + block * length, last_of(block));
  };
  const auto fail = [&](std::int64_t block) {
    const Part& side = sides[block % 2].part_;
    std::copy_n(side.dims, reserved_slots, part_.dims);
    part_.failure = side.failure;
    return locate(loop, part_.dims[report_step_slot]);
  };

  LoopCounters* counted = counters(loop);
  Stopwatch watch(counted != nullptr);
  bool ready = run_stage(loop.prologue, 0);
  if (counted != nullptr) counted->prologue_ns += watch.lap();
  for (std::int64_t block = 0; block < blocks; ++block) {
    bool recurred = ready, ended = true, next_ready = true;
    std::int64_t recurrence_ns = 0, epilogue_ns = 0;
    run_split(Split{2, 1, 2}, [&](int number, std::int64_t, std::int64_t) {
      Stopwatch own(counted != nullptr);
      if (number == 0) {
        recurred = ready && run_stage(loop.recurrence, block);
        recurrence_ns = own.lap();
      } else {
        ended = run_stage(loop.epilogue, block - 1);
        epilogue_ns = own.lap();
        next_ready = ended && run_stage(loop.prologue, block + 1);
      }
    });
    if (counted != nullptr) add_times(*counted, watch.lap(), recurrence_ns, epilogue_ns);
    if (!ended) return fail(block - 1);
    if (!recurred) return fail(block);
    ready = next_ready;
    if (block + 1 < blocks && poll()) {
      workspace_.fail(FailureKind::interrupted, 0, "");
      return locate(loop, last_of(block) - 1);
    }
  }
  if (!run_stage(loop.epilogue, blocks - 1)) return fail(blocks - 1);
  if (counted != nullptr) counted->epilogue_ns += watch.lap();
  workspace_.take_dims(sides[(blocks - 1) % 2].part_);
  part_.dims[loop.done_slot] = steps;
  return true;
}

}  // namespace scanlib
