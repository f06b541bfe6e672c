// overlap_test.cpp: blocks whose parts run beside each other, on hand-written kernels: results, failures,
// interruption.
//
// The plan computes p[t] = 3 u[t] (prologue), x[t] = x[t-1] / 2 + p[t] (recurrence), y[t] = x[t] + p[t] and the sum
// of y (epilogue).  p and a copy of x lie in memory of a block.
#include <algorithm>
#include <atomic>

#include "check.hpp"
#include "plans.hpp"
#include "scanlib/threads.hpp"

using namespace plans;

namespace {

enum OverlapBuffer { before_rows = temporary + 1, after_rows, mapped, total };
enum OverlapSlot {
  room_bytes = total_slots,
  beside_cost,
  mapped_bytes,
  fail_before,
  fail_within,
  fail_after,
  overlap_slots
};

double* at(void** b, int buffer) { return static_cast<double*>(b[buffer]); }

// A check of one part: fails at the step in d[slot], with the slot as its code.
std::int64_t check(std::int64_t* d, int slot, std::int64_t start, std::int64_t end) {
  if (d[slot] < start || d[slot] >= end) return 0;
  d[report_step_slot] = d[slot];
  d[report_value_slot] = 100 * slot;
  return slot;
}

std::int64_t run_before(void** b, std::int64_t* d, std::int64_t start, std::int64_t end, std::int64_t,
                        std::int64_t) {
  for (std::int64_t t = start; t < end; ++t) at(b, before_rows)[t - start] = 3 * at(b, u)[t];
  return check(d, fail_before, start, end);
}

std::int64_t run_within(void** b, std::int64_t* d, std::int64_t start, std::int64_t end, std::int64_t,
                        std::int64_t) {
  double* x = at(b, storage);
  for (std::int64_t t = start; t < end; ++t) {
    x[t + 1] = x[t] / 2 + at(b, before_rows)[t - start];
    at(b, after_rows)[t - start] = x[t + 1];
  }
  return check(d, fail_within, start, end);
}

std::int64_t run_after(void** b, std::int64_t* d, std::int64_t start, std::int64_t end, std::int64_t,
                       std::int64_t) {
  for (std::int64_t t = start; t < end; ++t) {
    at(b, mapped)[t] = at(b, after_rows)[t - start] + at(b, before_rows)[t - start];
    *at(b, total) += at(b, mapped)[t];
  }
  return check(d, fail_after, start, end);
}

std::int64_t run_first(void** b, std::int64_t*, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  *at(b, storage) = *at(b, start_value);
  *at(b, total) = 0;
  return 0;
}

const std::vector<KernelFunction>& overlap_kernels() {
  static const std::vector<KernelFunction> made = {run_prepare, run_first, run_before,
                                                   run_within,  run_after, run_finish};
  return made;
}

Plan make_overlap_plan(std::int64_t length, std::int64_t size) {
  Options options;
  options.block_length = length;
  options.steps = size;
  Plan plan = make_plan(options);
  plan.initial_dims.resize(overlap_slots);
  plan.initial_dims[room_bytes] = 16 * length;
  plan.initial_dims[beside_cost] = 1 << 20;
  plan.initial_dims[mapped_bytes] = 8;
  for (const int slot : {fail_before, fail_within, fail_after})
    plan.initial_dims[static_cast<std::size_t>(slot)] = -1;
  plan.buffers.push_back(Buffer{"before", DType::float64, Role::temporary, room_bytes, nullptr});
  plan.buffers.push_back(Buffer{"after", DType::float64, Role::temporary, room_bytes, nullptr});
  plan.buffers.push_back(Buffer{"y", DType::float64, Role::temporary, no_slot, nullptr});
  plan.buffers.push_back(Buffer{"sum", DType::float64, Role::temporary, no_slot, nullptr});
  Loop loop = make_loop(options);
  loop.storages.push_back(Storage{mapped, mapped_bytes, 0, 0, keep_all});
  loop.storages.push_back(Storage{total, mapped_bytes, 1, 1, 1, true});
  loop.start = {{Allocate{before_rows}}, {Allocate{after_rows}}, {Call{1, "first"}}};
  loop.prologue = {{Call{2, "before"}}};
  loop.recurrence = {{Call{3, "within"}}};
  loop.epilogue = {{Call{4, "after"}}};
  loop.temporaries = {before_rows, after_rows};
  loop.shared_buffers = {before_rows, after_rows};
  loop.beside_cost_slot = beside_cost;
  plan.instructions = {{Call{0, "prepare"}}, {loop}, {Call{5, "finish"}}};
  plan.outputs = {Output{storage, out_offset, {out_rows}, DType::float64},
                  Output{mapped, no_slot, {out_rows}, DType::float64}, Output{total, no_slot, {}, DType::float64}};
  return plan;
}

Result run_plan(const Executable& executable, const std::vector<double>& in, const InterruptHook& hook = {}) {
  static const double start = 1.5;
  const auto size = static_cast<std::int64_t>(in.size());
  const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
  return executable.run(inputs, hook);
}

bool is_right(const Result& result, const std::vector<double>& in) {
  double x = 1.5, sum = 0;
  for (std::size_t t = 0; t < in.size(); ++t) {
    x = x / 2 + 3 * in[t];
    const double y = x + 3 * in[t];
    sum += y;
    if (static_cast<const double*>(result.output(0).data)[t] != x) return false;
    if (static_cast<const double*>(result.output(1).data)[t] != y) return false;
  }
  return *static_cast<const double*>(result.output(2).data) == sum;
}

// Both ways are tried within so many calls.
constexpr int calls = 6;

}  // namespace

TEST(overlap, results) {
  for (const int threads : {1, 2, 4}) {
    const Threads set(threads);
    for (const std::int64_t length : {1, 3, 8}) {
      for (const std::int64_t size : {1, 3, 4, 9, 64, 500}) {
        const std::vector<double> in = ramp(size);
        const Executable executable(make_overlap_plan(length, size), overlap_kernels());
        for (int call = 0; call < calls; ++call) {
          const Result result = run_plan(executable, in);
          CHECK(!result.failure());
          CHECK(is_right(result, in));
        }
      }
    }
  }
}

// The parts of a loop that runs one after the other fail in the order prologue, recurrence, epilogue of each block.
TEST(overlap, the_first_failure_reports) {
  constexpr std::int64_t length = 4, size = 30;
  struct Case {
    std::int64_t before, within, after, code;
  };
  const Case cases[] = {{-1, 9, -1, fail_within}, {9, -1, -1, fail_before},  {-1, -1, 9, fail_after},
                        {9, 5, -1, fail_within},  {9, -1, 5, fail_after},    {8, 11, 10, fail_before},
                        {-1, 11, 8, fail_within}, {-1, 12, 11, fail_after},  {12, 11, -1, fail_within},
                        {0, 0, 0, fail_before},   {29, -1, 29, fail_before}, {-1, -1, 29, fail_after}};
  for (const int threads : {1, 2}) {
    const Threads set(threads);
    for (const Case& given : cases) {
      Plan plan = make_overlap_plan(length, size);
      plan.initial_dims[fail_before] = given.before;
      plan.initial_dims[fail_within] = given.within;
      plan.initial_dims[fail_after] = given.after;
      const std::int64_t step = plan.initial_dims[static_cast<std::size_t>(given.code)];
      const Executable executable(plan, overlap_kernels());
      for (int call = 0; call < calls; ++call) {
        const Result result = run_plan(executable, ramp(size));
        const Failure& failure = result.failure();
        CHECK(failure.kind == FailureKind::check && failure.code == given.code);
        CHECK(failure.values[0] == 100 * given.code);
        CHECK(failure.path.size() == 1 && failure.path[0].step == step);
      }
    }
  }
}

TEST(overlap, interruption) {
  const Threads set(2);
  const Executable executable(make_overlap_plan(1, 1 << 22), overlap_kernels());
  const std::vector<double> in = ramp(1 << 22);
  const InterruptHook hook{[](void*) { return true; }, nullptr};
  for (int call = 0; call < calls; ++call) {
    const Result result = run_plan(executable, in, hook);
    CHECK(result.failure().kind == FailureKind::interrupted);
    CHECK(result.failure().path.size() == 1 && result.failure().path[0].step >= 0);
  }
}

TEST(overlap, nothing_but_computing_overlaps) {
  for (const int wrong : {0, 1, 2}) {
    Plan plan = make_overlap_plan(4, 10);
    Loop& loop = std::get<Loop>(plan.instructions[1].operation);
    if (wrong == 0) loop.epilogue.push_back({Allocate{temporary}});
    if (wrong == 1) loop.native = false;
    if (wrong == 2) loop.beside_cost_slot = no_slot;
    CHECK(is_refused(plan, overlap_kernels()));
  }
}
