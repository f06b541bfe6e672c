// isa.hpp: what the linear algebra files share.  Each of them is compiled once per instruction set, with
// SCANLIB_ISA naming the namespace and Eigen renamed (-DEigen=...), so that no inline function leaks from a newer
// instruction set into an older one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scanlib/library.hpp"

namespace scanlib {

struct Seat;

struct LinalgRows {
  const LibraryKernel* first;
  std::size_t count;
  const LibrarySymbol* first_symbol = nullptr;
  std::size_t symbols = 0;
};

namespace SCANLIB_ISA {

LinalgRows linalg_rows() noexcept;
LinalgRows spectral_rows() noexcept;  // baseline only

Status matmul(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status pack(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status matmul_packed(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
template <class T>
void product(const T* a, std::int64_t a_row, std::int64_t a_col, const T* packed, T* out, std::int64_t out_row,
             std::int64_t out_col, std::int64_t rows, std::int64_t inner, std::int64_t cols, Seat* seat,
             std::int64_t period);

Status solve(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status solve_triangular(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status inv(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status det(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status slogdet(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status cholesky(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status qr(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status eigh(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status svd(const Tensor* operands, std::size_t count, const std::int64_t* parameters);
Status pinv(const Tensor* operands, std::size_t count, const std::int64_t* parameters);

}  // namespace SCANLIB_ISA
}  // namespace scanlib
