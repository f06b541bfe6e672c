// workspace.cpp: the tables and the memory of one call.
#include "workspace.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "scanlib/memory.hpp"
#include "scanlib/threads.hpp"

namespace scanlib {
namespace {

// The most tensors, and the most dims and strides, any one library instruction needs; whether anything is split
// into lanes or rows.
struct Scratch {
  std::size_t tensors = 0;
  std::size_t dims = 0;
  bool parts = false;
  bool sides = false;
};

void measure(const Instructions& instructions, Scratch& scratch) {
  for (const Instruction& instruction : instructions) {
    if (const auto* library = std::get_if<Library>(&instruction.operation)) {
      std::size_t dims = 0;
      for (const Operand& operand : library->operands) dims += 2 * operand.dims.size();
      scratch.tensors = std::max(scratch.tensors, library->operands.size());
      scratch.dims = std::max(scratch.dims, dims);
    } else if (const auto* call = std::get_if<Call>(&instruction.operation)) {
      scratch.parts = scratch.parts || call->lanes_slot != no_slot;
    } else if (const auto* loop = std::get_if<Loop>(&instruction.operation)) {
      for (const Instructions* part : {&loop->start, &loop->prologue, &loop->recurrence, &loop->epilogue})
        measure(*part, scratch);
      scratch.parts = scratch.parts || loop->rows_slot != no_slot || !loop->shared_buffers.empty();
      scratch.sides = scratch.sides || !loop->shared_buffers.empty();
    } else if (const auto* branch = std::get_if<Branch>(&instruction.operation)) {
      measure(branch->then, scratch);
      measure(branch->otherwise, scratch);
    }
  }
}

}  // namespace

Arena::~Arena() { release(memory_); }

void* Arena::take(std::size_t bytes) noexcept {
  const std::size_t rounded = round_up(bytes);
  if (rounded > size - used_) return nullptr;
  if (memory_ == nullptr) {
    memory_ = static_cast<char*>(allocate(size));
    if (memory_ == nullptr) return nullptr;
  }
  void* block = memory_ + used_;
  used_ += rounded;
  return block;
}

Workspace::Workspace(const Plan& plan)
    : pointers_(plan.buffers.size()), dims_(plan.initial_dims.size()), blocks_(plan.buffers.size()) {
  Scratch scratch;
  measure(plan.instructions, scratch);
  has_parts_ = scratch.parts;
  main_.pointers = pointers_.data();
  main_.dims = dims_.data();
  main_.tensors.resize(scratch.tensors);
  main_.tensor_dims.resize(scratch.dims);
  if (scratch.sides) make_sides();
  paces_.resize(static_cast<std::size_t>(plan.loop_count));
  std::size_t start = 0;
  for (const Output& output : plan.outputs) {
    output_start.push_back(start);
    start += output.dims.size();
  }
  output_dims.resize(start);
  for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    kinds_.push_back(Kind{buffer.dtype, static_cast<int>(size_of(buffer.dtype)), buffer.bytes_slot});
    if (buffer.role == Role::constant) {
      pointers_[i] = const_cast<void*>(buffer.data);  // kernels never write constants
      blocks_[i].source = Source::external;
    }
  }
}

void Workspace::make_sides() {
  const std::size_t buffers = (pointers_.size() + 7) / 8 * 8;
  const auto dims = static_cast<std::size_t>(part_dims_size());
  side_pointers_.resize(2 * buffers);
  side_dims_.resize(2 * dims);
  for (std::size_t number = 0; number < 2; ++number) {
    Part& side = sides_[number];
    side.pointers = side_pointers_.data() + number * buffers;
    side.dims = side_dims_.data() + number * dims;
    side.tensors.resize(main_.tensors.size());
    side.tensor_dims.resize(main_.tensor_dims.size());
  }
}

// Before the first step of a call, as steps allocate nothing.  Without memory the call runs on one thread.
void Workspace::make_parts() noexcept {
  if (!has_parts_) return;
  const int wanted = get_threads();
  if (wanted == part_count_ && !parts_.empty()) return;
  part_count_ = wanted;
  try {
    const auto count = static_cast<std::size_t>(wanted);
    part_dims_.resize(static_cast<std::size_t>(part_dims_size() * wanted));
    parts_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      parts_[i].dims = part_dims_.data() + part_dims_size() * static_cast<std::ptrdiff_t>(i);
      parts_[i].tensors.resize(main_.tensors.size());
      parts_[i].tensor_dims.resize(main_.tensor_dims.size());
    }
  } catch (const std::bad_alloc&) {
    parts_.clear();
    part_count_ = 1;
  }
}

Part& Workspace::fresh_part(int number, const Part& whole) noexcept {
  Part& fresh = part(number);
  fresh.pointers = whole.pointers;
  std::copy_n(whole.dims, dims_.size(), fresh.dims);
  if (fresh.failure) fresh.failure = Failure{};
  return fresh;
}

Part& Workspace::fresh_side(int number) noexcept {
  Part& fresh = sides_[number];
  std::copy(pointers_.begin(), pointers_.end(), fresh.pointers);
  std::copy(dims_.begin(), dims_.end(), fresh.dims);
  if (fresh.failure) fresh.failure = Failure{};
  return fresh;
}

void Workspace::begin(const Plan& plan, const InputView* inputs) noexcept {
  make_parts();
  std::copy(plan.initial_dims.begin(), plan.initial_dims.end(), dims_.begin());
  for (const Input& input : plan.inputs) {
    const auto buffer = static_cast<std::size_t>(input.buffer);
    pointers_[buffer] = const_cast<void*>(inputs->data);  // nor inputs
    blocks_[buffer].source = Source::external;
    for (int axis = 0; axis < input.ndim; ++axis)
      dims_[static_cast<std::size_t>(input.first_dim_slot + axis)] = inputs->dims[axis];
    ++inputs;
  }
  arena_.reset();
  live_bytes_ = 0;
  peak_bytes = 0;
  last_poll = 0;
  if (main_.failure) main_.failure = Failure{};
}

void Workspace::end() noexcept {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i].source == Source::external) continue;
    if (blocks_[i].source == Source::heap) release(blocks_[i].memory);
    if (blocks_[i].source == Source::arena) poison(blocks_[i].memory, blocks_[i].capacity);
    blocks_[i] = Block{};
    pointers_[i] = nullptr;
  }
}

bool Workspace::reserve(int buffer, std::int64_t bytes) noexcept {
  const auto index = static_cast<std::size_t>(buffer);
  Block& block = blocks_[index];
  if (bytes < 0) return fail(FailureKind::internal, bytes, "a buffer of negative size");
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  const bool fits = block.memory != nullptr && block.capacity >= size;
  if (!fits) {
    free_block(block);
    pointers_[index] = nullptr;
    block.memory = arena_.take(size);
    block.source = Source::arena;
    if (block.memory == nullptr) {
      block.memory = allocate(size);
      block.source = Source::heap;
    }
    if (block.memory == nullptr) {
      block = Block{};
      return fail(FailureKind::memory, bytes, "");
    }
    block.capacity = size;
  }
  if (pointers_[index] == nullptr) {
    pointers_[index] = block.memory;
    poison(block.memory, block.capacity);
    live_bytes_ += static_cast<std::int64_t>(block.capacity);
    peak_bytes = std::max(peak_bytes, live_bytes_);
  }
  return true;
}

void Workspace::drop(int buffer) noexcept {
  const auto index = static_cast<std::size_t>(buffer);
  Block& block = blocks_[index];
  if (pointers_[index] == nullptr || block.source == Source::external) return;
  if (block.source == Source::arena) {  // parked: keeps its memory
    live_bytes_ -= static_cast<std::int64_t>(block.capacity);
    poison(block.memory, block.capacity);
  } else {
    free_block(block);
  }
  pointers_[index] = nullptr;
}

// Leaves the block empty.  Heap memory is freed; arena memory stays in the arena until the call ends.
void Workspace::free_block(Block& block) noexcept {
  const bool live =
      block.memory != nullptr && pointers_[static_cast<std::size_t>(&block - blocks_.data())] != nullptr;
  if (live) live_bytes_ -= static_cast<std::int64_t>(block.capacity);
  if (block.source == Source::heap) release(block.memory);
  block = Block{};
}

void* Workspace::give_away(int buffer) noexcept {
  Block& block = blocks_[static_cast<std::size_t>(buffer)];
  if (block.source != Source::heap || block.memory == nullptr) return nullptr;
  block.source = Source::given_away;
  return block.memory;
}

bool Part::fail(FailureKind kind, std::int64_t code, const char* instruction) noexcept {
  failure.kind = kind;
  failure.code = code;
  for (std::size_t i = 0; i < failure.values.size(); ++i) failure.values[i] = dims[report_value_slot + i];
  failure.instruction = instruction;
  return false;
}

}  // namespace scanlib
