// table.cpp: picks the linear algebra kernels of the instruction set this machine has.
#include <cstring>

#include "kernels/tables.hpp"

namespace scanlib {

struct LinalgRows {
  const LibraryKernel* first;
  std::size_t count;
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

void append_linalg_kernels(std::vector<LibraryKernel>& kernels) {
  LinalgRows rows = baseline::linalg_rows();
#if defined(SCANLIB_X86_VARIANTS)
  if (std::strcmp(instruction_set(), "avx2") == 0) rows = avx2::linalg_rows();
  if (std::strcmp(instruction_set(), "avx512") == 0) rows = avx512::linalg_rows();
#endif
  const LinalgRows spectral = baseline::spectral_rows();
  kernels.insert(kernels.end(), rows.first, rows.first + rows.count);
  kernels.insert(kernels.end(), spectral.first, spectral.first + spectral.count);
}

}  // namespace scanlib
