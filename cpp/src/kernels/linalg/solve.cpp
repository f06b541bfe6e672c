// solve.cpp: linear systems, inverses and determinants by LU with partial pivoting, and triangular systems.
#include <Eigen/LU>
#include <cmath>
#include <type_traits>
#include <utility>

#include "kernels/linalg/matrix.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

constexpr int small_order = 16;

// LU with partial pivoting of a small matrix, on the stack: inside a loop, order 2 to 16 is what matters, and there
// the allocations of a general factorization would cost more than its arithmetic.
template <class T>
class SmallLu {
 public:
  explicit SmallLu(const View<T>& a) : order_(static_cast<int>(a.rows)) {
    for (int row = 0; row < order_; ++row) {
      from_[row] = row;
      for (int col = 0; col < order_; ++col) lu_[row][col] = a.at(row, col);
    }
    for (int step = 0; step < order_; ++step) eliminate(step);
  }

  bool singular() const { return singular_; }
  int order() const { return order_; }
  T diagonal(int i) const { return lu_[i][i]; }
  T permutation_sign() const { return sign_; }

  void solve(const View<T>& b, const View<T>& out) const {
    T x[small_order];
    for (std::int64_t col = 0; col < b.cols; ++col) {
      for (int row = 0; row < order_; ++row) {
        T sum = b.at(from_[row], col);
        for (int k = 0; k < row; ++k) sum -= lu_[row][k] * x[k];
        x[row] = sum;
      }
      for (int row = order_ - 1; row >= 0; --row) {
        T sum = x[row];
        for (int k = row + 1; k < order_; ++k) sum -= lu_[row][k] * x[k];
        x[row] = sum / lu_[row][row];
      }
      for (int row = 0; row < order_; ++row) out.at(row, col) = x[row];
    }
  }

 private:
  void eliminate(int step) {
    int pivot = step;
    for (int row = step + 1; row < order_; ++row) {
      if (std::fabs(lu_[row][step]) > std::fabs(lu_[pivot][step])) pivot = row;
    }
    if (lu_[pivot][step] == 0) {
      singular_ = true;
      return;
    }
    if (pivot != step) {
      sign_ = -sign_;
      std::swap(from_[pivot], from_[step]);
      for (int col = 0; col < order_; ++col) std::swap(lu_[pivot][col], lu_[step][col]);
    }
    for (int row = step + 1; row < order_; ++row) {
      const T factor = lu_[row][step] / lu_[step][step];
      lu_[row][step] = factor;
      for (int col = step + 1; col < order_; ++col) lu_[row][col] -= factor * lu_[step][col];
    }
  }

  int order_;
  bool singular_ = false;
  T sign_ = 1;
  int from_[small_order];
  T lu_[small_order][small_order];
};

// The same interface for any order.
template <class T>
class LargeLu {
 public:
  explicit LargeLu(const View<T>& a) : order_(static_cast<int>(a.rows)) {
    load(copy_, a);
    lu_.compute(copy_);
    for (int i = 0; i < order_; ++i) singular_ = singular_ || diagonal(i) == 0;
  }

  bool singular() const { return singular_; }
  int order() const { return order_; }
  T diagonal(int i) const { return lu_.matrixLU()(i, i); }
  T permutation_sign() const { return static_cast<T>(lu_.permutationP().determinant()); }

  void solve(const View<T>& b, const View<T>& out) const {
    Dense<T> right;
    load(right, b);
    const Dense<T> x = lu_.solve(right);
    store(out, x);
  }

 private:
  int order_;
  bool singular_ = false;
  Dense<T> copy_;
  Eigen::PartialPivLU<Dense<T>> lu_;
};

// Calls use(lu) with the factorization that suits the order.
template <class T, class Use>
Status with_lu(const View<T>& a, Use&& use) {
  if (a.rows <= small_order) return use(SmallLu<T>(a));
  return use(LargeLu<T>(a));
}

template <class T>
Status solve_one(const View<T>& a, const View<T>& b, const View<T>& out) {
  return with_lu(a, [&](const auto& lu) {
    if (lu.singular()) return Status::singular;
    lu.solve(b, out);
    return Status::ok;
  });
}

// Sign and logarithm of |det|.
template <class T>
struct SignedLog {
  T sign;
  T logarithm;
};

template <class Lu>
auto signed_log(const Lu& lu) {
  using T = decltype(lu.permutation_sign());
  if (lu.singular()) return SignedLog<T>{0, -std::numeric_limits<T>::infinity()};
  SignedLog<T> result{lu.permutation_sign(), 0};
  for (int i = 0; i < lu.order(); ++i) {
    if (lu.diagonal(i) < 0) result.sign = -result.sign;
    result.logarithm += std::log(std::fabs(lu.diagonal(i)));
  }
  return result;
}

template <class Lu>
auto determinant(const Lu& lu) {
  auto value = lu.permutation_sign();
  if (lu.singular()) return value * 0;
  for (int i = 0; i < lu.order(); ++i) value *= lu.diagonal(i);
  return value;
}

// Forward or back substitution; `lower` and `transpose` say how `a` is to be read.
template <class T>
Status substitute(View<T> a, const View<T>& b, const View<T>& out, bool lower, bool unit) {
  const std::int64_t order = a.rows;
  for (std::int64_t i = 0; !unit && i < order; ++i) {
    if (a.at(i, i) == 0) return Status::singular;
  }
  for (std::int64_t step = 0; step < order; ++step) {
    const std::int64_t row = lower ? step : order - 1 - step;
    const std::int64_t first = lower ? 0 : row + 1;
    const std::int64_t last = lower ? row : order;
    for (std::int64_t col = 0; col < b.cols; ++col) {
      T sum = b.at(row, col);
      for (std::int64_t k = first; k < last; ++k) sum -= a.at(row, k) * out.at(k, col);
      out.at(row, col) = unit ? sum : sum / a.at(row, row);
    }
  }
  return Status::ok;
}

template <class T>
Status triangular_large(const View<T>& a, const View<T>& b, const View<T>& out, bool lower, bool unit) {
  for (std::int64_t i = 0; !unit && i < a.rows; ++i) {
    if (a.at(i, i) == 0) return Status::singular;
  }
  Dense<T> left;
  Dense<T> x;
  load(left, a);
  load(x, b);
  if (lower && unit) {
    left.template triangularView<Eigen::UnitLower>().solveInPlace(x);
  } else if (lower) {
    left.template triangularView<Eigen::Lower>().solveInPlace(x);
  } else if (unit) {
    left.template triangularView<Eigen::UnitUpper>().solveInPlace(x);
  } else {
    left.template triangularView<Eigen::Upper>().solveInPlace(x);
  }
  store(out, x);
  return Status::ok;
}

bool systems_fit(const Tensor* t) {
  if (!is_square(t[0]) || t[1].ndim < 2 || t[2].ndim < 2) return false;
  return dim_back(t[1], 1) == dim_back(t[0], 0) && dim_back(t[2], 1) == dim_back(t[0], 0) &&
         dim_back(t[2], 0) == dim_back(t[1], 0);
}

}  // namespace

Status solve(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!systems_fit(operands)) return Status::shape_mismatch;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 2, 2};
    return for_each_matrix(operands, 3, core, [&](const std::int64_t* at) {
      return solve_one(matrix_of<T>(operands[0], at[0]), matrix_of<T>(operands[1], at[1]),
                       matrix_of<T>(operands[2], at[2]));
    });
  });
}

Status solve_triangular(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (!systems_fit(operands)) return Status::shape_mismatch;
  const bool transpose = parameters[1] != 0;
  const bool lower = (parameters[0] != 0) != transpose;  // of the matrix as it is read
  const bool unit = parameters[2] != 0;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 2, 2};
    return for_each_matrix(operands, 3, core, [&](const std::int64_t* at) {
      View<T> a = matrix_of<T>(operands[0], at[0]);
      if (transpose) a = a.transposed();
      const View<T> b = matrix_of<T>(operands[1], at[1]);
      const View<T> out = matrix_of<T>(operands[2], at[2]);
      if (a.rows <= small_order) return substitute(a, b, out, lower, unit);
      return triangular_large(a, b, out, lower, unit);
    });
  });
}

Status inv(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!is_square(operands[0]) || !is_square(operands[1])) return Status::shape_mismatch;
  if (dim_back(operands[0], 0) != dim_back(operands[1], 0)) return Status::shape_mismatch;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 2};
    const std::int64_t order = dim_back(operands[0], 0);
    Dense<T> identity = Dense<T>::Identity(order, order);
    const View<T> right{identity.data(), order, order, 1, order};
    return for_each_matrix(operands, 2, core, [&](const std::int64_t* at) {
      return solve_one(matrix_of<T>(operands[0], at[0]), right, matrix_of<T>(operands[1], at[1]));
    });
  });
}

Status det(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!is_square(operands[0])) return Status::shape_mismatch;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 0};
    return for_each_matrix(operands, 2, core, [&](const std::int64_t* at) {
      return with_lu(matrix_of<T>(operands[0], at[0]), [&](const auto& lu) {
        data_of<T>(operands[1])[at[1]] = determinant(lu);
        return Status::ok;
      });
    });
  });
}

Status slogdet(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!is_square(operands[0])) return Status::shape_mismatch;
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const int core[] = {2, 0, 0};
    return for_each_matrix(operands, 3, core, [&](const std::int64_t* at) {
      return with_lu(matrix_of<T>(operands[0], at[0]), [&](const auto& lu) {
        const SignedLog<T> result = signed_log(lu);
        data_of<T>(operands[1])[at[1]] = result.sign;
        data_of<T>(operands[2])[at[2]] = result.logarithm;
        return Status::ok;
      });
    });
  });
}

}  // namespace SCANLIB_ISA
}  // namespace scanlib
