// tensor.hpp: helpers shared by the library kernels: walking batches and elements of strided tensors.
//
// Everything is in an unnamed namespace: kernels are compiled for several instruction sets, and a function that
// was compiled for a newer one must never stand in for its baseline twin.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scanlib/library.hpp"

namespace scanlib {
namespace {

constexpr int max_operands = 8;
constexpr int max_dims = 32;

template <class T>
T* data_of(const Tensor& tensor) {
  return static_cast<T*>(tensor.data);
}

// dims and strides counted from the back: 0 is the last one.
inline std::int64_t dim_back(const Tensor& tensor, int back) { return tensor.dims[tensor.ndim - 1 - back]; }
inline std::int64_t stride_back(const Tensor& tensor, int back) { return tensor.strides[tensor.ndim - 1 - back]; }

// Calls body(offsets) once for each of the items [first, last) of the leading dims, in C order; `core[i]` is the
// number of trailing dims of operand i that belong to one item.  offsets count elements.  body returns false to
// stop.  Returns false if the leading dims disagree or body stopped.
template <class Body>
bool for_items(const Tensor* operands, std::size_t count, const int* core, std::int64_t first, std::int64_t last,
               Body&& body) {
  const int ndim = operands[0].ndim - core[0];
  if (ndim < 0 || ndim > max_dims) return false;
  std::int64_t offsets[max_operands] = {};
  std::int64_t index[max_dims] = {};
  for (std::size_t i = 0; i < count; ++i) {
    if (operands[i].ndim - core[i] != ndim) return false;
    std::int64_t left = first;
    for (int axis = ndim - 1; axis >= 0; --axis) {
      const std::int64_t dim = operands[0].dims[axis];
      if (operands[i].dims[axis] != dim) return false;
      index[axis] = dim == 0 ? 0 : left % dim;
      offsets[i] += index[axis] * operands[i].strides[axis];
      left = dim == 0 ? 0 : left / dim;
    }
  }
  for (std::int64_t item = first; item < last; ++item) {
    if (!body(offsets)) return false;
    for (int axis = ndim - 1; axis >= 0; --axis) {
      const bool carry = ++index[axis] == operands[0].dims[axis];
      for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t stride = operands[i].strides[axis];
        offsets[i] += carry ? -stride * (operands[0].dims[axis] - 1) : stride;
      }
      if (!carry) break;
      index[axis] = 0;
    }
  }
  return true;
}

// The same for all items.
template <class Body>
bool for_each_item(const Tensor* operands, std::size_t count, const int* core, Body&& body) {
  std::int64_t total = 1;
  for (int axis = 0; axis < operands[0].ndim - core[0]; ++axis) total *= operands[0].dims[axis];
  return for_items(operands, count, core, 0, total, body);
}

// Calls body(type tag) with a value of the C++ type of `dtype`; bool comes as bool.
template <class Body>
Status with_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::boolean:
      return body(bool{});
    case DType::int8:
      return body(std::int8_t{});
    case DType::int16:
      return body(std::int16_t{});
    case DType::int32:
      return body(std::int32_t{});
    case DType::int64:
      return body(std::int64_t{});
    case DType::uint8:
      return body(std::uint8_t{});
    case DType::uint16:
      return body(std::uint16_t{});
    case DType::uint32:
      return body(std::uint32_t{});
    case DType::uint64:
      return body(std::uint64_t{});
    case DType::float32:
      return body(float{});
    case DType::float64:
      return body(double{});
  }
  return Status::bad_dtype;
}

template <class Body>
Status with_float(DType dtype, Body&& body) {
  if (dtype == DType::float32) return body(float{});
  if (dtype == DType::float64) return body(double{});
  return Status::bad_dtype;
}

}  // namespace
}  // namespace scanlib
