// random.cpp: rows of this family of library kernels.
#include "kernels/tables.hpp"

namespace scanlib {

void append_random_kernels(std::vector<LibraryKernel>&) {}

}  // namespace scanlib
