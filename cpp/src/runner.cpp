// runner.cpp: what each kind of instruction does; loops are in loop.cpp.
#include "runner.hpp"

#include <algorithm>

#include "meeting.hpp"
#include "scanlib/lanes.hpp"
#include "scanlib/threads.hpp"

namespace scanlib {

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
    if (!good) {
      failed_ = &instruction - instructions.data();
      return false;
    }
  }
  return true;
}

bool Runner::run_call(const Call& call, std::int64_t start, std::int64_t stop) noexcept {
  const KernelFunction kernel = kernels_[static_cast<std::size_t>(call.kernel)];
  const std::int64_t code = call.together ? run_columns(call, start, stop)
                            : call.lanes_slot != no_slot
                                ? run_lanes(call, start, stop)
                                : kernel(part_.pointers, part_.dims, start, stop, first_row_, last_row_);
  return code == 0 || part_.fail(FailureKind::check, code, call.name.c_str());
}

// Each range works with a copy of the dims table, so that reports of failing checks do not mix; the lowest failing
// one, which holds the lowest failing lane, hands its report on.
std::int64_t Runner::run_lanes(const Call& call, std::int64_t start, std::int64_t stop) noexcept {
  const KernelFunction kernel = kernels_[static_cast<std::size_t>(call.kernel)];
  const std::int64_t steps = stop - start;
  const std::int64_t cost = part_.dim(call.cost_slot);
  const bool by_steps = call.lanes_slot == steps_slot;
  const std::int64_t before = by_steps ? start : 0;
  const std::int64_t lanes = by_steps ? steps : part_.dim(call.lanes_slot);
  const std::int64_t grain = by_steps ? 1 : lane_grain;
  const std::int64_t work = (by_steps ? 1 : steps) * lanes * cost;
  const Split split{lanes, grain, lane_parts(lanes, grain, work, std::min(workspace_.part_count(), get_threads()))};
  if (split.parts == 1) return kernel(part_.pointers, part_.dims, start, stop, before, before + lanes);
  std::int64_t codes[max_threads];
  run_split(split, [&](int number, std::int64_t first, std::int64_t last) {
    Part& own = workspace_.fresh_part(number, part_);
    codes[number] = kernel(own.pointers, own.dims, start, stop, before + first, before + last);
  });
  for (int number = 0; number < split.parts; ++number) {
    if (codes[number] == 0) continue;
    std::copy_n(workspace_.part(number).dims, reserved_slots, part_.dims);
    return codes[number];
  }
  return 0;
}

// Threads go through the steps together, each with columns of its own; or the caller alone, with all of them.
std::int64_t Runner::run_columns(const Call& call, std::int64_t start, std::int64_t stop) noexcept {
  const KernelFunction kernel = kernels_[static_cast<std::size_t>(call.kernel)];
  const std::int64_t columns = part_.dim(call.lanes_slot);
  const int threads = std::min({workspace_.part_count(), get_threads(), Meeting::most});
  const Split split{columns, lane_grain,
                    lane_parts(columns, lane_grain, columns * part_.dim(call.cost_slot), threads)};
  bool met = false;
  if (split.parts > 1) {
    Meeting meeting(columns, lane_grain, split.parts);
    run_split(split, [&](int number, std::int64_t first, std::int64_t last) {
      if (!meeting.gather(number)) return;
      Seat seat{meeting, number};
      Part& own = workspace_.fresh_part(number, part_);
      own.dims[seat_slot] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(&seat));
      kernel(own.pointers, own.dims, start, stop, first, last);
      if (number == 0) met = true;
    });
  }
  return met ? 0 : kernel(part_.pointers, part_.dims, start, stop, 0, all_lanes);
}

// The dims and strides of an operand, and where it starts: its rows are those at hand.
void* Runner::view(const Operand& operand, std::int64_t* dims, std::int64_t* strides) const noexcept {
  std::int64_t offset = part_.offset(operand.offset_slot);
  for (std::size_t i = 0; i < operand.dims.size(); ++i) {
    dims[i] = part_.dim(operand.dims[i]);
    strides[i] = part_.dim(operand.strides[i]);
  }
  if (operand.row_axis != no_axis && last_row_ != all_lanes) {
    dims[operand.row_axis] = last_row_ - first_row_;
    offset += first_row_ * strides[operand.row_axis];
  }
  return static_cast<char*>(part_.pointers[operand.buffer]) + offset * workspace_.itemsize(operand.buffer);
}

bool Runner::run_library(const Library& library, std::int64_t start, std::int64_t stop) noexcept {
  std::int64_t* scratch = part_.tensor_dims.data();
  Tensor* tensor = part_.tensors.data();
  for (const Operand& operand : library.operands) {
    const std::size_t size = operand.dims.size();
    if (part_.pointers[operand.buffer] == nullptr) {
      return part_.fail(FailureKind::internal, operand.buffer, library.name.c_str());
    }
    void* const data = view(operand, scratch, scratch + size);
    *tensor++ = Tensor{data, workspace_.dtype(operand.buffer), static_cast<int>(size), scratch, scratch + size};
    scratch += 2 * size;
  }
  const Status status = library.function(part_.tensors.data(), library.operands.size(), library.parameters.data());
  if (status == Status::ok) return true;
  // In a batched part of a loop the leading dim of every operand counts the steps of the block.
  if (stop - start > 1) part_.dims[report_step_slot] = start + failing_row(library, stop - start);
  return part_.fail(FailureKind::library, static_cast<std::int64_t>(status), library.name.c_str());
}

// The first of the leading rows for which a kernel fails that failed when it was given all of them.
std::int64_t Runner::failing_row(const Library& library, std::int64_t rows) noexcept {
  const std::size_t count = library.operands.size();
  std::int64_t* scratch = part_.tensor_dims.data();
  for (const Operand& operand : library.operands) {
    *scratch = 1;
    scratch += 2 * operand.dims.size();
  }
  for (std::int64_t row = 0; row + 1 < rows; ++row) {
    const Status status = library.function(part_.tensors.data(), count, library.parameters.data());
    if (status != Status::ok) return row;
    for (std::size_t i = 0; i < count; ++i) {
      Tensor& tensor = part_.tensors[i];
      const auto size = static_cast<std::int64_t>(size_of(tensor.dtype));
      tensor.data = static_cast<char*>(tensor.data) + tensor.strides[0] * size;
    }
  }
  return rows - 1;
}

bool Runner::run_branch(const Branch& branch, std::int64_t start, std::int64_t stop) noexcept {
  const bool condition = *static_cast<const std::uint8_t*>(view(branch.condition, nullptr, nullptr)) != 0;
  return run(condition ? branch.then : branch.otherwise, start, stop);
}

}  // namespace scanlib
