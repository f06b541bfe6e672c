// library.cpp: dtypes, and the registry of library kernels.
#include "scanlib/library.hpp"

#include <cstring>

#include "kernels/tables.hpp"

namespace scanlib {
namespace {

struct DTypeRow {
  const char* name;
  std::size_t size;
};

constexpr DTypeRow dtype_rows[dtype_count] = {
    {"bool", 1},   {"int8", 1},   {"int16", 2},  {"int32", 4},   {"int64", 8},   {"uint8", 1},
    {"uint16", 2}, {"uint32", 4}, {"uint64", 8}, {"float32", 4}, {"float64", 8},
};

std::vector<LibraryKernel> gather_kernels() {
  std::vector<LibraryKernel> kernels;
  append_linalg_kernels(kernels);
  append_sorting_kernels(kernels);
  append_random_kernels(kernels);
  return kernels;
}

}  // namespace

std::size_t size_of(DType dtype) noexcept { return dtype_rows[static_cast<std::size_t>(dtype)].size; }

const char* name_of(DType dtype) noexcept { return dtype_rows[static_cast<std::size_t>(dtype)].name; }

DType dtype_from_name(const std::string& name) {
  for (int i = 0; i < dtype_count; ++i) {
    if (name == dtype_rows[i].name) return static_cast<DType>(i);
  }
  throw InternalError("there is no dtype \"" + name + "\"");
}

const std::vector<LibraryKernel>& library_kernels() {
  static const std::vector<LibraryKernel> kernels = gather_kernels();
  return kernels;
}

const LibraryKernel* find_library_kernel(const std::string& name) {
  for (const LibraryKernel& kernel : library_kernels()) {
    if (name == kernel.name) return &kernel;
  }
  return nullptr;
}

}  // namespace scanlib
