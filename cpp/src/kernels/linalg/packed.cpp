// packed.cpp: products with right operands that were laid out once, in panels, for many products.
#include <algorithm>

#include "kernels/linalg/batch.hpp"
#include "kernels/linalg/panels.hpp"
#include "meeting.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

// --- packing ----------------------------------------------------------------------------------------------------

constexpr std::int64_t part_of_packing = 1 << 17;  // bytes from which a part is worth a thread

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

// Products with one left operand.
template <class T>
struct Group {
  const TiledProduct<T>* products;
  std::size_t count;
};

template <class T>
std::int64_t panels_of(const TiledProduct<T>& p) {
  return (p.cols + panel_width<T> - 1) / panel_width<T>;
}

// Rows [first, last) of all products.
template <class T>
void run_rows_of(const Group<T>& group, std::int64_t first, std::int64_t last) {
  for (std::size_t i = 0; i < group.count; ++i) {
    TiledProduct<T> p = group.products[i];
    p.a += first * p.a_row;
    p.out += first * p.out_row;
    p.rows = last - first;
    run_tiles(p, 0, p.cols);
  }
}

// Panels [first, last) of all products, counted through.
template <class T>
void run_panels_of(const Group<T>& group, std::int64_t first, std::int64_t last) {
  for (std::size_t i = 0; i < group.count; ++i) {
    const TiledProduct<T>& p = group.products[i];
    const std::int64_t panels = panels_of(p);
    const std::int64_t from = std::max<std::int64_t>(first, 0) * panel_width<T>;
    const std::int64_t to = std::min<std::int64_t>(std::min(last, panels) * panel_width<T>, p.cols);
    if (from < to) run_tiles(p, from, to);
    first -= panels;
    last -= panels;
  }
}

constexpr std::int64_t rows_of_share = 8 * tallest_tile;  // so that a panel is read often enough
constexpr int shares_of_rows = 4;

template <class T>
void run_group(const Group<T>& group) {
  const TiledProduct<T>& one = group.products[0];
  std::int64_t panels = 0;
  for (std::size_t i = 0; i < group.count; ++i) panels += panels_of(group.products[i]);
  const std::int64_t work = one.rows * one.inner * panels * packed_panel_bytes;
  const int threads = threads_for(work, one.rows == 1 ? part_of_vector : part_of_matrix);
  if (threads == 1) {
    for (std::size_t i = 0; i < group.count; ++i) run_tiles(group.products[i], 0, group.products[i].cols);
  } else if (one.rows >= tallest_tile * threads) {
    run_split(split_in_shares(one.rows, rows_of_share, threads, shares_of_rows),
              [&](int, std::int64_t first, std::int64_t last) { run_rows_of(group, first, last); });
  } else {
    run_split(split_items(panels, 1, threads),
              [&](int, std::int64_t first, std::int64_t last) { run_panels_of(group, first, last); });
  }
}

// --- the library kernel -----------------------------------------------------------------------------------------

// operands[1 + 2 i] is a packed right operand, operands[2 + 2 i] its result.

struct Operands {
  const Tensor* first;
  std::size_t pairs;
  bool accumulate;

  const Tensor& left() const { return first[0]; }
  const Tensor& packed(std::size_t i) const { return first[1 + 2 * i]; }
  const Tensor& out(std::size_t i) const { return first[2 + 2 * i]; }
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

// Products whose batch dims cannot be merged, as those of a range of rows at several steps: panels of as many items
// as have the rows of a share, one item after the other.
template <class T>
void run_items(const Operands& given) {
  const int core[] = {2, 2};
  const std::int64_t rows = std::max<std::int64_t>(dim_back(given.left(), 1), 1);
  const std::int64_t at_once = (rows_of_share + rows - 1) / rows;
  const std::int64_t width =
      std::max<std::int64_t>(panel_width<T>, vectors_of(std::min<std::int64_t>(rows, tallest_tile)) * lanes_of<T>);
  std::int64_t items = 1;
  for (int axis = 0; axis < given.left().ndim - 2; ++axis) items *= given.left().dims[axis];
  for (std::size_t i = 0; i < given.pairs; ++i) {
    const Tensor operands[] = {given.left(), given.out(i)};
    const std::int64_t cols = dim_back(given.out(i), 0);
    for (std::int64_t first = 0; first < items; first += at_once) {
      for (std::int64_t col = 0; col < cols; col += width) {
        const std::int64_t last = std::min(first + at_once, items);
        for_items(operands, 2, core, first, last, [&](const std::int64_t* offsets) {
          const View<T> a = matrix_of<T>(operands[0], offsets[0]);
          const View<T> out = matrix_of<T>(operands[1], offsets[1]);
          run_tiles(tiled(a, given.packed(i), out, given.accumulate), col, std::min(col + width, cols));
          return true;
        });
      }
    }
  }
}

constexpr std::size_t most_together = 8;

template <class T>
void run_products(const Operands& given) {
  bool good = true;
  const View<T> a = merged<T>(given.left(), good);
  for (std::size_t i = 0; i < given.pairs; ++i) merged<T>(given.out(i), good);
  if (!good) return run_items<T>(given);
  TiledProduct<T> products[most_together];
  std::size_t count = 0;
  for (std::size_t i = 0; i < given.pairs; ++i) {
    products[count++] = tiled(a, given.packed(i), merged<T>(given.out(i), good), given.accumulate);
    if (count < most_together && i + 1 < given.pairs) continue;
    run_group(Group<T>{products, count});
    count = 0;
  }
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
bool shapes_fit(const Operands& given) {
  const Tensor& a = given.left();
  if (a.ndim < 2) return false;
  for (std::size_t i = 0; i < given.pairs; ++i) {
    const Tensor& out = given.out(i);
    if (out.ndim != a.ndim || !is_packed<T>(given.packed(i), dim_back(a, 0), dim_back(out, 0))) return false;
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
  const Operands given{operands, (count - 1) / 2, parameters[0] != 0};
  for (std::size_t i = 1; i < count; ++i) {
    if (operands[i].dtype != operands[0].dtype) return Status::bad_dtype;
  }
  return with_float(operands[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    if (!shapes_fit<T>(given)) return Status::shape_mismatch;
    run_products<T>(given);
    return Status::ok;
  });
}

// The columns of one thread at a meeting.  It reads the row of `a` as far as it is its own, or its owners have
// arrived; from the second period on they have.
template <class T>
void run_columns(TiledProduct<T> p, Seat& seat, std::int64_t period) {
  Meeting& meeting = seat.meeting;
  meeting.arrive(seat.part, ++seat.phase);
  const TiledProduct<T> whole = p;
  for (int part = 0; part < meeting.parts(); ++part) {
    if (part != seat.part) meeting.wait_for(part, seat.phase);
    const std::int64_t first = meeting.first(part);
    const bool last = part + 1 == meeting.parts();
    p.a = whole.a + first * p.a_col;
    p.b = whole.b + first * p.b_row;
    p.inner = (last ? whole.inner : meeting.first(part + 1)) - first;
    p.resume = part > 0;
    for (std::int64_t col = 0; col < p.cols; col += period)
      run_tiles(p, col + meeting.first(seat.part), col + meeting.first(seat.part + 1));
  }
}

// What compiled kernels call; see library.hpp.
template <class T>
void product(const T* a, std::int64_t a_row, std::int64_t a_col, const T* packed, T* out, std::int64_t out_row,
             std::int64_t out_col, std::int64_t rows, std::int64_t inner, std::int64_t cols, Seat* seat,
             std::int64_t period) {
  const std::int64_t width = panel_width<T>;
  const TiledProduct<T> p{a,       a_row,   a_col, packed, width, width * inner, out,
                          out_row, out_col, rows,  inner,  cols,  false};
  if (seat == nullptr) {
    run_group(Group<T>{&p, 1});
  } else {
    run_columns(p, *seat, period);
  }
}

template void product(const float*, std::int64_t, std::int64_t, const float*, float*, std::int64_t, std::int64_t,
                      std::int64_t, std::int64_t, std::int64_t, Seat*, std::int64_t);
template void product(const double*, std::int64_t, std::int64_t, const double*, double*, std::int64_t, std::int64_t,
                      std::int64_t, std::int64_t, std::int64_t, Seat*, std::int64_t);

}  // namespace SCANLIB_ISA
}  // namespace scanlib
