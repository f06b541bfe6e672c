// packed.cpp: products with right operands that were laid out once, in panels, for many products.
#include <algorithm>

#include "kernels/linalg/batch.hpp"
#include "kernels/linalg/matrix.hpp"
#include "kernels/linalg/tiles.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

// --- packing ----------------------------------------------------------------------------------------------------

constexpr std::int64_t part_of_packing = 1 << 17;  // bytes from which a part is worth a thread
constexpr std::int64_t pack_rows = 16;             // rows of a panel written while they are in the cache

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
    for (std::int64_t c = 0; c < width; ++c) {
      for (std::int64_t row = first; row < last; ++row) {
        to[row * width + c] = c < cols ? from[row * b.row_stride + c * b.col_stride] : T{};
      }
    }
  }
}

template <class T>
void pack_all(const View<T>& b, T* to) {
  constexpr int width = panel_width<T>;
  const std::int64_t panels = (b.cols + width - 1) / width;
  const int threads = threads_for(panels * b.rows * packed_panel_bytes, part_of_packing);
  run_split(split_items(panels, 1, threads), [&](int, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) pack_panel(b, i * width, to + i * b.rows * width);
  });
}

// --- products ---------------------------------------------------------------------------------------------------

// One left operand against several right operands, each with a result of its own: operands[1 + 2 i] is a packed
// right operand, operands[2 + 2 i] its result.
struct Group {
  const Tensor* operands;
  std::size_t pairs;
  bool accumulate;

  const Tensor& packed(std::size_t i) const { return operands[1 + 2 * i]; }
  const Tensor& out(std::size_t i) const { return operands[2 + 2 * i]; }
};

// A tensor as one matrix, its batch dims being further rows; `good` becomes false if it cannot be one.
template <class T>
View<T> merged(const Tensor& tensor, bool& good) {
  View<T> view = matrix_of<T>(tensor, 0);
  if (tensor.ndim == 2) return view;
  const Axis rows = merge_batch(tensor, tensor.ndim - 2);
  good = good && rows.good;
  view.rows = rows.dim;
  view.row_stride = rows.stride;
  return view;
}

template <class T>
TiledProduct<T> tiled(const View<T>& a, const Tensor& packed, const View<T>& out, bool accumulate) {
  const std::int64_t width = panel_width<T>;
  return {a.data,         a.row_stride, a.col_stride,   data_of<T>(packed), width,
          width * a.cols, out.data,     out.row_stride, out.col_stride,     out.rows,
          a.cols,         out.cols,     accumulate};
}

// Rows [first, last) of all products.
template <class T>
void run_rows_of(const Group& group, View<T> a, std::int64_t first, std::int64_t last) {
  bool good = true;
  a.data += first * a.row_stride;
  for (std::size_t i = 0; i < group.pairs; ++i) {
    View<T> out = merged<T>(group.out(i), good);
    out.data += first * out.row_stride;
    out.rows = last - first;
    run_tiles(tiled(a, group.packed(i), out, group.accumulate), 0, out.cols);
  }
}

// Panels [first, last) of all products, counted through.
template <class T>
void run_panels_of(const Group& group, const View<T>& a, std::int64_t first, std::int64_t last) {
  bool good = true;
  for (std::size_t i = 0; i < group.pairs; ++i) {
    const std::int64_t panels = group.packed(i).dims[0];
    const View<T> out = merged<T>(group.out(i), good);
    const std::int64_t from = std::max<std::int64_t>(first, 0) * panel_width<T>;
    const std::int64_t to = std::min<std::int64_t>(std::min(last, panels) * panel_width<T>, out.cols);
    if (from < to) run_tiles(tiled(a, group.packed(i), out, group.accumulate), from, to);
    first -= panels;
    last -= panels;
  }
}

template <class T>
void run_group(const Group& group, const View<T>& a) {
  std::int64_t panels = 0;
  for (std::size_t i = 0; i < group.pairs; ++i) panels += group.packed(i).dims[0];
  const std::int64_t work = a.rows * a.cols * panels * packed_panel_bytes;
  const int threads = threads_for(work, a.rows == 1 ? part_of_vector : part_of_matrix);
  if (threads == 1) {
    run_rows_of(group, a, 0, a.rows);
  } else if (a.rows >= tallest_tile * threads) {
    run_split(split_items(a.rows, 1, threads),
              [&](int, std::int64_t first, std::int64_t last) { run_rows_of(group, a, first, last); });
  } else {
    run_split(split_items(panels, 1, threads),
              [&](int, std::int64_t first, std::int64_t last) { run_panels_of(group, a, first, last); });
  }
}

// Products whose batch dims cannot be merged: one by one.
template <class T>
void run_items(const Group& group) {
  for (std::size_t i = 0; i < group.pairs; ++i) {
    const Tensor operands[] = {group.operands[0], group.out(i)};
    const int core[] = {2, 2};
    for_each_item(operands, 2, core, [&](const std::int64_t* offsets) {
      const View<T> out = matrix_of<T>(operands[1], offsets[1]);
      const View<T> a = matrix_of<T>(operands[0], offsets[0]);
      run_tiles(tiled(a, group.packed(i), out, group.accumulate), 0, out.cols);
      return true;
    });
  }
}

template <class T>
void run_products(const Group& group) {
  bool good = true;
  const View<T> a = merged<T>(group.operands[0], good);
  for (std::size_t i = 0; i < group.pairs; ++i) merged<T>(group.out(i), good);
  good ? run_group(group, a) : run_items<T>(group);
}

// Whether `packed` holds `cols` columns of a matrix with `rows` rows.
template <class T>
bool is_packed(const Tensor& packed, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t width = panel_width<T>;
  const std::int64_t panels = (cols + width - 1) / width;
  if (packed.ndim != 3 || packed.dims[0] != panels || packed.dims[1] != rows || packed.dims[2] != width)
    return false;
  if (panels == 0 || rows == 0) return true;
  return packed.strides[2] == 1 && packed.strides[1] == width && packed.strides[0] == width * rows;
}

template <class T>
bool shapes_fit(const Group& group) {
  const Tensor& a = group.operands[0];
  if (a.ndim < 2) return false;
  for (std::size_t i = 0; i < group.pairs; ++i) {
    const Tensor& out = group.out(i);
    if (out.ndim != a.ndim || !is_packed<T>(group.packed(i), dim_back(a, 0), dim_back(out, 0))) return false;
    for (int axis = 0; axis < a.ndim - 1; ++axis) {
      if (out.dims[axis] != a.dims[axis]) return false;
    }
  }
  return true;
}

}  // namespace

Status pack(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Tensor& b = operands[0];
  if (b.dtype != operands[1].dtype) return Status::bad_dtype;
  return with_float(b.dtype, [&](auto tag) {
    using T = decltype(tag);
    if (b.ndim != 2 || !is_packed<T>(operands[1], b.dims[0], b.dims[1])) return Status::shape_mismatch;
    pack_all(matrix_of<T>(b, 0), data_of<T>(operands[1]));
    return Status::ok;
  });
}

Status matmul_packed(const Tensor* operands, std::size_t count, const std::int64_t* parameters) {
  const Group group{operands, (count - 1) / 2, parameters[0] != 0};
  for (std::size_t i = 1; i < count; ++i) {
    if (operands[i].dtype != operands[0].dtype) return Status::bad_dtype;
  }
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    if (!shapes_fit<T>(group)) return Status::shape_mismatch;
    run_products<T>(group);
    return Status::ok;
  });
}

}  // namespace SCANLIB_ISA
}  // namespace scanlib
