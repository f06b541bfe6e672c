// tables.hpp: the families of library kernels; each appends its rows to the registry.
#pragma once

#include <vector>

#include "scanlib/library.hpp"

namespace scanlib {

void append_linalg_kernels(std::vector<LibraryKernel>& kernels);
void append_linalg_symbols(std::vector<LibrarySymbol>& symbols);
void append_sorting_kernels(std::vector<LibraryKernel>& kernels);
void append_random_kernels(std::vector<LibraryKernel>& kernels);

}  // namespace scanlib
