// tiles.hpp: the product of matrices of floats in tiles of registers.
//
// Invariant: an element of the result is one chain of multiply-adds over the inner dim, in order, which starts at
// zero; when accumulating it is added to the element at the end.  So neither the tiles, nor the rows or columns
// computed together, nor the threads change a bit of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/linalg/isa.hpp"

// Sums stay in registers only where the loops over them are unrolled.  Sanitizers would need minutes to compile
// that.
#if defined(__SANITIZE_ADDRESS__)
#define SCANLIB_UNROLL(times)
#else
#define SCANLIB_PRAGMA(text) _Pragma(#text)
#define SCANLIB_UNROLL(times) SCANLIB_PRAGMA(GCC unroll times)
#endif

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
constexpr int tile_vectors = 24;  // sums of a tile; the other registers hold what they are made of
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
constexpr int tile_vectors = 12;
#else
constexpr int vector_bytes = 16;
constexpr int tile_vectors = 12;
#endif
// No more than 8: rows whose stride is a large power of two share a set of the first-level cache, which has 8 ways.
constexpr int tallest_tile = vector_bytes == 64 ? 8 : 6;
constexpr int widest_tile = 8;  // vectors

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vector = typename VectorOf<T>::Type;
template <class T>
constexpr int lanes_of = vector_bytes / static_cast<int>(sizeof(T));

// Columns of a panel, in which right operands lie in memory: 128 bytes of one row, then those of the next row.
template <class T>
constexpr int panel_width = packed_panel_bytes / static_cast<int>(sizeof(T));

// out[rows, cols] (+)= a[rows, inner] b[inner, cols].  Strides count elements; b lies in panels of panel_width
// columns, `b_panel` elements apart, whose rows are contiguous and `b_row` elements apart.  The last panel is whole
// in memory, whatever cols is.
template <class T>
struct TiledProduct {
  const T* a;
  std::int64_t a_row;
  std::int64_t a_col;
  const T* b;
  std::int64_t b_row;
  std::int64_t b_panel;
  T* out;
  std::int64_t out_row;
  std::int64_t out_col;
  std::int64_t rows;
  std::int64_t inner;
  std::int64_t cols;
  bool accumulate;
  // The chain goes on from what lies in the result, which is made of whole tiles.
  bool resume = false;
};

template <class T>
inline Vector<T> load_vector(const T* from) {
  Vector<T> vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <class T>
inline void store_vector(T* to, const Vector<T>& vector) {
  std::memcpy(to, &vector, sizeof(vector));
}

// Writes what out has of the vector at (row, col), which is taken by value so that the sums stay in registers.
template <class T>
inline void write_out(const TiledProduct<T>& p, std::int64_t row, std::int64_t col, Vector<T> vector) {
  T* to = p.out + row * p.out_row + col * p.out_col;
  T elements[lanes_of<T>];
  store_vector(elements, vector);
  for (int i = 0; i < lanes_of<T> && col + i < p.cols; ++i, to += p.out_col) {
    *to = p.accumulate ? *to + elements[i] : elements[i];
  }
}

// The tile of out at (row, col); col is a multiple of Vectors * lanes.
template <class T, int Rows, int Vectors>
void run_tile(const TiledProduct<T>& p, std::int64_t row, std::int64_t col) {
  constexpr int lanes = lanes_of<T>;
  constexpr int per_panel = panel_width<T> / lanes;
  Vector<T> sums[Rows][Vectors];
  const bool whole = p.out_col == 1 && col + Vectors * lanes <= p.cols;
  T* const out = p.out + row * p.out_row + col;  // if whole
  SCANLIB_UNROLL(16)
  for (int r = 0; r < Rows; ++r) {
    SCANLIB_UNROLL(8)
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Vector<T>{};
  }
  if (p.resume) {
    SCANLIB_UNROLL(16)
    for (int r = 0; r < Rows; ++r) {
      SCANLIB_UNROLL(8)
      for (int v = 0; v < Vectors; ++v) sums[r][v] = load_vector(out + r * p.out_row + v * lanes);
    }
  }
  if (p.accumulate && whole) {
    // What is added to comes meanwhile; read before the sum, rows a page apart would wait for those just written.
    SCANLIB_UNROLL(16)
    for (int r = 0; r < Rows; ++r) {
      SCANLIB_UNROLL(8)
      for (int v = 0; v < Vectors; ++v) __builtin_prefetch(out + r * p.out_row + v * lanes, 1);
    }
  }
  const T* a = p.a + row * p.a_row;
  const T* b = p.b + col / panel_width<T> * p.b_panel + col % panel_width<T>;
  for (std::int64_t k = 0; k < p.inner; ++k, a += p.a_col, b += p.b_row) {
    // The fewer of the two, factors or vectors, are held in registers meanwhile.
    if constexpr (Vectors <= 2) {
      Vector<T> vectors[Vectors];
      SCANLIB_UNROLL(2)
      for (int v = 0; v < Vectors; ++v) vectors[v] = load_vector(b + v * lanes);
      SCANLIB_UNROLL(16)
      for (int r = 0; r < Rows; ++r) {
        const T factor = a[r * p.a_row];
        SCANLIB_UNROLL(2)
        for (int v = 0; v < Vectors; ++v) sums[r][v] += factor * vectors[v];
      }
    } else {
      T factors[Rows];
      SCANLIB_UNROLL(16)
      for (int r = 0; r < Rows; ++r) factors[r] = a[r * p.a_row];
      SCANLIB_UNROLL(8)
      for (int v = 0; v < Vectors; ++v) {
        const Vector<T> vector = load_vector(b + v / per_panel * p.b_panel + v % per_panel * lanes);
        SCANLIB_UNROLL(16)
        for (int r = 0; r < Rows; ++r) sums[r][v] += factors[r] * vector;
      }
    }
  }
  if (p.accumulate && whole) {
    SCANLIB_UNROLL(16)
    for (int r = 0; r < Rows; ++r) {
      SCANLIB_UNROLL(8)
      for (int v = 0; v < Vectors; ++v) sums[r][v] += load_vector(out + r * p.out_row + v * lanes);
    }
  }
  SCANLIB_UNROLL(16)
  for (int r = 0; r < Rows; ++r) {
    SCANLIB_UNROLL(8)
    for (int v = 0; v < Vectors; ++v) {
      if (whole) {
        store_vector(out + r * p.out_row + v * lanes, sums[r][v]);
      } else {
        write_out(p, row + r, col + v * lanes, sums[r][v]);
      }
    }
  }
}

// The columns [first, last) of Rows rows, in tiles of at most Vectors vectors.
template <class T, int Rows, int Vectors>
void run_rows(const TiledProduct<T>& p, std::int64_t row, std::int64_t first, std::int64_t last) {
  constexpr int width = Vectors * lanes_of<T>;
  // Whether a tile may go beyond the last column: if it stays inside a panel, and half of it is not better.
  constexpr bool inside = width <= panel_width<T>;
  const auto fits = [&](std::int64_t rest) {
    return rest >= width || (inside && 2 * rest > width) || (Vectors == 1 && rest > 0);
  };
  std::int64_t col = first;
  for (; fits(last - col); col += width) run_tile<T, Rows, Vectors>(p, row, col);
  if constexpr (Vectors > 1) run_rows<T, Rows, Vectors / 2>(p, row, col, last);
}

// As wide as the registers allow.
constexpr int vectors_of(int rows) {
  int vectors = widest_tile;
  while (rows * vectors > tile_vectors) vectors /= 2;
  return vectors;
}

template <class T>
using RowsFunction = void (*)(const TiledProduct<T>& p, std::int64_t row, std::int64_t first, std::int64_t last);

template <class T, int... Index>
RowsFunction<T> rows_function(std::int64_t rows, std::integer_sequence<int, Index...>) {
  static constexpr RowsFunction<T> functions[] = {run_rows<T, Index + 1, vectors_of(Index + 1)>...};
  return functions[rows - 1];
}

// The columns [first, last) of the product; first is a multiple of panel_width.
template <class T>
void run_tiles(const TiledProduct<T>& p, std::int64_t first, std::int64_t last) {
  constexpr std::make_integer_sequence<int, tallest_tile> sizes;
  if (p.rows == 0) return;
  if (p.rows <= tallest_tile) {
    rows_function<T>(p.rows, sizes)(p, 0, first, last);
    return;
  }
  // Rows are dealt out evenly, so that no tile is too low to keep the units busy; a panel stays in the cache.
  const std::int64_t count = (p.rows + tallest_tile - 1) / tallest_tile;
  const std::int64_t low = p.rows / count;
  const std::int64_t higher = p.rows % count;
  const RowsFunction<T> lower_tile = rows_function<T>(low, sizes);
  const RowsFunction<T> higher_tile = rows_function<T>(low + (higher > 0), sizes);
  for (std::int64_t col = first; col < last; col += panel_width<T>) {
    const std::int64_t end = std::min<std::int64_t>(col + panel_width<T>, last);
    std::int64_t row = 0;
    for (std::int64_t i = 0; i < higher; ++i, row += low + 1) higher_tile(p, row, col, end);
    for (; row < p.rows; row += low) lower_tile(p, row, col, end);
  }
}

}  // namespace
}  // namespace SCANLIB_ISA
}  // namespace scanlib
