// table.cpp: picks the linear algebra kernels of the instruction set this machine has.
#include <cstring>

#include "kernels/tables.hpp"

namespace scanlib {

struct LinalgRows {
  const LibraryKernel* first;
  std::size_t count;
  const LibrarySymbol* first_symbol = nullptr;
  std::size_t symbols = 0;
};

namespace baseline {
LinalgRows linalg_rows() noexcept;
LinalgRows spectral_rows() noexcept;
}  // namespace baseline
#if defined(SCANLIB_X86_VARIANTS)
namespace avx2 {
LinalgRows linalg_rows() noexcept;
}
namespace avx512 {
LinalgRows linalg_rows() noexcept;
}
#endif

namespace {

LinalgRows chosen_rows() noexcept {
#if defined(SCANLIB_X86_VARIANTS)
  if (std::strcmp(instruction_set(), "avx2") == 0) return avx2::linalg_rows();
  if (std::strcmp(instruction_set(), "avx512") == 0) return avx512::linalg_rows();
#endif
  return baseline::linalg_rows();
}

}  // namespace

void append_linalg_symbols(std::vector<LibrarySymbol>& symbols) {
  const LinalgRows rows = chosen_rows();
  symbols.insert(symbols.end(), rows.first_symbol, rows.first_symbol + rows.symbols);
}

void append_linalg_kernels(std::vector<LibraryKernel>& kernels) {
  const LinalgRows rows = chosen_rows();
  const LinalgRows spectral = baseline::spectral_rows();
  kernels.insert(kernels.end(), rows.first, rows.first + rows.count);
  kernels.insert(kernels.end(), spectral.first, spectral.first + spectral.count);
}

}  // namespace scanlib
