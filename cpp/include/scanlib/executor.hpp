// executor.hpp: an Executable is an immutable plan with its kernels; each call owns a Workspace.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "scanlib/error.hpp"
#include "scanlib/plan.hpp"
#include "scanlib/profile.hpp"
#include "scanlib/step_abi.hpp"

namespace scanlib {

class Workspace;
class Executable;

// One argument of a call: C-contiguous elements and `ndim` dims, as the plan's Input declares.
struct InputView {
  const void* data;
  const std::int64_t* dims;
};

// One result of a call, valid as long as its Result.
struct OutputView {
  const void* data;
  DType dtype;
  int ndim;
  const std::int64_t* dims;
  std::size_t bytes;
};

// Called between blocks, at most every 20 ms; returning true ends the call with FailureKind::interrupted.
struct InterruptHook {
  bool (*function)(void* context) = nullptr;
  void* context = nullptr;
};

// The outcome of one call.  Owns the workspace until it is destroyed; move-only.
class Result {
 public:
  Result() noexcept = default;
  Result(const Executable* executable, Workspace* workspace) noexcept;
  Result(Result&& other) noexcept;
  Result& operator=(Result&& other) noexcept;
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result();

  const Failure& failure() const noexcept;
  OutputView output(std::size_t index) const noexcept;
  // Gives away the buffer behind an output, so that its data needs no copy: the caller must release() the pointer
  // returned.  nullptr when the output must be copied instead: the buffer is an input, a constant, shared with
  // an earlier taken output, inside the workspace's arena, or much larger than the output.
  void* take(std::size_t index) noexcept;
  // Most bytes live at once in buffers of this call.
  std::int64_t peak_bytes() const noexcept;

 private:
  const Executable* executable_ = nullptr;
  Workspace* workspace_ = nullptr;
};

class Executable {
 public:
  // Throws InternalError if the plan is broken.
  Executable(Plan plan, std::vector<KernelFunction> kernels);
  ~Executable();
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  // Runs the plan.  May be called from many threads at once.  inputs has one entry per Input of the plan.
  Result run(const InputView* inputs, const InterruptHook& interrupt = {}) const noexcept;

  // From now on calls are counted and timed.  Must not run while a call does.
  void start_profile();
  // nullptr unless started.
  const Profile* profile() const noexcept { return profile_.get(); }

  const Plan& plan() const noexcept { return plan_; }
  const std::vector<KernelFunction>& kernels() const noexcept { return kernels_; }

 private:
  friend class Result;
  Workspace* acquire() const noexcept;
  void give_back(Workspace* workspace) const noexcept;

  static constexpr std::size_t idle_slots = 4;

  Plan plan_;
  std::vector<KernelFunction> kernels_;
  std::unique_ptr<Profile> profile_;
  // Workspaces waiting for the next call: a call takes one by exchanging it for nullptr.
  mutable std::atomic<Workspace*> idle_[idle_slots] = {};
};

}  // namespace scanlib
