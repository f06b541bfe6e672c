// spectral.cpp: symmetric eigenvalues and singular values.  Compiled for the baseline only: these solvers are
// slow to compile and gain little from wider vectors.
#include <Eigen/Eigenvalues>
#include <Eigen/SVD>

#include "kernels/linalg/matrix.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

// Reads the lower triangle of `a` (pass it transposed for the upper one); eigenvalues ascend.
template <class T>
Status eigh_one(const View<T>& a, T* w, std::int64_t w_stride, const View<T>& v) {
  Dense<T> matrix;
  load(matrix, a);
  if (!matrix.template triangularView<Eigen::Lower>().toDenseMatrix().allFinite()) return Status::not_converged;
  Eigen::SelfAdjointEigenSolver<Dense<T>> solver(matrix);
  if (solver.info() != Eigen::Success) return Status::not_converged;
  for (std::int64_t i = 0; i < a.rows; ++i) w[i * w_stride] = solver.eigenvalues()(i);
  store(v, solver.eigenvectors());
  return Status::ok;
}

template <class T>
Status svd_one(const View<T>& a, const View<T>& u, T* s, std::int64_t s_stride, const View<T>& vt, bool full) {
  Dense<T> matrix;
  load(matrix, a);
  if (!matrix.allFinite()) return Status::not_converged;
  if (matrix.size() == 0) {
    store(u, Dense<T>::Identity(u.rows, u.cols));
    store(vt, Dense<T>::Identity(vt.rows, vt.cols));
    return Status::ok;
  }
  const unsigned options =
      full ? Eigen::ComputeFullU | Eigen::ComputeFullV : Eigen::ComputeThinU | Eigen::ComputeThinV;
  const Eigen::BDCSVD<Dense<T>> solver(matrix, options);
  if (solver.info() != Eigen::Success) return Status::not_converged;
  for (std::int64_t i = 0; i < solver.singularValues().size(); ++i) s[i * s_stride] = solver.singularValues()(i);
  store(u, solver.matrixU());
  store(vt, solver.matrixV().transpose());
  return Status::ok;
}

// Singular values of at most `rcond` times the largest one count as 0.
template <class T>
Status pinv_one(const View<T>& a, T rcond, const View<T>& out) {
  Dense<T> matrix;
  load(matrix, a);
  if (!matrix.allFinite()) return Status::not_converged;
  if (matrix.size() == 0) return Status::ok;
  const Eigen::BDCSVD<Dense<T>> solver(matrix, Eigen::ComputeThinU | Eigen::ComputeThinV);
  if (solver.info() != Eigen::Success) return Status::not_converged;
  const auto& s = solver.singularValues();
  const T least = rcond * s(0);
  Dense<T> right = solver.matrixV();
  for (std::int64_t i = 0; i < s.size(); ++i) right.col(i) *= s(i) > least ? 1 / s(i) : T{0};
  store(out, Dense<T>(right * solver.matrixU().transpose()));
  return Status::ok;
}

}  // namespace

LinalgRows spectral_rows() noexcept {
  static constexpr LibraryKernel rows[] = {{"eigh", 3, 1, eigh}, {"svd", 4, 1, svd}, {"pinv", 3, 0, pinv}};
  return LinalgRows{rows, sizeof(rows) / sizeof(rows[0])};
}

Status eigh(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (!is_square(operands[0]) || operands[1].ndim < 1) return Status::shape_mismatch;
  const std::int64_t order = dim_back(operands[0], 0);
  if (dim_back(operands[1], 0) != order || !is_shape(operands[2], order, order)) return Status::shape_mismatch;
  const bool lower = parameters[0] != 0;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 1, 2};
    return for_each_matrix(operands, 3, core, [&](const std::int64_t* at) {
      if (order == 0) return Status::ok;
      const View<T> a = matrix_of<T>(operands[0], at[0]);
      return eigh_one(lower ? a : a.transposed(), data_of<T>(operands[1]) + at[1], stride_back(operands[1], 0),
                      matrix_of<T>(operands[2], at[2]));
    });
  });
}

Status svd(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (operands[0].ndim < 2 || operands[2].ndim < 1) return Status::shape_mismatch;
  const std::int64_t rows = dim_back(operands[0], 1);
  const std::int64_t cols = dim_back(operands[0], 0);
  const std::int64_t small = rows < cols ? rows : cols;
  const bool full = parameters[0] != 0;
  if (!is_shape(operands[1], rows, full ? rows : small) || dim_back(operands[2], 0) != small ||
      !is_shape(operands[3], full ? cols : small, cols)) {
    return Status::shape_mismatch;
  }
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 2, 1, 2};
    return for_each_matrix(operands, 4, core, [&](const std::int64_t* at) {
      return svd_one(matrix_of<T>(operands[0], at[0]), matrix_of<T>(operands[1], at[1]),
                     data_of<T>(operands[2]) + at[2], stride_back(operands[2], 0), matrix_of<T>(operands[3], at[3]),
                     full);
    });
  });
}

Status pinv(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (operands[0].ndim < 2) return Status::shape_mismatch;
  if (!is_shape(operands[2], dim_back(operands[0], 0), dim_back(operands[0], 1))) return Status::shape_mismatch;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 0, 2};
    return for_each_matrix(operands, 3, core, [&](const std::int64_t* at) {
      return pinv_one(matrix_of<T>(operands[0], at[0]), data_of<T>(operands[1])[at[1]],
                      matrix_of<T>(operands[2], at[2]));
    });
  });
}

}  // namespace SCANLIB_ISA
}  // namespace scanlib
