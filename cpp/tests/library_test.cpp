// library_test.cpp: the library kernels without Python; tests/test_core.py compares them with NumPy in breadth.
#include "scanlib/library.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include "check.hpp"

using namespace scanlib;

namespace {

// A contiguous tensor that owns its elements.
template <class T>
struct Array {
  Array(std::vector<std::int64_t> shape, DType type) : dims(std::move(shape)), strides(dims.size()), dtype(type) {
    std::int64_t stride = 1;
    for (std::size_t i = dims.size(); i-- > 0;) {
      strides[i] = stride;
      stride *= dims[i];
    }
    data.resize(static_cast<std::size_t>(stride));
  }

  Tensor tensor() { return Tensor{data.data(), dtype, static_cast<int>(dims.size()), dims.data(), strides.data()}; }

  std::vector<std::int64_t> dims;
  std::vector<std::int64_t> strides;
  DType dtype;
  std::vector<T> data;
};

void fill(Array<double>& array, unsigned seed) {
  std::mt19937 generator(seed);
  for (double& value : array.data) value = std::uniform_real_distribution<double>(-1, 1)(generator);
}

Status call(const char* name, std::vector<Tensor> operands, std::vector<std::int64_t> parameters = {}) {
  return find_library_kernel(name)->function(operands.data(), operands.size(), parameters.data());
}

bool matmul_is_right(std::int64_t m, std::int64_t k, std::int64_t n) {
  Array<double> a({m, k}, DType::float64);
  Array<double> b({k, n}, DType::float64);
  Array<double> out({m, n}, DType::float64);
  fill(a, 1);
  fill(b, 2);
  if (call("matmul", {a.tensor(), b.tensor(), out.tensor()}, {0}) != Status::ok) return false;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t p = 0; p < k; ++p) {
        sum += a.data[static_cast<std::size_t>(i * k + p)] * b.data[static_cast<std::size_t>(p * n + j)];
      }
      if (std::fabs(sum - out.data[static_cast<std::size_t>(i * n + j)]) > 1e-12) return false;
    }
  }
  return true;
}

}  // namespace

TEST(library, registry) {
  CHECK(find_library_kernel("matmul") != nullptr);
  CHECK(find_library_kernel("no such kernel") == nullptr);
  CHECK(dtype_from_name("int16") == DType::int16);
  CHECK(size_of(DType::float32) == 4);
  CHECK(!library_symbols().empty());
}

TEST(library, matmul) {
  for (const std::int64_t m : {1, 2, 7, 40}) {
    for (const std::int64_t k : {1, 3, 50}) {
      for (const std::int64_t n : {1, 5, 33}) CHECK(matmul_is_right(m, k, n));
    }
  }
}

// A product with a packed right operand, all at once and row by row.
bool packed_matmul_is_right(std::int64_t m, std::int64_t k, std::int64_t n) {
  constexpr std::int64_t width = packed_panel_bytes / sizeof(double);
  Array<double> a({m, k}, DType::float64);
  Array<double> b({k, n}, DType::float64);
  Array<double> panels({(n + width - 1) / width, k, width}, DType::float64);
  Array<double> wanted({m, n}, DType::float64);
  Array<double> out({m, n}, DType::float64);
  fill(a, 1);
  fill(b, 2);
  if (call("matmul", {a.tensor(), b.tensor(), wanted.tensor()}, {0}) != Status::ok) return false;
  if (call("pack", {b.tensor(), panels.tensor()}) != Status::ok) return false;
  if (call("matmul_packed", {a.tensor(), panels.tensor(), out.tensor()}, {0}) != Status::ok) return false;
  for (std::size_t i = 0; i < out.data.size(); ++i) {
    if (std::fabs(out.data[i] - wanted.data[i]) > 1e-12) return false;
  }
  for (std::int64_t row = 0; row < m; ++row) {
    Array<double> one({1, n}, DType::float64);
    Tensor left = a.tensor();
    left.data = &a.data[static_cast<std::size_t>(row * k)];
    const std::int64_t dims[] = {1, k};
    left.dims = dims;
    if (call("matmul_packed", {left, panels.tensor(), one.tensor()}, {0}) != Status::ok) return false;
    if (!std::equal(one.data.begin(), one.data.end(), out.data.begin() + row * n)) return false;
  }
  return true;
}

TEST(library, packed_matmul) {
  for (const std::int64_t m : {1, 2, 7, 9, 40}) {
    for (const std::int64_t k : {1, 3, 50}) {
      for (const std::int64_t n : {1, 16, 33, 150}) CHECK(packed_matmul_is_right(m, k, n));
    }
  }
  Array<double> a({2, 3}, DType::float64);
  Array<double> panels({1, 4, 16}, DType::float64);
  Array<double> out({2, 5}, DType::float64);
  CHECK(call("matmul_packed", {a.tensor(), panels.tensor(), out.tensor()}, {0}) == Status::shape_mismatch);
}

TEST(library, solve) {
  for (const std::int64_t order : {1, 3, 16, 30}) {
    Array<double> a({2, order, order}, DType::float64);
    Array<double> b({2, order, 1}, DType::float64);
    Array<double> x({2, order, 1}, DType::float64);
    Array<double> back({2, order, 1}, DType::float64);
    fill(a, 3);
    fill(b, 4);
    CHECK(call("solve", {a.tensor(), b.tensor(), x.tensor()}) == Status::ok);
    CHECK(call("matmul", {a.tensor(), x.tensor(), back.tensor()}, {0}) == Status::ok);
    for (std::size_t i = 0; i < b.data.size(); ++i) CHECK(std::fabs(b.data[i] - back.data[i]) < 1e-8);
    a.data.assign(a.data.size(), 1.0);
    if (order > 1) CHECK(call("solve", {a.tensor(), b.tensor(), x.tensor()}) == Status::singular);
  }
}

TEST(library, factorizations) {
  const std::int64_t order = 30;
  Array<double> root({order, order}, DType::float64);
  Array<double> a({order, order}, DType::float64);
  Array<double> factor({order, order}, DType::float64);
  Array<double> values({order}, DType::float64);
  fill(root, 5);
  for (std::int64_t i = 0; i < order; ++i) root.data[static_cast<std::size_t>(i * order + i)] += 3;
  Tensor transposed = root.tensor();
  const std::int64_t swapped[] = {1, order};
  transposed.strides = swapped;
  CHECK(call("matmul", {root.tensor(), transposed, a.tensor()}, {0}) == Status::ok);
  CHECK(call("cholesky", {a.tensor(), factor.tensor()}, {1}) == Status::ok);
  CHECK(call("eigh", {a.tensor(), values.tensor(), factor.tensor()}, {1}) == Status::ok);
  CHECK(values.data[0] > 0 && values.data[1] >= values.data[0]);
  CHECK(call("qr", {a.tensor(), factor.tensor(), root.tensor()}, {0}) == Status::ok);
  CHECK(call("svd", {a.tensor(), factor.tensor(), values.tensor(), root.tensor()}, {0}) == Status::ok);
  Array<double> limit({}, DType::float64);
  limit.data[0] = 1e-12;
  CHECK(call("pinv", {a.tensor(), limit.tensor(), factor.tensor()}, {}) == Status::ok);
  CHECK(call("matmul", {a.tensor(), factor.tensor(), root.tensor()}, {0}) == Status::ok);
  CHECK(std::abs(root.data[0] - 1) < 1e-8 && std::abs(root.data[1]) < 1e-8);
  for (double& value : a.data) value = -value;
  CHECK(call("cholesky", {a.tensor(), factor.tensor()}, {1}) == Status::not_positive_definite);
}

TEST(library, sorting) {
  Array<double> x({2, 3}, DType::float64);
  Array<std::int64_t> order({2, 3}, DType::int64);
  x.data = {3, NAN, 1, 2, 2, -1};
  CHECK(call("argsort", {x.tensor(), order.tensor()}) == Status::ok);
  CHECK((order.data == std::vector<std::int64_t>{2, 0, 1, 2, 0, 1}));
  CHECK(call("sort", {x.tensor(), x.tensor()}) == Status::ok);
  CHECK(x.data[0] == 1 && std::isnan(x.data[2]) && x.data[3] == -1);
}
