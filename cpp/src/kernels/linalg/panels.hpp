// panels.hpp: right operands in panels: how one is laid out, and products that lay them out on the way.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/linalg/matrix.hpp"
#include "kernels/linalg/tiles.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

constexpr std::int64_t pack_rows = 16;  // rows of a panel written while they are in the cache

constexpr int square = 4;

// A square whose columns lie in memory one by one, as rows: few enough for compilers to keep it in registers.
template <class T>
void turn_square(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride) {
  T rows[square][square];
  for (int c = 0; c < square; ++c) {
    for (int row = 0; row < square; ++row) rows[row][c] = from[c * from_stride + row];
  }
  for (int row = 0; row < square; ++row) std::copy_n(rows[row], square, to + row * to_stride);
}

// A panel whose columns are those of b from `col` on, and zeros beyond the last one.
template <class T>
void pack_panel(const View<T>& b, std::int64_t col, T* to) {
  constexpr int width = panel_width<T>;
  const std::int64_t cols = std::min<std::int64_t>(width, b.cols - col);
  const T* from = b.data + col * b.col_stride;
  for (std::int64_t first = 0; first < b.rows; first += pack_rows) {
    const std::int64_t last = std::min(first + pack_rows, b.rows);
    if (b.col_stride == 1) {
      for (std::int64_t row = first; row < last; ++row) {
        std::copy_n(from + row * b.row_stride, cols, to + row * width);
        std::fill(to + row * width + cols, to + (row + 1) * width, T{});
      }
      continue;
    }
    if (b.row_stride == 1 && cols == width && (last - first) % square == 0) {
      for (std::int64_t c = 0; c < width; c += square) {
        for (std::int64_t row = first; row < last; row += square) {
          turn_square(from + row + c * b.col_stride, b.col_stride, to + row * width + c, width);
        }
      }
      continue;
    }
    for (std::int64_t c = 0; c < width; ++c) {
      for (std::int64_t row = first; row < last; ++row) {
        to[row * width + c] = c < cols ? from[row * b.row_stride + c * b.col_stride] : T{};
      }
    }
  }
}

// A matrix whose rows lie in several places: those of `count` matrices like `first`, one below the other.
template <class T>
struct Stack {
  View<T> first;
  std::int64_t count = 1;
  std::int64_t stride = 0;  // elements from one to the next

  std::int64_t rows() const { return first.rows * count; }
};

// The same of rows [row, row + rows) of a stack.
template <class T>
void pack_panel(const Stack<T>& b, std::int64_t row, std::int64_t rows, std::int64_t col, T* to) {
  while (rows > 0) {
    View<T> part = b.first;
    const std::int64_t inside = row % part.rows;
    part.data += row / part.rows * b.stride + inside * part.row_stride;
    part.rows = std::min(part.rows - inside, rows);
    pack_panel(part, col, to);
    row += part.rows;
    rows -= part.rows;
    to += part.rows * panel_width<T>;
  }
}

// What is multiplied at once: a piece of the inner dim, of which a panel takes as much as a first-level cache
// holds, and so many rows that the left operand's elements stay in the second-level cache from panel to panel.
constexpr std::int64_t inner_piece = 256;
constexpr std::int64_t left_bytes = 1 << 19;

// out (+)= a b, where out has contiguous rows.  The panels of b are laid out one by one, each for many rows.
template <class T>
void multiply_panels(const View<T>& a, const Stack<T>& b, const View<T>& out, bool accumulate) {
  constexpr std::int64_t width = panel_width<T>;
  constexpr std::int64_t rows_at_once = left_bytes / (inner_piece * static_cast<std::int64_t>(sizeof(T)));
  alignas(64) T panel[inner_piece * width];
  // Once at least, as out is written even where there is nothing to add.
  for (std::int64_t k = 0; k == 0 || k < a.cols; k += inner_piece) {
    const std::int64_t inner = std::min(inner_piece, a.cols - k);
    for (std::int64_t row = 0; row < out.rows; row += rows_at_once) {
      const std::int64_t rows = std::min(rows_at_once, out.rows - row);
      for (std::int64_t col = 0; col < out.cols; col += width) {
        const std::int64_t cols = std::min(width, out.cols - col);
        pack_panel(b, k, inner, col, panel);
        const T* const left = a.data + row * a.row_stride + k * a.col_stride;
        T* const to = out.data + row * out.row_stride + col;
        run_tiles<T>({left, a.row_stride, a.col_stride, panel, width, width * inner, to, out.row_stride, 1, rows,
                      inner, cols, accumulate || k > 0},
                     0, cols);
      }
    }
  }
}

}  // namespace
}  // namespace SCANLIB_ISA
}  // namespace scanlib
