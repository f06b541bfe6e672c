// executor.cpp: the outer boundary of a call: workspaces, results, outputs.
#include "scanlib/executor.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "runner.hpp"
#include "scanlib/memory.hpp"
#include "timer.hpp"
#include "workspace.hpp"

namespace scanlib {
namespace {

const Failure& no_workspace() noexcept {
  static const Failure failure = [] {
    Failure made;
    made.kind = FailureKind::memory;
    return made;
  }();
  return failure;
}

// Writes the dims of all outputs and checks that each view lies inside its buffer.
bool finish_outputs(const Plan& plan, Workspace& workspace) noexcept {
  for (std::size_t i = 0; i < plan.outputs.size(); ++i) {
    const Output& output = plan.outputs[i];
    std::int64_t count = 1;
    std::int64_t* dims = workspace.output_dims.data() + workspace.output_start[i];
    for (std::size_t axis = 0; axis < output.dims.size(); ++axis) {
      dims[axis] = workspace.dim(output.dims[axis]);
      count *= dims[axis];
    }
    if (count == 0 || plan.buffers[static_cast<std::size_t>(output.buffer)].role != Role::temporary) continue;
    const std::int64_t end = workspace.offset(output.offset_slot) + count;
    const auto capacity = workspace.pointer(output.buffer) == nullptr ? 0 : workspace.capacity(output.buffer);
    if (end < count || static_cast<std::size_t>(end) * size_of(output.dtype) > capacity) {
      return workspace.fail(FailureKind::internal, static_cast<std::int64_t>(i), "output outside of its buffer");
    }
  }
  return true;
}

bool is_shared(const Plan& plan, int buffer) noexcept {
  return std::count_if(plan.outputs.begin(), plan.outputs.end(),
                       [=](const Output& output) { return output.buffer == buffer; }) > 1;
}

}  // namespace

const char* name_of(FailureKind kind) noexcept {
  switch (kind) {
    case FailureKind::none:
      return "none";
    case FailureKind::check:
      return "check";
    case FailureKind::library:
      return "library";
    case FailureKind::memory:
      return "memory";
    case FailureKind::steps:
      return "steps";
    case FailureKind::interrupted:
      return "interrupted";
    case FailureKind::internal:
      break;
  }
  return "internal";
}

const char* name_of(Status status) noexcept {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::singular:
      return "singular";
    case Status::not_positive_definite:
      return "not_positive_definite";
    case Status::not_converged:
      return "not_converged";
    case Status::shape_mismatch:
      return "shape_mismatch";
    case Status::bad_parameter:
      return "bad_parameter";
    case Status::bad_dtype:
      return "bad_dtype";
    case Status::out_of_memory:
      break;
  }
  return "out_of_memory";
}

Result::Result(const Executable* executable, Workspace* workspace) noexcept
    : executable_(executable), workspace_(workspace) {}

Result::Result(Result&& other) noexcept
    : executable_(other.executable_), workspace_(std::exchange(other.workspace_, nullptr)) {}

Result& Result::operator=(Result&& other) noexcept {
  std::swap(executable_, other.executable_);
  std::swap(workspace_, other.workspace_);
  return *this;
}

Result::~Result() {
  if (workspace_ != nullptr) executable_->give_back(workspace_);
}

const Failure& Result::failure() const noexcept {
  return workspace_ == nullptr ? no_workspace() : workspace_->failure();
}

OutputView Result::output(std::size_t index) const noexcept {
  const Output& output = executable_->plan_.outputs[index];
  const std::int64_t* dims = workspace_->output_dims.data() + workspace_->output_start[index];
  const int ndim = static_cast<int>(output.dims.size());
  std::int64_t count = 1;
  for (int axis = 0; axis < ndim; ++axis) count *= dims[axis];
  const std::size_t itemsize = size_of(output.dtype);
  const char* data = static_cast<const char*>(workspace_->pointer(output.buffer));
  if (count > 0) data += static_cast<std::size_t>(workspace_->offset(output.offset_slot)) * itemsize;
  return OutputView{data, output.dtype, ndim, dims, static_cast<std::size_t>(count) * itemsize};
}

void* Result::take(std::size_t index) noexcept {
  const Output& output = executable_->plan_.outputs[index];
  const OutputView view = this->output(index);
  const std::size_t capacity = workspace_->capacity(output.buffer);
  // A small part of a block is better copied than left alone in it.
  if (view.bytes == 0 || view.bytes < capacity / 32) return nullptr;
  void* memory = workspace_->give_away(output.buffer);
  if (memory == nullptr || view.bytes >= capacity - capacity / 8) return memory;
  const auto first = static_cast<std::size_t>(static_cast<const char*>(view.data) - static_cast<char*>(memory));
  const bool alone = !is_shared(executable_->plan_, output.buffer);
  if ((alone && retain(memory, first, view.bytes)) || view.bytes >= capacity / 2) return memory;
  workspace_->take_back(output.buffer);
  return nullptr;
}

std::int64_t Result::peak_bytes() const noexcept { return workspace_ == nullptr ? 0 : workspace_->peak_bytes; }

Executable::Executable(Plan plan, std::vector<KernelFunction> kernels)
    : plan_(std::move(plan)), kernels_(std::move(kernels)) {
  check_plan(plan_, kernels_.size());
}

void Executable::start_profile() { profile_ = std::make_unique<Profile>(plan_.loop_count); }

Executable::~Executable() {
  for (auto& slot : idle_) delete slot.load();
}

Result Executable::run(const InputView* inputs, const InterruptHook& interrupt) const noexcept {
  Workspace* workspace = acquire();
  if (workspace == nullptr) return Result(this, nullptr);
  workspace->begin(plan_, inputs);
  workspace->interrupt = interrupt;
  Runner runner(kernels_, *workspace, profile_.get());
  Stopwatch watch(profile_ != nullptr);
  if (runner.run(plan_.instructions, 0, 1)) finish_outputs(plan_, *workspace);
  if (profile_ != nullptr) {
    ++profile_->calls;
    profile_->total_ns += watch.lap();
  }
  // A failed call frees its memory at once, not only when its Result is looked at and destroyed.
  if (workspace->failure()) workspace->end();
  return Result(this, workspace);
}

// nullptr without memory.
Workspace* Executable::acquire() const noexcept {
  for (auto& slot : idle_) {
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    Workspace* workspace = slot.exchange(nullptr, std::memory_order_acquire);
    if (workspace != nullptr) return workspace;
  }
  try {
    return new Workspace(plan_);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Executable::give_back(Workspace* workspace) const noexcept {
  workspace->end();
  for (auto& slot : idle_) {
    Workspace* empty = nullptr;
    if (slot.compare_exchange_strong(empty, workspace, std::memory_order_release, std::memory_order_relaxed))
      return;
  }
  delete workspace;
}

}  // namespace scanlib
