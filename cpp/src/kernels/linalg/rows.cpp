// rows.cpp: the linear algebra kernels of one instruction set.
#include "kernels/linalg/isa.hpp"

namespace scanlib {
namespace SCANLIB_ISA {

LinalgRows linalg_rows() noexcept {
  static constexpr LibraryKernel rows[] = {
      {"matmul", 3, 1, matmul},
      {"pack", 2, 0, pack},
      {"matmul_packed", 3, 1, matmul_packed, 2},
      {"solve", 3, 0, solve},
      {"solve_triangular", 3, 3, solve_triangular},
      {"cholesky", 2, 1, cholesky},
      {"inv", 2, 0, inv},
      {"det", 2, 0, det},
      {"slogdet", 3, 0, slogdet},
      {"qr", 3, 1, qr},
  };
  static const LibrarySymbol symbols[] = {
      {"scanlib_product_f32", reinterpret_cast<void*>(&product<float>)},
      {"scanlib_product_f64", reinterpret_cast<void*>(&product<double>)},
  };
  return LinalgRows{rows, sizeof(rows) / sizeof(rows[0]), symbols, sizeof(symbols) / sizeof(symbols[0])};
}

}  // namespace SCANLIB_ISA
}  // namespace scanlib
