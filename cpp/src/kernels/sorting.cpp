// sorting.cpp: sort, argsort and searchsorted along the last axis, in NumPy's order: NaN after everything else.
#include <algorithm>
#include <new>
#include <numeric>
#include <type_traits>
#include <vector>

#include "kernels/tables.hpp"
#include "kernels/tensor.hpp"

namespace scanlib {
namespace {

template <class T>
bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a < b || (b != b && a == a);
  } else {
    return a < b;
  }
}

bool same_rows(const Tensor* t, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (t[i].ndim < 1 || t[i].ndim != t[0].ndim || dim_back(t[i], 0) != dim_back(t[0], 0)) return false;
  }
  return true;
}

// Runs body with at most an out-of-memory failure.
template <class Body>
Status guarded(Body&& body) {
  try {
    return body() ? Status::ok : Status::shape_mismatch;
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory;
  }
}

template <class T>
bool sort_rows(const Tensor* operands) {
  const int core[] = {1, 1};
  const std::int64_t size = dim_back(operands[0], 0);
  // A vector of bool packs bits: sort bytes instead.
  using Element = std::conditional_t<std::is_same_v<T, bool>, unsigned char, T>;
  std::vector<Element> row(static_cast<std::size_t>(size));
  return for_each_item(operands, 2, core, [&](const std::int64_t* at) {
    const T* from = data_of<T>(operands[0]) + at[0];
    T* to = data_of<T>(operands[1]) + at[1];
    for (std::int64_t i = 0; i < size; ++i)
      row[static_cast<std::size_t>(i)] = from[i * stride_back(operands[0], 0)];
    std::stable_sort(row.begin(), row.end(), before<Element>);
    for (std::int64_t i = 0; i < size; ++i) {
      to[i * stride_back(operands[1], 0)] = static_cast<T>(row[static_cast<std::size_t>(i)]);
    }
    return true;
  });
}

template <class T>
bool argsort_rows(const Tensor* operands) {
  const int core[] = {1, 1};
  const std::int64_t size = dim_back(operands[0], 0);
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  return for_each_item(operands, 2, core, [&](const std::int64_t* at) {
    const T* from = data_of<T>(operands[0]) + at[0];
    const std::int64_t stride = stride_back(operands[0], 0);
    auto* to = data_of<std::int64_t>(operands[1]) + at[1];
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return before<T>(from[a * stride], from[b * stride]); });
    for (std::int64_t i = 0; i < size; ++i)
      to[i * stride_back(operands[1], 0)] = order[static_cast<std::size_t>(i)];
    return true;
  });
}

// The first position whose element is not before `value` (or, with `right`, after which `value` comes).
template <class T>
std::int64_t position(const T* sorted, std::int64_t size, std::int64_t stride, T value, bool right) {
  std::int64_t first = 0;
  while (size > 0) {
    const std::int64_t half = size / 2;
    const T probe = sorted[(first + half) * stride];
    const bool go_right = right ? !before(value, probe) : before(probe, value);
    if (go_right) {
      first += half + 1;
      size -= half + 1;
    } else {
      size = half;
    }
  }
  return first;
}

template <class T>
bool search_rows(const Tensor* operands, bool right) {
  const int core[] = {1, 1, 1};
  const std::int64_t size = dim_back(operands[0], 0);
  const std::int64_t count = dim_back(operands[1], 0);
  return for_each_item(operands, 3, core, [&](const std::int64_t* at) {
    const T* sorted = data_of<T>(operands[0]) + at[0];
    const T* values = data_of<T>(operands[1]) + at[1];
    auto* to = data_of<std::int64_t>(operands[2]) + at[2];
    for (std::int64_t i = 0; i < count; ++i) {
      to[i * stride_back(operands[2], 0)] =
          position(sorted, size, stride_back(operands[0], 0), values[i * stride_back(operands[1], 0)], right);
    }
    return true;
  });
}

Status sort(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!same_rows(operands, 2)) return Status::shape_mismatch;
  if (operands[0].dtype != operands[1].dtype) return Status::bad_dtype;
  return with_type(operands[0].dtype,
                   [&](auto tag) { return guarded([&] { return sort_rows<decltype(tag)>(operands); }); });
}

Status argsort(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!same_rows(operands, 2)) return Status::shape_mismatch;
  if (operands[1].dtype != DType::int64) return Status::bad_dtype;
  return with_type(operands[0].dtype,
                   [&](auto tag) { return guarded([&] { return argsort_rows<decltype(tag)>(operands); }); });
}

Status searchsorted(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (operands[0].ndim < 1 || !same_rows(operands + 1, 2)) return Status::shape_mismatch;
  if (operands[0].dtype != operands[1].dtype || operands[2].dtype != DType::int64) return Status::bad_dtype;
  const bool right = parameters[0] != 0;
  return with_type(operands[0].dtype,
                   [&](auto tag) { return guarded([&] { return search_rows<decltype(tag)>(operands, right); }); });
}

}  // namespace

void append_sorting_kernels(std::vector<LibraryKernel>& kernels) {
  kernels.push_back({"sort", 2, 0, sort});
  kernels.push_back({"argsort", 2, 0, argsort});
  kernels.push_back({"searchsorted", 3, 1, searchsorted});
}

}  // namespace scanlib
