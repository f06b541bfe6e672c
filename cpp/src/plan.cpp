// plan.cpp: all checks of a plan, made once, so that running it needs none.
#include "scanlib/plan.hpp"

#include <algorithm>
#include <string>

#include "scanlib/error.hpp"
#include "scanlib/ring.hpp"
#include "scanlib/step_abi.hpp"

namespace scanlib {
namespace {

// Walks the instructions; `where_` says which one is being looked at, for the message.
class Checker {
 public:
  Checker(Plan& plan, std::size_t kernel_count) : plan_(plan), kernel_count_(kernel_count) {}

  void check() {
    require(plan_.initial_dims.size() >= reserved_slots, "the dims table lacks its reserved slots");
    for (const Buffer& buffer : plan_.buffers) check_buffer(buffer);
    for (const Input& input : plan_.inputs) check_input(input);
    for (const Output& output : plan_.outputs) check_output(output);
    where_ = "the function";
    plan_.loop_count = 0;
    check_all(plan_.instructions, nullptr);
  }

 private:
  void require(bool condition, const std::string& what) const {
    if (!condition) throw InternalError(where_ + ": " + what);
  }

  void check_slot(int slot, const char* what) const {
    const bool good = slot >= reserved_slots && static_cast<std::size_t>(slot) < plan_.initial_dims.size();
    if (!good) require(false, std::string(what) + " " + std::to_string(slot) + " is not a slot of the dims table");
  }

  const Buffer& check_index(int buffer) const {
    const bool good = buffer >= 0 && static_cast<std::size_t>(buffer) < plan_.buffers.size();
    if (!good) require(false, "there is no buffer " + std::to_string(buffer));
    return plan_.buffers[static_cast<std::size_t>(buffer)];
  }

  void check_temporary(int buffer) const {
    require(check_index(buffer).role == Role::temporary, "allocates or releases an input or a constant");
  }

  void check_buffer(const Buffer& buffer) {
    where_ = "buffer \"" + buffer.name + "\"";
    if (buffer.bytes_slot != no_slot) check_slot(buffer.bytes_slot, "bytes_slot");
    if (buffer.role == Role::constant) require(buffer.data != nullptr, "a constant without data");
  }

  void check_input(const Input& input) {
    where_ = "input of buffer " + std::to_string(input.buffer);
    const Buffer& buffer = check_index(input.buffer);
    require(buffer.role == Role::input && buffer.dtype == input.dtype, "role or dtype disagrees with its buffer");
    require(input.ndim >= 0, "negative ndim");
    for (int axis = 0; axis < input.ndim; ++axis) check_slot(input.first_dim_slot + axis, "dim slot");
  }

  void check_output(const Output& output) {
    where_ = "output of buffer " + std::to_string(output.buffer);
    require(check_index(output.buffer).dtype == output.dtype, "dtype disagrees with its buffer");
    if (output.offset_slot != no_slot) check_slot(output.offset_slot, "offset_slot");
    for (const int slot : output.dims) check_slot(slot, "dim slot");
  }

  void check_operand(const Operand& operand) const {
    check_index(operand.buffer);
    require(operand.dims.size() == operand.strides.size(), "an operand with unequal numbers of dims and strides");
    if (operand.offset_slot != no_slot) check_slot(operand.offset_slot, "offset_slot");
    for (const int slot : operand.dims) check_slot(slot, "dim slot");
    for (const int slot : operand.strides) check_slot(slot, "stride slot");
    const int axes = static_cast<int>(operand.dims.size());
    require(operand.row_axis >= no_axis && operand.row_axis < axes, "an operand without the dim of its rows");
  }

  // `outermost` collects the buffers that the outermost loop releases; nullptr outside of loops.
  void check_all(Instructions& instructions, std::vector<int>* outermost) {
    for (Instruction& instruction : instructions) {
      std::visit([&](auto& operation) { check_one(operation, outermost); }, instruction.operation);
    }
  }

  void check_one(Call& call, std::vector<int>*) {
    const bool good = call.kernel >= 0 && static_cast<std::size_t>(call.kernel) < kernel_count_;
    require(good, "call \"" + call.name + "\" of kernel " + std::to_string(call.kernel) + " which does not exist");
    if (call.lanes_slot == no_slot) return;
    if (call.lanes_slot != steps_slot) check_slot(call.lanes_slot, "lanes_slot");
    check_slot(call.cost_slot, "cost_slot");
  }

  void check_one(Library& library, std::vector<int>*) {
    const std::string what = "library kernel \"" + library.kernel + "\"";
    const LibraryKernel* kernel = find_library_kernel(library.kernel);
    require(kernel != nullptr, what + " does not exist");
    require(takes(*kernel, library.operands.size()), what + " takes another number of operands");
    require(library.parameters.size() == kernel->parameters, what + " takes another number of parameters");
    for (const Operand& operand : library.operands) check_operand(operand);
    library.function = kernel->function;
  }

  void check_one(Allocate& allocate, std::vector<int>*) {
    check_temporary(allocate.buffer);
    check_slot(plan_.buffers[static_cast<std::size_t>(allocate.buffer)].bytes_slot, "bytes_slot");
  }

  void check_one(Release& release, std::vector<int>*) { check_temporary(release.buffer); }

  void check_one(Branch& branch, std::vector<int>* outermost) {
    check_operand(branch.condition);
    const Buffer& buffer = plan_.buffers[static_cast<std::size_t>(branch.condition.buffer)];
    require(buffer.dtype == DType::boolean, "the condition of a branch is no bool");
    check_all(branch.then, outermost);
    check_all(branch.otherwise, outermost);
  }

  void check_one(Loop& loop, std::vector<int>* outermost) {
    const std::string around = where_;
    where_ = "loop \"" + loop.name + "\"";
    loop.number = plan_.loop_count++;
    for (const int slot : {loop.steps_slot, loop.step_slot, loop.stop_slot, loop.done_slot, loop.block_slot}) {
      check_slot(slot, "slot");
    }
    for (const Storage& storage : loop.storages) check_storage(storage);
    for (const int buffer : loop.temporaries) check_temporary(buffer);
    std::vector<int>* release = outermost != nullptr ? outermost : &loop.temporaries;
    for (Instructions* part : {&loop.start, &loop.prologue, &loop.recurrence, &loop.epilogue})
      check_all(*part, release);
    if (loop.rows_slot != no_slot) check_rows(loop);
    if (!loop.shared_buffers.empty()) check_overlap(loop);
    // Releasing inside an outer loop would allocate anew at each of its steps: the outermost loop releases instead.
    if (outermost != nullptr) {
      outermost->insert(outermost->end(), loop.temporaries.begin(), loop.temporaries.end());
      loop.temporaries.clear();
    }
    where_ = around;
  }

  // Threads run the recurrence at the same time: it may only do what needs no more than its own tables.
  void check_rows(const Loop& loop) const {
    check_slot(loop.rows_slot, "rows_slot");
    check_slot(loop.row_cost_slot, "row_cost_slot");
    require(!loop.native, "a native loop is split by lanes, not by rows");
    for (const Instruction& instruction : loop.recurrence) {
      const auto* call = std::get_if<Call>(&instruction.operation);
      const bool good =
          call != nullptr ? call->lanes_slot == no_slot : std::holds_alternative<Library>(instruction.operation);
      require(good, "an instruction that cannot run on a range of rows");
    }
  }

  // The parts of blocks run at the same time, with no loops inside that would write to the tables of the call.
  void check_overlap(const Loop& loop) const {
    check_slot(loop.beside_cost_slot, "beside_cost_slot");
    require(loop.native, "blocks of a loop that is not native cannot overlap");
    for (const int buffer : loop.shared_buffers) {
      check_temporary(buffer);
      check_slot(plan_.buffers[static_cast<std::size_t>(buffer)].bytes_slot, "bytes_slot");
    }
    for (const Instructions* part : {&loop.prologue, &loop.recurrence, &loop.epilogue}) {
      for (const Instruction& instruction : *part) {
        const bool good = std::holds_alternative<Call>(instruction.operation) ||
                          std::holds_alternative<Library>(instruction.operation);
        require(good, "an instruction that cannot run beside another");
      }
    }
  }

  void check_storage(const Storage& storage) const {
    check_temporary(storage.buffer);
    check_slot(storage.slot_bytes_slot, "slot_bytes_slot");
    require(storage.depth >= 0 && storage.keep >= keep_all, "a storage with negative depth or keep");
    require(storage.initial_slots >= storage.depth, "a storage with fewer initial slots than its deepest tap");
    require(!storage.in_place || storage.depth > 0, "a storage in place that is never read");
  }

  Plan& plan_;
  std::size_t kernel_count_;
  std::string where_ = "the plan";
};

}  // namespace

void check_plan(Plan& plan, std::size_t kernel_count) { Checker(plan, kernel_count).check(); }

}  // namespace scanlib
