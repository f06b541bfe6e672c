// plans.hpp: hand-written plans and kernels for the tests of the loop and the executor.
//
// The plans compute x[t] = 2 x[t-1] + u[t] (float64).  Slots of the dims table:
//   8 steps  9 step  10 stop  11 done  12 bytes of one slot  13 slots of the storage  14 rows of the output
//   15 offset of the output  16 one  17 bytes of the temporary  18 dim of u
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "scanlib/executor.hpp"
#include "scanlib/ring.hpp"
#include "scanlib/threads.hpp"

namespace plans {

using namespace scanlib;

enum Slot {
  steps = 8,
  step,
  stop,
  done,
  slot_bytes,
  slots,
  out_rows,
  out_offset,
  one,
  temporary_bytes,
  u_dim,
  slot_count
};
enum BufferIndex { u, start_value, storage, temporary };
enum Kernel { prepare, initialise, advance, finish, stop_at, fail_at, scratch };

// Parameters of stop_at and fail_at travel in the dims table behind the named slots.
enum Extra { stop_step = slot_count, fail_step, block, total_slots };

inline std::int64_t run_prepare(void**, std::int64_t* d, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  d[steps] = d[u_dim];
  return 0;
}

inline std::int64_t run_initialise(void** b, std::int64_t*, std::int64_t, std::int64_t, std::int64_t,
                                   std::int64_t) {
  static_cast<double*>(b[storage])[0] = *static_cast<const double*>(b[start_value]);
  return 0;
}

inline std::int64_t run_advance(void** b, std::int64_t* d, std::int64_t start, std::int64_t end, std::int64_t,
                                std::int64_t) {
  auto* x = static_cast<double*>(b[storage]);
  const auto* in = static_cast<const double*>(b[u]);
  for (std::int64_t t = start; t < end; ++t) {
    x[ring_slot(t, 1, d[slots])] = 2 * x[ring_slot(t - 1, 1, d[slots])] + in[t];
  }
  return 0;
}

inline std::int64_t run_finish(void**, std::int64_t* d, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  const bool whole = d[slots] == d[steps] + 1;
  d[out_rows] = whole ? d[done] : 1;
  d[out_offset] = whole ? 1 : ring_slot(d[done] - 1, 1, d[slots]);
  return 0;
}

inline std::int64_t run_stop_at(void**, std::int64_t* d, std::int64_t start, std::int64_t end, std::int64_t,
                                std::int64_t) {
  if (start <= d[stop_step] && d[stop_step] < end) d[stop] = d[stop_step] + 1;
  return 0;
}

inline std::int64_t run_fail_at(void**, std::int64_t* d, std::int64_t start, std::int64_t end, std::int64_t,
                                std::int64_t) {
  if (d[fail_step] < start || d[fail_step] >= end) return 0;
  d[report_step_slot] = d[fail_step];
  for (int i = 0; i < report_values; ++i) d[report_value_slot + i] = 10 + i;
  return 5;
}

// Fills the temporary from end to end.
inline std::int64_t run_scratch(void** b, std::int64_t* d, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  for (std::int64_t i = 0; i < d[temporary_bytes] / 8; ++i) static_cast<double*>(b[temporary])[i] = 1;
  return 0;
}

inline std::vector<KernelFunction> kernels() {
  return {run_prepare, run_initialise, run_advance, run_finish, run_stop_at, run_fail_at, run_scratch};
}

struct Options {
  bool native = true;
  bool last_only = false;
  std::int64_t steps = 10;
  std::int64_t block_length = 4;
  std::int64_t stop_step = -1;
  std::int64_t fail_step = -1;
  std::int64_t temporary_bytes = 800;
};

inline Loop make_loop(const Options& options) {
  Loop loop;
  loop.name = "scan";
  loop.steps_slot = steps;
  loop.step_slot = step;
  loop.stop_slot = stop;
  loop.done_slot = done;
  loop.block_slot = block;
  loop.native = options.native;
  loop.storages = {Storage{storage, slot_bytes, 1, 1, options.last_only ? 1 : keep_all}};
  loop.start = {{Allocate{temporary}}, {Call{initialise, "initialise"}}};
  loop.prologue = {{Call{scratch, "scratch"}}};
  loop.recurrence = {{Call{advance, "advance"}}, {Call{stop_at, "stop"}}, {Call{fail_at, "fail"}}};
  loop.temporaries = {temporary};
  return loop;
}

inline Plan make_plan(const Options& options) {
  Plan plan;
  plan.buffers = {Buffer{"u", DType::float64, Role::input, no_slot, nullptr},
                  Buffer{"start", DType::float64, Role::input, no_slot, nullptr},
                  Buffer{"x", DType::float64, Role::temporary, no_slot, nullptr},
                  Buffer{"scratch", DType::float64, Role::temporary, temporary_bytes, nullptr}};
  plan.initial_dims.assign(total_slots, 0);
  plan.initial_dims[slot_bytes] = 8;
  plan.initial_dims[slots] = options.last_only ? ring_slots(1, 1) : options.steps + 1;
  plan.initial_dims[one] = 1;
  plan.initial_dims[temporary_bytes] = options.temporary_bytes;
  plan.initial_dims[block] = options.block_length;
  plan.initial_dims[stop_step] = options.stop_step;
  plan.initial_dims[fail_step] = options.fail_step;
  plan.inputs = {Input{u, u_dim, 1, DType::float64}, Input{start_value, one, 0, DType::float64}};
  plan.outputs = {Output{storage, out_offset, {out_rows}, DType::float64}};
  plan.instructions = {{Call{prepare, "prepare"}}, {make_loop(options)}, {Call{finish, "finish"}}};
  return plan;
}

// What the plan computes, one row per step.
inline std::vector<double> expected(double start, const std::vector<double>& in) {
  std::vector<double> trace;
  for (const double value : in) trace.push_back(start = 2 * start + value);
  return trace;
}

// Inputs for u.
inline std::vector<double> ramp(std::int64_t size) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < size; ++i) values.push_back(0.5 * static_cast<double>(i % 7) - 1);
  return values;
}

// Whether no executable is made of the plan.
inline bool is_refused(Plan plan, std::vector<KernelFunction> kernels) {
  try {
    const Executable executable(std::move(plan), std::move(kernels));
  } catch (const InternalError&) {
    return true;
  }
  return false;
}

// Restores the number of threads.
struct Threads {
  explicit Threads(int count) : before(get_threads()) { set_threads(count); }
  ~Threads() { set_threads(before); }
  int before;
};

}  // namespace plans
