// rows.cpp: all random kernels.
#include "kernels/random/rows.hpp"

#include "kernels/tables.hpp"

namespace scanlib {

void append_random_kernels(std::vector<LibraryKernel>& kernels) {
  append_mersenne_kernels(kernels);
  append_selection_kernels(kernels);
  append_philox_kernels(kernels);
}

}  // namespace scanlib
