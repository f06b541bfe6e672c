// linalg.cpp: rows of this family of library kernels.
#include "kernels/tables.hpp"

namespace scanlib {

void append_linalg_kernels(std::vector<LibraryKernel>&) {}

}  // namespace scanlib
