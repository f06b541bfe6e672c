// loop.cpp: THE loop.  Every scan, native or not, nested or not, runs through run_loop.
#include <algorithm>

#include "runner.hpp"
#include "scanlib/lanes.hpp"
#include "timer.hpp"

namespace scanlib {
namespace {

constexpr std::int64_t poll_interval_ns = 20'000'000;

// Whether the instructions can run on a range of rows; Python narrows all of a prologue's products or none.
bool have_rows(const Instructions& instructions) noexcept {
  for (const Instruction& instruction : instructions) {
    const Library* library = std::get_if<Library>(&instruction.operation);
    if (library != nullptr && library->operands.front().row_axis != no_axis) return true;
  }
  return false;
}

}  // namespace

// Puts the loop in front of the path of the failure, so that the path ends up outermost first.
bool Runner::locate(const Loop& loop, std::int64_t step) noexcept {
  auto& path = part_.failure.path;
  path.insert(path.begin(), LoopPosition{loop.name, step});
  return false;
}

bool Runner::run_loop(const Loop& loop) noexcept {
  std::int64_t* dims = workspace_.dims();
  const std::int64_t steps = dims[loop.steps_slot];
  Stopwatch watch(profile_ != nullptr);
  dims[loop.stop_slot] = 0;
  dims[loop.done_slot] = 0;
  dims[report_step_slot] = -1;
  if (steps < 0) {
    workspace_.fail(FailureKind::steps, steps, "");
    return locate(loop, -1);
  }
  if (!allocate_storages(loop, steps, workspace_)) return locate(loop, -1);
  if (!run(loop.start, 0, 1)) return locate(loop, -1);
  if (!(may_overlap(loop, steps) ? run_paced(loop, steps) : run_blocks(loop, 0, steps))) return false;
  straighten_rings(loop, dims[loop.done_slot], workspace_);
  if (LoopCounters* counted = counters(loop)) {
    ++counted->calls;
    counted->steps += dims[loop.done_slot];
    counted->total_ns += watch.lap();
    counted->bytes = std::max(counted->bytes.load(), bytes(loop));
  }
  for (const int buffer : loop.temporaries) workspace_.drop(buffer);
  return true;
}

// nullptr unless the call is counted and timed.
LoopCounters* Runner::counters(const Loop& loop) noexcept {
  return profile_ == nullptr ? nullptr : &profile_->loops[static_cast<std::size_t>(loop.number)];
}

std::int64_t Runner::bytes(const Loop& loop) const noexcept {
  std::size_t total = 0;
  const auto live = [&](int buffer) {
    return workspace_.pointer(buffer) == nullptr ? 0 : workspace_.capacity(buffer);
  };
  for (const Storage& storage : loop.storages) total += live(storage.buffer);
  for (const int buffer : loop.temporaries) total += live(buffer);
  return static_cast<std::int64_t>(total);
}

// Runs the steps [first, steps).
bool Runner::run_blocks(const Loop& loop, std::int64_t first, std::int64_t steps) noexcept {
  const std::int64_t* dims = workspace_.dims();
  std::int64_t done = first;
  while (done < steps) {
    std::int64_t last = done + std::min(std::max<std::int64_t>(dims[loop.block_slot], 1), steps - done);
    if (!run_block(loop, done, last)) return false;
    done = last;
    if (dims[loop.stop_slot] != 0) break;
    if (done < steps && poll()) {
      workspace_.fail(FailureKind::interrupted, 0, "");
      return locate(loop, done - 1);
    }
  }
  workspace_.dims()[loop.done_slot] = done;
  return true;
}

// Runs the steps [first, last); lowers `last` if the loop stops inside the block.
bool Runner::run_block(const Loop& loop, std::int64_t first, std::int64_t& last) noexcept {
  std::int64_t* dims = workspace_.dims();
  dims[report_step_slot] = -1;
  LoopCounters* counted = counters(loop);
  Stopwatch watch(counted != nullptr);
  const Split split = loop.native ? Split{0, 1, 1} : split_rows(loop, last - first);
  const bool whole = split.parts == 1 || !have_rows(loop.prologue);
  if (whole && !run(loop.prologue, first, last)) return locate(loop, dims[report_step_slot]);
  if (counted != nullptr) counted->prologue_ns += watch.lap();
  if (loop.native) {
    if (!run(loop.recurrence, first, last)) return locate(loop, dims[report_step_slot]);
  } else {
    if (!(split.parts > 1 ? run_rows(loop, first, last, split, !whole) : run_steps(loop, first, last)))
      return false;
  }
  if (counted != nullptr) counted->recurrence_ns += watch.lap();
  if (dims[loop.stop_slot] != 0) last = dims[loop.stop_slot];
  dims[report_step_slot] = -1;
  if (!run(loop.epilogue, first, last)) return locate(loop, dims[report_step_slot]);
  if (counted != nullptr) {
    counted->epilogue_ns += watch.lap();
    ++counted->blocks;
  }
  return true;
}

// Ranges of rows worth a thread each.
Split Runner::split_rows(const Loop& loop, std::int64_t steps) const noexcept {
  if (loop.rows_slot == no_slot) return Split{0, 1, 1};
  const std::int64_t rows = part_.dim(loop.rows_slot);
  const std::int64_t work = steps * rows * part_.dim(loop.row_cost_slot);
  return Split{rows, row_grain, lane_parts(rows, row_grain, work, workspace_.part_count())};
}

// Each range of rows goes through all steps by itself, the first with the dims table of the call; with `prepare`,
// through the prologue before.  Of those that fail, the one reports that would have failed first step by step.
bool Runner::run_rows(const Loop& loop, std::int64_t first, std::int64_t last, const Split& split,
                      bool prepare) noexcept {
  struct End {
    std::int64_t step = INT64_MAX;
    std::ptrdiff_t instruction = 0;
    bool before(const End& other) const {
      return step != other.step ? step < other.step : instruction < other.instruction;
    }
  };
  End ends[max_threads];
  for (int number = 1; number < split.parts; ++number) workspace_.fresh_part(number, part_);
  const auto part_of = [&](int number) -> Part& { return number == 0 ? part_ : workspace_.part(number); };
  run_split(split, [&](int number, std::int64_t first_row, std::int64_t last_row) {
    Runner own(*this, part_of(number), first_row, last_row);
    if (prepare && !own.run(loop.prologue, first, last)) {
      ends[number] = End{first, own.failed_};
      return;
    }
    for (std::int64_t step = first; step < last; ++step) {
      own.part_.dims[loop.step_slot] = step;
      if (own.run(loop.recurrence, step, step + 1)) continue;
      ends[number] = End{step, own.failed_};
      return;
    }
  });
  const int lowest = static_cast<int>(
      std::min_element(ends, ends + split.parts, [](const End& a, const End& b) { return a.before(b); }) - ends);
  const std::int64_t step = ends[lowest].step;
  if (step == INT64_MAX) return true;
  if (lowest != 0) {
    std::copy_n(part_of(lowest).dims, reserved_slots, part_.dims);
    part_.failure = part_of(lowest).failure;
  }
  return locate(loop, step);
}

bool Runner::run_steps(const Loop& loop, std::int64_t first, std::int64_t last) noexcept {
  std::int64_t* dims = part_.dims;
  for (std::int64_t step = first; step < last; ++step) {
    dims[loop.step_slot] = step;
    if (!run(loop.recurrence, step, step + 1)) return locate(loop, step);
    if (dims[loop.stop_slot] != 0) break;
  }
  return true;
}

// True if the call must end.  The hook is called at most once per interval, and not in the first one.
bool Runner::poll() noexcept {
  if (workspace_.interrupt.function == nullptr) return false;
  const std::int64_t now = now_ns();
  if (workspace_.last_poll == 0) workspace_.last_poll = now;
  if (now - workspace_.last_poll < poll_interval_ns) return false;
  workspace_.last_poll = now;
  return workspace_.interrupt.function(workspace_.interrupt.context);
}

}  // namespace scanlib
