// runner.cpp: what each kind of instruction does; loops are in loop.cpp.
#include "runner.hpp"

#include <algorithm>

#include "threads.hpp"

namespace scanlib {
namespace {

constexpr std::int64_t lane_grain = 64;  // lanes of a part are multiples of this
// steps * lanes * lane_cost from which a part is worth a thread (about a microsecond; see docs/decisions.md).
constexpr std::int64_t part_of_lanes = 1 << 16;

}  // namespace

bool Runner::run(const Instructions& instructions, std::int64_t start, std::int64_t stop) noexcept {
  for (const Instruction& instruction : instructions) {
    bool good = true;
    switch (instruction.operation.index()) {
      case 0:
        good = run_call(*std::get_if<Call>(&instruction.operation), start, stop);
        break;
      case 1:
        good = run_library(*std::get_if<Library>(&instruction.operation), start, stop);
        break;
      case 2: {
        const int buffer = std::get_if<Allocate>(&instruction.operation)->buffer;
        const int slot = workspace_.bytes_slot(buffer);
        good = workspace_.reserve(buffer, workspace_.dim(slot));
        break;
      }
      case 3:
        workspace_.drop(std::get_if<Release>(&instruction.operation)->buffer);
        break;
      case 4:
        good = run_loop(*std::get_if<Loop>(&instruction.operation));
        break;
      default:
        good = run_branch(*std::get_if<Branch>(&instruction.operation), start, stop);
        break;
    }
    if (!good) return false;
  }
  return true;
}

bool Runner::run_call(const Call& call, std::int64_t start, std::int64_t stop) noexcept {
  const KernelFunction kernel = kernels_[static_cast<std::size_t>(call.kernel)];
  const std::int64_t code = call.lanes_slot != no_slot
                                ? run_lanes(call, start, stop)
                                : kernel(workspace_.pointers(), workspace_.dims(), start, stop, 0, all_lanes);
  return code == 0 || workspace_.fail(FailureKind::check, code, call.name.c_str());
}

// Each part works with a copy of the dims table, so that reports of failing checks do not mix; the lowest failing
// part, which holds the lowest failing lane, hands its report on.
std::int64_t Runner::run_lanes(const Call& call, std::int64_t start, std::int64_t stop) noexcept {
  const KernelFunction kernel = kernels_[static_cast<std::size_t>(call.kernel)];
  const std::int64_t lanes = workspace_.dim(call.lanes_slot);
  const std::int64_t parts = (stop - start) * lanes * call.lane_cost / part_of_lanes;
  const int threads = static_cast<int>(std::min<std::int64_t>(parts, workspace_.lane_parts()));
  const Split split = split_items(lanes, lane_grain, threads);
  if (split.parts == 1) return kernel(workspace_.pointers(), workspace_.dims(), start, stop, 0, lanes);
  std::int64_t codes[max_threads];
  run_split(split, [&](int part, std::int64_t first, std::int64_t last) {
    codes[part] = kernel(workspace_.pointers(), workspace_.copy_dims(part), start, stop, first, last);
  });
  for (int part = 0; part < split.parts; ++part) {
    if (codes[part] == 0) continue;
    std::copy_n(workspace_.lane_dims(part), reserved_slots, workspace_.dims());
    return codes[part];
  }
  return 0;
}

bool Runner::run_library(const Library& library, std::int64_t start, std::int64_t stop) noexcept {
  std::int64_t* scratch = workspace_.tensor_dims.data();
  Tensor* tensor = workspace_.tensors.data();
  for (const Operand& operand : library.operands) {
    const std::size_t size = operand.dims.size();
    if (workspace_.pointer(operand.buffer) == nullptr) {
      return workspace_.fail(FailureKind::internal, operand.buffer, library.name.c_str());
    }
    for (std::size_t i = 0; i < size; ++i) {
      scratch[i] = workspace_.dim(operand.dims[i]);
      scratch[size + i] = workspace_.dim(operand.strides[i]);
    }
    *tensor++ = Tensor{workspace_.element(operand), workspace_.dtype(operand.buffer), static_cast<int>(size),
                       scratch, scratch + size};
    scratch += 2 * size;
  }
  const Status status =
      library.function(workspace_.tensors.data(), library.operands.size(), library.parameters.data());
  if (status == Status::ok) return true;
  // In a batched part of a loop the leading dim of every operand counts the steps of the block.
  if (stop - start > 1) workspace_.dims()[report_step_slot] = start + failing_row(library, stop - start);
  return workspace_.fail(FailureKind::library, static_cast<std::int64_t>(status), library.name.c_str());
}

// The first of the leading rows for which a kernel fails that failed when it was given all of them.
std::int64_t Runner::failing_row(const Library& library, std::int64_t rows) noexcept {
  const std::size_t count = library.operands.size();
  std::int64_t* scratch = workspace_.tensor_dims.data();
  for (const Operand& operand : library.operands) {
    *scratch = 1;
    scratch += 2 * operand.dims.size();
  }
  for (std::int64_t row = 0; row + 1 < rows; ++row) {
    const Status status = library.function(workspace_.tensors.data(), count, library.parameters.data());
    if (status != Status::ok) return row;
    for (std::size_t i = 0; i < count; ++i) {
      Tensor& tensor = workspace_.tensors[i];
      const auto size = static_cast<std::int64_t>(size_of(tensor.dtype));
      tensor.data = static_cast<char*>(tensor.data) + tensor.strides[0] * size;
    }
  }
  return rows - 1;
}

bool Runner::run_branch(const Branch& branch, std::int64_t start, std::int64_t stop) noexcept {
  const bool condition = *static_cast<const std::uint8_t*>(workspace_.element(branch.condition)) != 0;
  return run(condition ? branch.then : branch.otherwise, start, stop);
}

}  // namespace scanlib
