// loop_test.cpp: THE loop, on hand-written kernels: traces, rings, blocks, until, failures, nesting, growing.
#include <algorithm>
#include <cstring>

#include "check.hpp"
#include "plans.hpp"
#include "scanlib/memory.hpp"
#include "scanlib/threads.hpp"

using namespace plans;

namespace {

Result run_plan(const Executable& executable, const std::vector<double>& in, const double& start) {
  const auto size = static_cast<std::int64_t>(in.size());
  const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
  return executable.run(inputs);
}

bool equals(const OutputView& view, const std::vector<double>& values) {
  return view.bytes == 8 * values.size() &&
         (values.empty() || std::memcmp(view.data, values.data(), view.bytes) == 0);
}

}  // namespace

TEST(loop, whole_trace) {
  for (const bool native : {true, false}) {
    for (const std::int64_t block : {1, 3, 4, 100}) {
      for (const std::int64_t size : {0, 1, 4, 10}) {
        Options options;
        options.native = native;
        options.block_length = block;
        options.steps = size;
        const Executable executable(make_plan(options), kernels());
        const std::vector<double> in = ramp(size);
        const Result result = run_plan(executable, in, 1.5);
        CHECK(!result.failure());
        CHECK(equals(result.output(0), expected(1.5, in)));
      }
    }
  }
}

TEST(loop, last_value) {
  for (const bool native : {true, false}) {
    for (const std::int64_t size : {1, 2, 11}) {
      Options options;
      options.native = native;
      options.last_only = true;
      const Executable executable(make_plan(options), kernels());
      const std::vector<double> in = ramp(size);
      const Result result = run_plan(executable, in, 1.5);
      CHECK(!result.failure());
      CHECK(equals(result.output(0), {expected(1.5, in).back()}));
      CHECK(result.peak_bytes() == 800 + 16);
    }
  }
}

TEST(loop, until) {
  for (const bool native : {true, false}) {
    for (const std::int64_t last : {0, 3, 4, 9}) {
      Options options;
      options.native = native;
      options.stop_step = last;
      const Executable executable(make_plan(options), kernels());
      const std::vector<double> in = ramp(10);
      const Result result = run_plan(executable, in, 1.5);
      std::vector<double> trace = expected(1.5, in);
      trace.resize(static_cast<std::size_t>(last + 1));
      CHECK(!result.failure());
      CHECK(equals(result.output(0), trace));
    }
  }
}

TEST(loop, failure_names_the_step_and_frees_everything) {
  for (const bool native : {true, false}) {
    Options options;
    options.native = native;
    options.fail_step = 6;
    options.temporary_bytes = 1 << 20;
    const Executable executable(make_plan(options), kernels());
    const std::vector<double> in = ramp(10);
    {
      const Result warm = run_plan(executable, in, 1.5);
    }
    const std::int64_t before = allocated_bytes();
    const Result result = run_plan(executable, in, 1.5);
    CHECK(allocated_bytes() == before);
    const Failure& failure = result.failure();
    CHECK(failure.kind == FailureKind::check);
    CHECK(failure.code == 5);
    CHECK(failure.values[0] == 10 && failure.values[2] == 12);
    CHECK(failure.instruction == "fail");
    CHECK(failure.path.size() == 1 && failure.path[0].loop == "scan" && failure.path[0].step == 6);
  }
}

TEST(loop, negative_number_of_steps) {
  Plan plan = make_plan({});
  plan.instructions.erase(plan.instructions.begin());  // without `prepare`, steps stays as it is
  plan.initial_dims[steps] = -3;
  const Executable executable(std::move(plan), kernels());
  const Result result = run_plan(executable, ramp(1), 1.5);
  CHECK(result.failure().kind == FailureKind::steps);
  CHECK(result.failure().code == -3);
}

TEST(loop, no_memory) {
  Plan plan = make_plan({});
  plan.initial_dims[slot_bytes] = INT64_MAX / 2;
  const Executable executable(std::move(plan), kernels());
  const Result result = run_plan(executable, ramp(10), 1.5);
  CHECK(result.failure().kind == FailureKind::memory);
}

TEST(loop, interrupt) {
  Options options;
  options.block_length = 1;
  options.temporary_bytes = 400'000;  // long enough for two polls
  const Executable executable(make_plan(options), kernels());
  const std::vector<double> in(100'000, 0.0);
  const auto size = static_cast<std::int64_t>(in.size());
  const double start = 0;
  const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
  int calls = 0;
  InterruptHook hook;
  hook.context = &calls;
  hook.function = [](void* context) { return ++*static_cast<int*>(context) == 2; };
  Plan long_plan = make_plan(options);
  long_plan.initial_dims[slots] = size + 1;
  const Executable long_executable(std::move(long_plan), kernels());
  const Result result = long_executable.run(inputs, hook);
  CHECK(result.failure().kind == FailureKind::interrupted);
  CHECK(calls == 2);
}

namespace {

// The inner loop of the nested test: outer step t runs it over t + 1 steps of u and stores its last value.
std::int64_t outer_step(void**, std::int64_t* d, std::int64_t start, std::int64_t, std::int64_t, std::int64_t) {
  d[steps] = start + 1;
  d[slots] = start + 2;                       // the inner trace grows from step to step
  d[temporary_bytes] = 8 * (start + 1) * 40;  // and so does its temporary
  return 0;
}

std::int64_t outer_store(void** b, std::int64_t* d, std::int64_t start, std::int64_t, std::int64_t, std::int64_t) {
  static_cast<double*>(b[4])[start] = static_cast<const double*>(b[storage])[d[done]];
  return 0;
}

}  // namespace

TEST(loop, nested_and_growing) {
  Options options;
  options.native = false;
  Plan plan = make_plan(options);
  plan.buffers.push_back(Buffer{"last values", DType::float64, Role::temporary, no_slot, nullptr});
  const int first = static_cast<int>(plan.initial_dims.size());
  plan.initial_dims.insert(plan.initial_dims.end(), {30, 0, 0, 0, 8});  // steps, step, stop, done, slot bytes
  Loop outer;
  outer.name = "outer";
  outer.steps_slot = first;
  outer.step_slot = first + 1;
  outer.stop_slot = first + 2;
  outer.done_slot = first + 3;
  outer.block_slot = block;
  outer.storages = {Storage{4, first + 4, 0, 0, keep_all}};
  outer.recurrence = {{Call{7, "outer step"}}, {make_loop(options)}, {Call{8, "outer store"}}};
  plan.instructions = {{outer}};
  plan.outputs = {Output{4, no_slot, {first}, DType::float64}};
  std::vector<KernelFunction> table = kernels();
  table.push_back(outer_step);
  table.push_back(outer_store);
  const Executable executable(plan, table);
  const std::vector<double> in = ramp(30);
  const Result result = run_plan(executable, in, 1.5);
  CHECK(!result.failure());
  CHECK(equals(result.output(0), expected(1.5, in)));

  plan.initial_dims[fail_step] = 2;
  const Executable failing(std::move(plan), table);
  const Result failed = run_plan(failing, in, 1.5);
  const Failure& failure = failed.failure();
  CHECK(failure.path.size() == 2);
  CHECK(failure.path[0].loop == "outer" && failure.path[0].step == 2);
  CHECK(failure.path[1].loop == "scan" && failure.path[1].step == 2);
}

TEST(loop, allocates_nothing_between_steps) {
  Options options;
  options.native = false;
  options.steps = 1000;
  const Executable executable(make_plan(options), kernels());
  const std::vector<double> in = ramp(1000);
  {
    const Result warm = run_plan(executable, in, 1.5);
  }
  const std::int64_t before = allocation_count();
  {
    const Result result = run_plan(executable, in, 1.5);
  }
  CHECK(allocation_count() == before);
}

TEST(loop, profile) {
  Options options;
  options.last_only = true;
  Executable executable(make_plan(options), kernels());
  const std::vector<double> in = ramp(10);
  CHECK(!run_plan(executable, in, 1.5).failure());
  CHECK(executable.profile() == nullptr);
  executable.start_profile();
  for (int i = 0; i < 2; ++i) CHECK(!run_plan(executable, in, 1.5).failure());
  const Profile& profile = *executable.profile();
  CHECK(profile.calls == 2);
  CHECK(profile.loops.size() == 1);
  const LoopCounters& counted = profile.loops[0];
  CHECK(counted.calls == 2);
  CHECK(counted.steps == 20);
  CHECK(counted.blocks == 6);
  CHECK(counted.bytes == 2 * 8 + options.temporary_bytes);
  const std::int64_t parts = counted.prologue_ns + counted.recurrence_ns + counted.epilogue_ns;
  CHECK(parts <= counted.total_ns && counted.total_ns <= profile.total_ns);
}

namespace {

// Rows of two states: x[t][r] = 2 x[t-1][r] + u[t], in an instruction for a range of rows each.
constexpr int row_count = total_slots, row_cost = total_slots + 1, row_slots = total_slots + 2;

std::int64_t rows_prepare(void** b, std::int64_t* d, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  std::fill_n(static_cast<double*>(b[storage]), d[row_count], *static_cast<const double*>(b[start_value]));
  return 0;
}

std::int64_t rows_advance(void** b, std::int64_t* d, std::int64_t t, std::int64_t, std::int64_t first,
                          std::int64_t last) {
  auto* x = static_cast<double*>(b[storage]) + t * d[row_count];
  if (d[step] != t) return 9;
  for (std::int64_t row = first; row < std::min(last, d[row_count]); ++row) {
    x[d[row_count] + row] = 2 * x[row] + static_cast<const double*>(b[u])[t];
  }
  return 0;
}

// Stops at values above 1000, and tells the row.
std::int64_t rows_check(void** b, std::int64_t* d, std::int64_t t, std::int64_t, std::int64_t first,
                        std::int64_t last) {
  const auto* x = static_cast<const double*>(b[storage]) + (t + 1) * d[row_count];
  for (std::int64_t row = first; row < std::min(last, d[row_count]); ++row) {
    if (x[row] <= 1000) continue;
    d[report_value_slot] = row;
    return 5;
  }
  return 0;
}

// From step 6 on, the rows from 20 on fail in the first instruction.
std::int64_t rows_early(void**, std::int64_t* d, std::int64_t t, std::int64_t, std::int64_t, std::int64_t last) {
  return t >= d[fail_step] && last > 20 ? 6 : 0;
}

Plan make_rows_plan(std::int64_t rows) {
  Plan plan = make_plan({});
  plan.initial_dims.resize(row_slots);
  plan.initial_dims[row_count] = rows;
  plan.initial_dims[row_cost] = 1 << 20;
  plan.initial_dims[slot_bytes] = 8 * rows;
  plan.initial_dims[fail_step] = INT64_MAX;
  Options options;
  options.native = false;
  Loop loop = make_loop(options);
  loop.rows_slot = row_count;
  loop.row_cost_slot = row_cost;
  loop.start = {{Call{1, "start"}}};
  loop.prologue = {};
  loop.temporaries = {};
  loop.recurrence = {{Call{4, "early"}}, {Call{2, "advance"}}, {Call{3, "check"}}};
  plan.instructions = {{Call{0, "prepare"}}, {loop}};
  plan.outputs = {Output{storage, row_count, {steps, row_count}, DType::float64}};
  return plan;
}

std::vector<KernelFunction> row_kernels() {
  return {run_prepare, rows_prepare, rows_advance, rows_check, rows_early};
}

}  // namespace

TEST(loop, rows) {
  for (const int threads : {1, 2, 3, 16}) {
    const Threads set(threads);
    for (const std::int64_t rows : {1, 8, 16, 17, 64}) {
      const Executable executable(make_rows_plan(rows), row_kernels());
      const std::vector<double> in = ramp(9);
      const Result result = run_plan(executable, in, 1.5);
      CHECK(!result.failure());
      std::vector<double> trace;
      for (const double value : expected(1.5, in)) {
        trace.insert(trace.end(), static_cast<std::size_t>(rows), value);
      }
      CHECK(equals(result.output(0), trace));
    }
  }
}

TEST(loop, the_first_failure_of_all_rows_reports) {
  for (const int threads : {1, 2, 4}) {
    const Threads set(threads);
    Plan plan = make_rows_plan(64);
    const Executable executable(plan, row_kernels());
    const std::vector<double> in = ramp(20);
    const Result checked =
        run_plan(executable, in, 1.5);  // the values of all rows exceed the bound at the same step
    CHECK(checked.failure().code == 5 && checked.failure().values[0] == 0);
    CHECK(checked.failure().path.size() == 1);
    const std::int64_t last = checked.failure().path[0].step;
    plan.initial_dims[fail_step] = last;  // rows behind the first range, but in an earlier instruction
    const Executable early(plan, row_kernels());
    const Result failed = run_plan(early, in, 1.5);
    CHECK(failed.failure().code == 6 && failed.failure().instruction == "early");
    CHECK(failed.failure().path[0].step == last);
    plan.initial_dims[fail_step] = last + 1;
    const Executable late(plan, row_kernels());
    CHECK(run_plan(late, in, 1.5).failure().code == 5);
  }
}

TEST(loop, rows_of_other_instructions_are_refused) {
  Plan plan = make_rows_plan(16);
  std::get<Loop>(plan.instructions[1].operation).recurrence.push_back({Allocate{temporary}});
  CHECK(is_refused(plan, row_kernels()));
}
