// operands.hpp: reading parameters and writing samples of any dtype, element by element.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/tensor.hpp"

namespace scanlib {
namespace {

constexpr int max_parameters = 2;

// A tensor whose elements are read as double.
class Reader {
 public:
  Reader() = default;
  explicit Reader(const Tensor& tensor)
      : data_(static_cast<const char*>(tensor.data)), size_(static_cast<std::int64_t>(size_of(tensor.dtype))) {
    with_type(tensor.dtype, [&](auto tag) {
      using T = decltype(tag);
      read_ = [](const char* at) { return static_cast<double>(*reinterpret_cast<const T*>(at)); };
      whole_ = [](const char* at) { return static_cast<std::int64_t>(*reinterpret_cast<const T*>(at)); };
      return Status::ok;
    });
  }

  double operator()(std::int64_t offset) const { return read_(data_ + offset * size_); }
  std::int64_t whole(std::int64_t offset) const { return whole_(data_ + offset * size_); }

 private:
  const char* data_ = nullptr;
  std::int64_t size_ = 0;
  double (*read_)(const char*) = nullptr;
  std::int64_t (*whole_)(const char*) = nullptr;
};

// A tensor whose elements are written from double or int64.
class Writer {
 public:
  explicit Writer(const Tensor& tensor)
      : data_(static_cast<char*>(tensor.data)), size_(static_cast<std::int64_t>(size_of(tensor.dtype))) {
    with_type(tensor.dtype, [&](auto tag) {
      using T = decltype(tag);
      write_ = [](char* at, double value) { *reinterpret_cast<T*>(at) = static_cast<T>(value); };
      whole_ = [](char* at, std::int64_t value) { *reinterpret_cast<T*>(at) = static_cast<T>(value); };
      return Status::ok;
    });
  }

  void operator()(std::int64_t offset, double value) const { write_(data_ + offset * size_, value); }
  void operator()(std::int64_t offset, std::int64_t value) const { whole_(data_ + offset * size_, value); }

 private:
  char* data_;
  std::int64_t size_;
  void (*write_)(char*, double) = nullptr;
  void (*whole_)(char*, std::int64_t) = nullptr;
};

// Calls body(sample offset, parameter offsets) for each element of the sample, in C order; body returns a Status.
template <class Body>
Status for_each_draw(const Tensor& sample, const Tensor* parameters, int count, Body&& body) {
  Tensor operands[1 + max_parameters] = {sample};
  const int core[1 + max_parameters] = {};
  for (int i = 0; i < count; ++i) operands[1 + i] = parameters[i];
  Status status = Status::ok;
  const bool good = for_each_item(operands, static_cast<std::size_t>(1 + count), core, [&](const std::int64_t* at) {
    status = body(at[0], at + 1);
    return status == Status::ok;
  });
  return good || status != Status::ok ? status : Status::shape_mismatch;
}

inline std::int64_t count_of(const Tensor& tensor) {
  std::int64_t count = 1;
  for (int axis = 0; axis < tensor.ndim; ++axis) count *= tensor.dims[axis];
  return count;
}

}  // namespace
}  // namespace scanlib
