// factor.cpp: Cholesky and QR factorizations.
#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <cmath>

#include "kernels/linalg/matrix.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

constexpr std::int64_t small_order = 24;

// Row by row, in place in `out`, which is read as a lower triangle (pass it transposed for an upper one).  The
// part of `a` above the diagonal is not read.
template <class T>
Status small_cholesky(const View<T>& a, const View<T>& out) {
  for (std::int64_t row = 0; row < a.rows; ++row) {
    for (std::int64_t col = 0; col <= row; ++col) {
      T sum = a.at(row, col);
      for (std::int64_t k = 0; k < col; ++k) sum -= out.at(row, k) * out.at(col, k);
      if (row != col) {
        out.at(row, col) = sum / out.at(col, col);
        continue;
      }
      if (!(sum > 0)) return Status::not_positive_definite;
      out.at(row, row) = std::sqrt(sum);
    }
    for (std::int64_t col = row + 1; col < a.cols; ++col) out.at(row, col) = 0;
  }
  return Status::ok;
}

template <class T>
Status large_cholesky(const View<T>& a, const View<T>& out) {
  Dense<T> matrix;
  load(matrix, a);
  Eigen::LLT<Eigen::Ref<Dense<T>>, Eigen::Lower> factor(matrix);
  if (factor.info() != Eigen::Success) return Status::not_positive_definite;
  matrix.template triangularView<Eigen::StrictlyUpper>().setZero();
  for (std::int64_t i = 0; i < a.rows; ++i) {
    if (!(matrix(i, i) > 0)) return Status::not_positive_definite;
  }
  store(out, matrix);
  return Status::ok;
}

template <class T>
Status qr_one(const View<T>& a, const View<T>& q, const View<T>& r) {
  Dense<T> matrix;
  load(matrix, a);
  Eigen::HouseholderQR<Dense<T>> factor(matrix);
  Dense<T> left = Dense<T>::Identity(a.rows, q.cols);
  left.applyOnTheLeft(factor.householderQ());
  store(q, left);
  const auto& packed = factor.matrixQR();
  store(r, [&](std::int64_t row, std::int64_t col) { return row > col ? T{0} : packed(row, col); });
  return Status::ok;
}

}  // namespace

Status cholesky(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (!is_square(operands[0])) return Status::shape_mismatch;
  const std::int64_t order = dim_back(operands[0], 0);
  if (!is_shape(operands[1], order, order)) return Status::shape_mismatch;
  const bool lower = parameters[0] != 0;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 2};
    return for_each_matrix(operands, 2, core, [&](const std::int64_t* at) {
      View<T> a = matrix_of<T>(operands[0], at[0]);
      View<T> out = matrix_of<T>(operands[1], at[1]);
      if (!lower) {
        a = a.transposed();
        out = out.transposed();
      }
      return order <= small_order ? small_cholesky(a, out) : large_cholesky(a, out);
    });
  });
}

Status qr(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (operands[0].ndim < 2) return Status::shape_mismatch;
  const std::int64_t rows = dim_back(operands[0], 1);
  const std::int64_t cols = dim_back(operands[0], 0);
  const std::int64_t inner = parameters[0] != 0 || rows < cols ? rows : cols;
  if (!is_shape(operands[1], rows, inner) || !is_shape(operands[2], inner, cols)) return Status::shape_mismatch;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 2, 2};
    return for_each_matrix(operands, 3, core, [&](const std::int64_t* at) {
      return qr_one(matrix_of<T>(operands[0], at[0]), matrix_of<T>(operands[1], at[1]),
                    matrix_of<T>(operands[2], at[2]));
    });
  });
}

}  // namespace SCANLIB_ISA
}  // namespace scanlib
