// library.hpp: the kernels that want a library (products, factorizations, sorting, random streams), by name.
//
// Matrices are the last two dims of an operand; all dims before them are batch dims, which must be equal in all
// operands (broadcast by stride 0).  Inputs may have any strides, zero and negative included.  "f" stands for
// float32 or float64 (all f operands of one call have the same dtype), "any" for every numeric dtype and bool.
// A packed matrix is one that "pack" laid out: p = ceil(n / w) panels of w columns, where w elements take
// packed_panel_bytes; it has no batch dims.
//
//   name               operands, in order                                              parameters
//   matmul             a any[..,m,k], b any[..,k,n], out any[..,m,n]                   accumulate (1: out += a b)
//   pack               b f[k,n], packed f[p,k,w]                                       -
//   matmul_packed      a f[..,m,k], then once or more: packed f[p,k,w], out f[..,m,n]  accumulate
//   solve              a f[..,n,n], b f[..,n,k], out f[..,n,k]                         -            -> singular
//   solve_triangular   a f[..,n,n], b f[..,n,k], out f[..,n,k]                         lower, transpose,
//                                                                                      unit_diagonal -> singular
//   cholesky           a f[..,n,n], out f[..,n,n]                                      lower        -> not p.d.
//   inv                a f[..,n,n], out f[..,n,n]                                      -            -> singular
//   det                a f[..,n,n], out f[..]                                          -
//   slogdet            a f[..,n,n], sign f[..], logabsdet f[..]                        -
//   eigh               a f[..,n,n], w f[..,n], v f[..,n,n]                             lower
//   qr                 a f[..,m,n], q f[..,m,p], r f[..,p,n]   p = min(m,n) or m       complete (1: p = m)
//   svd                a f[..,m,n], u f[..,m,p], s f[..,min(m,n)], vt f[..,q,n]        full (1: p = m, q = n)
//   pinv               a f[..,m,n], rcond f[..], out f[..,n,m]                         -
//   sort               x any[..,n], out same[..,n]                                     -      (NaN last)
//   argsort            x any[..,n], out int64[..,n]                                    -      (stable, NaN last)
//   searchsorted       sorted any[..,n], v same[..,m], out int64[..,m]                 right (1: side="right")
//
// Random kernels, draw for draw those of numpy.random.RandomState; state is uint32[628], see random.hpp.  "p" is
// a parameter of any real dtype with the dims of the sample (broadcast by stride 0), "sample" any dtype.
// The state out may be the state in.
//
//   mt_seed                 seed int64[], state_out                                              -
//   mt_uniform              state, low p, high p, state_out, sample                              -
//   mt_normal               state, mean p, std p, state_out, sample                              -
//   mt_binomial             state, n p, p p, state_out, sample                                   -
//   mt_poisson              state, lam p, state_out, sample                                      -
//   mt_exponential          state, scale p, state_out, sample                                    -
//   mt_gamma                state, shape p, scale p, state_out, sample                           -
//   mt_beta                 state, a p, b p, state_out, sample                                   -
//   mt_random_integers      state, low p, high p (inclusive), state_out, sample                  -
//   mt_multinomial          state, n p[..], pvals p[..,k], state_out, sample[..,k]               -
//   mt_permutation          state, state_out, sample[..,n]: every row a permutation of 0..n-1    -
//   mt_shuffle_rows         state, x any[..,n], state_out, sample same[..,n]                     -
//   mt_choice               state, n p[], state_out, sample[any dims]: indices 0..n-1            replace
//   mt_choice_p             state, weights p[n], state_out, sample[any dims]: indices 0..n-1     replace
//
// The counter-based stream Philox4x32-10; state is uint64[4] (key, counter, stream, unused), see random.hpp.
//
//   philox_seed             seed int64[], state_out                                              -
//   philox_bits             state, state_out, sample uint64 or uint32                            -
//   philox_uniform          state, low p, high p, state_out, sample                              -
//   philox_normal           state, mean p, std p, state_out, sample                              -
//   philox_binomial         state, n p, p p, state_out, sample                                   -
//   philox_random_integers  state, low p, high p (inclusive), state_out, sample                  -
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "scanlib/error.hpp"

namespace scanlib {

enum class DType : std::uint8_t {
  boolean,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float32,
  float64,
};
constexpr int dtype_count = 11;

std::size_t size_of(DType dtype) noexcept;
const char* name_of(DType dtype) noexcept;
// Throws InternalError for a name that is no DType ("bool", "int8" .. "uint64", "float32", "float64").
DType dtype_from_name(const std::string& name);

// A strided view of memory; strides count elements.
struct Tensor {
  void* data;
  DType dtype;
  int ndim;
  const std::int64_t* dims;
  const std::int64_t* strides;
};

using LibraryFunction = Status (*)(const Tensor* operands, std::size_t count, const std::int64_t* parameters);

// The bytes of a row of a panel, the form in which "pack" lays out a matrix.
constexpr int packed_panel_bytes = 128;

struct LibraryKernel {
  const char* name;
  std::size_t operands;
  std::size_t parameters;
  LibraryFunction function;
  std::size_t repeated = 0;  // so many of the last operands may be given several times
};

// Whether a kernel takes `count` operands.
inline bool takes(const LibraryKernel& kernel, std::size_t count) {
  if (count <= kernel.operands || kernel.repeated == 0) return count == kernel.operands;
  return (count - kernel.operands) % kernel.repeated == 0;
}

// All kernels, for the instruction set of this machine.
const std::vector<LibraryKernel>& library_kernels();
// nullptr if there is no such kernel.
const LibraryKernel* find_library_kernel(const std::string& name);

// Functions which compiled kernels may call: scalar ones, as double f(double) or float f(float) (some take two),
// and products with a packed right operand, out = a b for matrices of f32 or f64, as
//   void scanlib_product_f32(const float* a, int64_t a_row, int64_t a_col, const float* packed,
//                            float* out, int64_t out_row, int64_t out_col, int64_t rows, int64_t inner,
//                            int64_t cols, Seat* seat, int64_t period)
// where strides count elements.  With a seat, other threads compute other columns of the same product: a and out
// are one row, made of parts of `period` elements, and of each part the threads have the same columns.
struct LibrarySymbol {
  const char* name;
  void* address;
};
const std::vector<LibrarySymbol>& library_symbols();

// The instruction set the matrix kernels use here: "baseline", "avx2" or "avx512".  The environment variable
// SCANLIB_INSTRUCTION_SET lowers it (for tests).
const char* instruction_set() noexcept;

}  // namespace scanlib
