// runner.hpp: walks the instructions of a plan for one call.  All functions return false after a failure.
#pragma once

#include <cstdint>
#include <vector>

#include "scanlib/plan.hpp"
#include "scanlib/profile.hpp"
#include "scanlib/step_abi.hpp"
#include "threads.hpp"
#include "workspace.hpp"

namespace scanlib {

class Runner {
 public:
  // `profile` is nullptr unless the call is to be counted and timed.
  Runner(const std::vector<KernelFunction>& kernels, Workspace& workspace, Profile* profile) noexcept
      : kernels_(kernels), workspace_(workspace), profile_(profile), part_(workspace.main()) {}

  // Runs the instructions for the steps [start, stop); (0, 1) outside of a loop.
  bool run(const Instructions& instructions, std::int64_t start, std::int64_t stop) noexcept;

 private:
  // A range of a loop's rows, run by any thread: it has a part of its own, and takes no time.
  Runner(const Runner& whole, Part& part, std::int64_t first_row, std::int64_t last_row) noexcept
      : kernels_(whole.kernels_),
        workspace_(whole.workspace_),
        profile_(nullptr),
        part_(part),
        first_row_(first_row),
        last_row_(last_row) {}

  bool run_call(const Call& call, std::int64_t start, std::int64_t stop) noexcept;
  std::int64_t run_lanes(const Call& call, std::int64_t start, std::int64_t stop) noexcept;
  std::int64_t run_columns(const Call& call, std::int64_t start, std::int64_t stop) noexcept;
  bool run_library(const Library& library, std::int64_t start, std::int64_t stop) noexcept;
  void* view(const Operand& operand, std::int64_t* dims, std::int64_t* strides) const noexcept;
  std::int64_t failing_row(const Library& library, std::int64_t rows) noexcept;
  bool run_branch(const Branch& branch, std::int64_t start, std::int64_t stop) noexcept;

  // loop.cpp
  bool run_loop(const Loop& loop) noexcept;
  bool run_blocks(const Loop& loop, std::int64_t first, std::int64_t steps) noexcept;
  bool run_block(const Loop& loop, std::int64_t first, std::int64_t& last) noexcept;
  // overlap.cpp
  bool may_overlap(const Loop& loop, std::int64_t steps) const noexcept;
  bool run_paced(const Loop& loop, std::int64_t steps) noexcept;
  bool run_overlapped(const Loop& loop, std::int64_t first, std::int64_t steps) noexcept;

  Split split_rows(const Loop& loop, std::int64_t steps) const noexcept;
  bool run_rows(const Loop& loop, std::int64_t first, std::int64_t last, const Split& split, bool prepare) noexcept;
  bool run_steps(const Loop& loop, std::int64_t first, std::int64_t last) noexcept;
  bool poll() noexcept;
  bool locate(const Loop& loop, std::int64_t step) noexcept;
  LoopCounters* counters(const Loop& loop) noexcept;
  std::int64_t bytes(const Loop& loop) const noexcept;

  const std::vector<KernelFunction>& kernels_;
  Workspace& workspace_;
  Profile* profile_;
  Part& part_;
  std::int64_t first_row_ = 0;
  std::int64_t last_row_ = all_lanes;
  std::ptrdiff_t failed_ = 0;  // the number of the instruction that failed, in its list
};

// storage.cpp: makes the storages of a loop live, sized for `steps` steps.
bool allocate_storages(const Loop& loop, std::int64_t steps, Workspace& workspace) noexcept;
// After the last of `done` steps: the steps that are kept stand in the first slots, oldest first, so that they are
// an array; one step that is kept stays where it is.
void straighten_rings(const Loop& loop, std::int64_t done, Workspace& workspace) noexcept;

}  // namespace scanlib
