// executor_test.cpp: the outer boundary: plans refused, outputs taken or copied, calls from many threads.
#include <cstring>
#include <thread>

#include "check.hpp"
#include "plans.hpp"
#include "scanlib/memory.hpp"

using namespace plans;

namespace {

template <class Change>
bool refused(Change&& change) {
  Plan plan = make_plan({});
  change(plan);
  try {
    const Executable executable(std::move(plan), kernels());
  } catch (const InternalError& error) {
    return std::strstr(error.what(), "internal error") != nullptr;
  }
  return false;
}

Loop& loop_of(Plan& plan) { return std::get<Loop>(plan.instructions[1].operation); }

}  // namespace

TEST(executor, refuses_broken_plans) {
  CHECK(!refused([](Plan&) {}));
  CHECK(refused([](Plan& plan) { plan.initial_dims.resize(3); }));
  CHECK(refused([](Plan& plan) { plan.outputs[0].buffer = 99; }));
  CHECK(refused([](Plan& plan) { plan.outputs[0].dims = {9999}; }));
  CHECK(refused([](Plan& plan) { plan.outputs[0].dtype = DType::float32; }));
  CHECK(refused([](Plan& plan) { plan.inputs[0].buffer = storage; }));
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Call{99, "x"}}); }));
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Allocate{u}}); }));
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Allocate{storage}}); }));  // no bytes_slot
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Release{-1}}); }));
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Library{"no such", {}, {}, "x", nullptr}}); }));
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Library{"matmul", {}, {0}, "x", nullptr}}); }));
  CHECK(refused([](Plan& plan) { plan.instructions.push_back({Branch{Operand{u, no_slot, {}, {}}, {}, {}}}); }));
  CHECK(refused([](Plan& plan) { loop_of(plan).block_slot = no_slot; }));
  CHECK(refused([](Plan& plan) { loop_of(plan).steps_slot = 3; }));
  CHECK(refused([](Plan& plan) { loop_of(plan).storages[0].depth = 5; }));
  CHECK(refused([](Plan& plan) { loop_of(plan).storages[0].keep = -2; }));
}

TEST(executor, reports_outputs_outside_of_their_buffer) {
  Plan plan = make_plan({});
  plan.instructions.pop_back();  // without `finish`
  plan.initial_dims[out_rows] = 12;
  const Executable executable(std::move(plan), kernels());
  const std::vector<double> in(10, 1.0);
  const std::int64_t size = 10;
  const double start = 0;
  const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
  CHECK(executable.run(inputs).failure().kind == FailureKind::internal);
}

TEST(executor, gives_large_outputs_away) {
  const std::int64_t before = allocated_bytes();
  const std::int64_t size = 100'000;
  const double start = 1;
  const std::vector<double> in(static_cast<std::size_t>(size), 0.0);
  const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
  void* taken = nullptr;
  {
    Options options;
    options.steps = size;
    Plan plan = make_plan(options);
    plan.outputs.push_back(plan.outputs[0]);
    const Executable executable(std::move(plan), kernels());
    Result result = executable.run(inputs);
    CHECK(!result.failure());
    const void* data = result.output(0).data;
    taken = result.take(0);
    CHECK(taken != nullptr && data == static_cast<char*>(taken) + 8);
    CHECK(result.take(1) == nullptr);  // the buffer is gone already; its content may still be copied
    CHECK(result.output(1).data == data);
  }
  CHECK(static_cast<double*>(taken)[1] == 2.0);
  CHECK(allocated_bytes() == before + 8 * (size + 1));
  release(taken);
  CHECK(allocated_bytes() == before);
}

TEST(executor, copies_small_and_partial_outputs) {
  const std::int64_t size = 100'000;
  const double start = 1;
  const std::vector<double> in(static_cast<std::size_t>(size), 0.0);
  Options options;
  options.steps = size;
  options.stop_step = 10;  // the output is 11 of 100 001 rows
  options.native = false;
  const Executable executable(make_plan(options), kernels());
  const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
  Result result = executable.run(inputs);
  CHECK(result.output(0).bytes == 88);
  CHECK(result.take(0) == nullptr);
}

TEST(executor, is_reentrant) {
  Options options;
  options.native = false;
  options.steps = 200;
  const Executable executable(make_plan(options), kernels());
  std::vector<std::thread> threads;
  int wrong[8] = {};
  for (int id = 0; id < 8; ++id) {
    threads.emplace_back([&, id] {
      const double start = id;
      const std::vector<double> in(200, 1e-3 * id);
      const std::vector<double> trace = expected(start, in);
      const std::int64_t size = 200;
      const InputView inputs[] = {{in.data(), &size}, {&start, nullptr}};
      for (int call = 0; call < 200; ++call) {
        const Result result = executable.run(inputs);
        const OutputView view = result.output(0);
        if (result.failure() || std::memcmp(view.data, trace.data(), view.bytes) != 0) ++wrong[id];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) CHECK(count == 0);
}

namespace {

std::int64_t choose(void** b, std::int64_t*, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  *static_cast<bool*>(b[2]) = *static_cast<const double*>(b[0]) > 0;
  return 0;
}
std::int64_t put_one(void** b, std::int64_t*, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  *static_cast<double*>(b[1]) = 1;
  return 0;
}
std::int64_t put_two(void** b, std::int64_t*, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  *static_cast<double*>(b[1]) = 2;
  return 0;
}

}  // namespace

TEST(executor, branches) {
  Plan plan;
  plan.buffers = {Buffer{"x", DType::float64, Role::input, no_slot, nullptr},
                  Buffer{"y", DType::float64, Role::temporary, 8, nullptr},
                  Buffer{"c", DType::boolean, Role::temporary, 9, nullptr}};
  plan.initial_dims.assign(10, 8);
  plan.inputs = {Input{0, 8, 0, DType::float64}};
  plan.outputs = {Output{1, no_slot, {}, DType::float64}};
  Branch branch;
  branch.condition = Operand{2, no_slot, {}, {}};
  branch.then = {{Call{1, "then"}}};
  branch.otherwise = {{Call{2, "otherwise"}}};
  plan.instructions = {{Allocate{1}}, {Allocate{2}}, {Call{0, "choose"}}, {branch}, {Release{2}}, {Release{2}}};
  const Executable executable(std::move(plan), {choose, put_one, put_two});
  for (const double x : {-1.0, 1.0}) {
    const InputView inputs[] = {{&x, nullptr}};
    const Result result = executable.run(inputs);
    CHECK(*static_cast<const double*>(result.output(0).data) == (x > 0 ? 1 : 2));
  }
}
