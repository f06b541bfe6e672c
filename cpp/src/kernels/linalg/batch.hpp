// batch.hpp: batches of products that are one larger product in disguise, and how many threads a product is worth.
#pragma once

#include <cstdint>

#include "kernels/linalg/isa.hpp"
#include "threads.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

// m * n * k * sizeof(T) from which a part is worth a thread (about a microsecond; docs/decisions.md has the
// measurements), for matrices and for a single row or column, which is bound by memory.
constexpr std::int64_t part_of_matrix = 1 << 18;
constexpr std::int64_t part_of_vector = 1 << 17;

// An axis made of several axes, if they can be walked with one stride.
struct Axis {
  std::int64_t dim = 1;
  std::int64_t stride = 0;
  bool good = true;

  // Puts an axis in front (outside) of this one.
  void wrap(std::int64_t outer_dim, std::int64_t outer_stride) {
    if (outer_dim == 1) return;
    if (dim == 1) {
      stride = outer_stride;
    } else if (outer_stride != stride * dim) {
      good = false;
    }
    dim *= outer_dim;
  }
};

Axis merge_batch(const Tensor& tensor, int core_axis) {
  Axis axis;
  axis.wrap(tensor.dims[core_axis], tensor.strides[core_axis]);
  for (int i = tensor.ndim - 3; i >= 0; --i) axis.wrap(tensor.dims[i], tensor.strides[i]);
  return axis;
}

bool is_broadcast(const Tensor& tensor) {
  for (int i = 0; i < tensor.ndim - 2; ++i) {
    if (tensor.dims[i] != 1 && tensor.strides[i] != 0) return false;
  }
  return true;
}

// The number of threads for so much work; the same for the same work and setting.
inline int threads_for(std::int64_t work, std::int64_t part) {
  if (work < 2 * part) return 1;
  const std::int64_t threads = get_threads();
  return static_cast<int>(work / part < threads ? work / part : threads);
}

}  // namespace
}  // namespace SCANLIB_ISA
}  // namespace scanlib
