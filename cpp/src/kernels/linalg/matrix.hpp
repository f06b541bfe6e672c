// matrix.hpp: one matrix of a batch, and its way into and out of Eigen.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "kernels/linalg/isa.hpp"
#include "kernels/tensor.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

template <class T>
using Dense = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

// A strided matrix; strides count elements.
template <class T>
struct View {
  T* data;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t row_stride;
  std::int64_t col_stride;

  T& at(std::int64_t row, std::int64_t col) const { return data[row * row_stride + col * col_stride]; }
  View transposed() const { return View{data, cols, rows, col_stride, row_stride}; }
};

// The last two dims of a tensor, `offset` elements further on.
template <class T>
View<T> matrix_of(const Tensor& tensor, std::int64_t offset) {
  return View<T>{data_of<T>(tensor) + offset, dim_back(tensor, 1), dim_back(tensor, 0), stride_back(tensor, 1),
                 stride_back(tensor, 0)};
}

template <class T>
void load(Dense<T>& to, const View<T>& from) {
  to.resize(from.rows, from.cols);
  for (std::int64_t col = 0; col < from.cols; ++col) {
    for (std::int64_t row = 0; row < from.rows; ++row) to(row, col) = from.at(row, col);
  }
}

template <class Matrix, class T>
void store(const View<T>& to, const Matrix& from) {
  for (std::int64_t row = 0; row < to.rows; ++row) {
    for (std::int64_t col = 0; col < to.cols; ++col) to.at(row, col) = from(row, col);
  }
}

// Whether the last two dims are those of a square matrix.
inline bool is_square(const Tensor& tensor) {
  return tensor.ndim >= 2 && dim_back(tensor, 0) == dim_back(tensor, 1);
}

inline bool is_shape(const Tensor& tensor, std::int64_t rows, std::int64_t cols) {
  return tensor.ndim >= 2 && dim_back(tensor, 1) == rows && dim_back(tensor, 0) == cols;
}

// Runs `body(offsets)` -> Status for each item of the batch.
template <class Body>
Status for_each_matrix(const Tensor* operands, std::size_t count, const int* core, Body&& body) {
  Status status = Status::ok;
  const bool good = for_each_item(operands, count, core, [&](const std::int64_t* offsets) {
    status = body(offsets);
    return status == Status::ok;
  });
  return good || status != Status::ok ? status : Status::shape_mismatch;
}

}  // namespace
}  // namespace SCANLIB_ISA
}  // namespace scanlib
