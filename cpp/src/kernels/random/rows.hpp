// rows.hpp: the families of random kernels, and the state operands of the mt_* kernels.
#pragma once

#include <vector>

#include "kernels/tensor.hpp"
#include "scanlib/library.hpp"
#include "scanlib/random.hpp"

namespace scanlib {

void append_mersenne_kernels(std::vector<LibraryKernel>& kernels);
void append_selection_kernels(std::vector<LibraryKernel>& kernels);
void append_philox_kernels(std::vector<LibraryKernel>& kernels);

namespace {

inline bool is_mt_state(const Tensor& tensor) {
  return tensor.dtype == DType::uint32 && tensor.ndim == 1 && tensor.dims[0] == mt_state_words;
}

inline void load_stream(MersenneTwister& stream, const Tensor& state) {
  stream.load(data_of<std::uint32_t>(state), state.strides[0]);
}

inline void save_stream(const MersenneTwister& stream, const Tensor& state) {
  stream.save(data_of<std::uint32_t>(state), state.strides[0]);
}

}  // namespace
}  // namespace scanlib
