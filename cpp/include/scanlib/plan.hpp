// plan.hpp: the plan as plain structs; src/scanlib/plan.py documents every field and is mirrored here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "scanlib/library.hpp"

namespace scanlib {

constexpr int no_slot = -1;
constexpr int steps_slot = -2;  // of a call whose lanes are the steps at hand
constexpr int no_axis = -1;

enum class Role { input, constant, temporary };

struct Buffer {
  std::string name;
  DType dtype = DType::float64;
  Role role = Role::temporary;
  int bytes_slot = no_slot;
  const void* data = nullptr;  // constants only; must outlive the executable
};

struct Operand {
  int buffer = 0;
  int offset_slot = no_slot;
  std::vector<int> dims;
  std::vector<int> strides;
  int row_axis = no_axis;
};

struct Call {
  int kernel = 0;
  std::string name;
  int lanes_slot = no_slot;
  int cost_slot = no_slot;
  bool together = false;
};

struct Library {
  std::string kernel;
  std::vector<Operand> operands;
  std::vector<std::int64_t> parameters;
  std::string name;
  LibraryFunction function = nullptr;  // resolved by the executable
};

struct Allocate {
  int buffer = 0;
};

struct Release {
  int buffer = 0;
};

struct Instruction;
using Instructions = std::vector<Instruction>;

struct Storage {
  int buffer = 0;
  int slot_bytes_slot = 0;
  std::int64_t initial_slots = 0;
  std::int64_t depth = 0;
  std::int64_t keep = 0;
  bool in_place = false;
};

struct Loop {
  std::string name;
  int steps_slot = 0;
  int step_slot = 0;
  int stop_slot = 0;
  int done_slot = 0;
  int block_slot = no_slot;
  bool native = false;
  int rows_slot = no_slot;
  int row_cost_slot = no_slot;
  std::vector<Storage> storages;
  Instructions start;
  Instructions prologue;
  Instructions recurrence;
  Instructions epilogue;
  std::vector<int> temporaries;
  std::vector<int> shared_buffers;
  int beside_cost_slot = no_slot;
  int number = 0;  // set by check_plan: loops in the order of the plan, each before those inside it
};

struct Branch {
  Operand condition;
  Instructions then;
  Instructions otherwise;
};

struct Instruction {
  std::variant<Call, Library, Allocate, Release, Loop, Branch> operation;
};

struct Input {
  int buffer = 0;
  int first_dim_slot = 0;
  int ndim = 0;
  DType dtype = DType::float64;
};

struct Output {
  int buffer = 0;
  int offset_slot = no_slot;
  std::vector<int> dims;
  DType dtype = DType::float64;
};

struct Plan {
  std::vector<Buffer> buffers;
  std::vector<std::int64_t> initial_dims;
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  Instructions instructions;
  int loop_count = 0;  // set by check_plan
};

// Checks every index, slot and name of the plan, once; throws InternalError.  Resolves library kernels.
void check_plan(Plan& plan, std::size_t kernel_count);

}  // namespace scanlib
