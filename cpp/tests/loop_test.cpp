// loop_test.cpp: THE loop, on hand-written kernels: traces, rings, blocks, until, failures, nesting, growing.
#include <algorithm>
#include <cstring>

#include "check.hpp"
#include "plans.hpp"
#include "scanlib/memory.hpp"

using namespace plans;

namespace {

std::vector<double> ramp(std::int64_t size) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < size; ++i) values.push_back(0.5 * static_cast<double>(i % 7) - 1);
  return values;
}

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
