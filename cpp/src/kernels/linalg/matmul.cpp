// matmul.cpp: batched matrix products.  Batches that are one larger product in disguise are run as one, and large
// products and batches are split over threads.
#include <Eigen/Core>
#include <atomic>
#include <new>
#include <type_traits>

#include "kernels/linalg/batch.hpp"
#include "kernels/linalg/matrix.hpp"
#include "kernels/linalg/panels.hpp"

namespace scanlib {
namespace SCANLIB_ISA {
namespace {

// m * n * k up to which plain loops beat Eigen, which packs its operands first: with contiguous rows (register
// tiles), for a single row or column, and for any other layout.
constexpr std::int64_t small_tiled = 16384;
constexpr std::int64_t small_vector = 300;
constexpr std::int64_t small_strided = 300;
constexpr int stack_elements = 1024;

// Scratch for vectors and packed matrices: on the stack when small, on the heap (or nullptr) otherwise.
template <class T, int Few>
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { delete[] many_; }

  T* take(std::int64_t size) {
    if (size <= Few) return few_;
    many_ = new (std::nothrow) T[static_cast<std::size_t>(size)];
    return many_;
  }

 private:
  alignas(64) T few_[Few];
  T* many_ = nullptr;
};

// --- plain loops: all dtypes, and small products of floats ------------------------------------------------------

template <class T>
T multiply_add(T sum, T a, T b) {
  if constexpr (std::is_same_v<T, bool>) {
    return sum || (a && b);
  } else if constexpr (std::is_integral_v<T>) {  // wraps around, as in NumPy
    using Wide = std::conditional_t<(sizeof(T) < 4), std::uint32_t, std::make_unsigned_t<T>>;
    return static_cast<T>(static_cast<Wide>(sum) + static_cast<Wide>(a) * static_cast<Wide>(b));
  } else {
    return sum + a * b;
  }
}

// A tile of out, Rows by Cols, held in registers while k runs.  b and out have contiguous rows.
template <class T, int Rows, int Cols>
void tile(const View<T>& a, const View<T>& b, const View<T>& out, std::int64_t i, std::int64_t j, bool accumulate) {
  T sums[Rows][Cols];
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Cols; ++c) sums[r][c] = accumulate ? out.data[(i + r) * out.row_stride + j + c] : T{};
  }
  for (std::int64_t p = 0; p < a.cols; ++p) {
    const T* from = b.data + p * b.row_stride + j;
    for (int r = 0; r < Rows; ++r) {
      const T factor = a.at(i + r, p);
      for (int c = 0; c < Cols; ++c) sums[r][c] = multiply_add<T>(sums[r][c], factor, from[c]);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Cols; ++c) out.data[(i + r) * out.row_stride + j + c] = sums[r][c];
  }
}

// The same for floats, on Eigen's fixed-size vectors, which compilers do keep in registers.
template <class T, int Rows, int Cols>
void float_tile(const View<T>& a, const View<T>& b, const View<T>& out, std::int64_t i, std::int64_t j,
                bool accumulate) {
  using Lanes = Eigen::Array<T, Cols, 1>;
  Lanes sums[Rows];
  for (int r = 0; r < Rows; ++r) {
    if (accumulate) {
      sums[r] = Eigen::Map<const Lanes>(out.data + (i + r) * out.row_stride + j);
    } else {
      sums[r].setZero();
    }
  }
  const T* factors = a.data + i * a.row_stride;
  const T* from = b.data + j;
  for (std::int64_t p = 0; p < a.cols; ++p, factors += a.col_stride, from += b.row_stride) {
    const Lanes lanes = Eigen::Map<const Lanes>(from);
    for (int r = 0; r < Rows; ++r) sums[r] += factors[r * a.row_stride] * lanes;
  }
  for (int r = 0; r < Rows; ++r) Eigen::Map<Lanes>(out.data + (i + r) * out.row_stride + j) = sums[r];
}

template <class T, int Rows, int Cols>
void any_tile(const View<T>& a, const View<T>& b, const View<T>& out, std::int64_t i, std::int64_t j,
              bool accumulate) {
  if constexpr (std::is_floating_point_v<T>) {
    float_tile<T, Rows, Cols>(a, b, out, i, j, accumulate);
  } else {
    tile<T, Rows, Cols>(a, b, out, i, j, accumulate);
  }
}

// Rows i .. i + Rows - 1 of out, in tiles that get narrower to the right.
template <class T, int Rows>
void tile_rows(const View<T>& a, const View<T>& b, const View<T>& out, std::int64_t i, bool accumulate) {
  constexpr int wide = 64 / static_cast<int>(sizeof(T) < 4 ? 4 : sizeof(T));
  std::int64_t j = 0;
  for (; j + wide <= out.cols; j += wide) any_tile<T, Rows, wide>(a, b, out, i, j, accumulate);
  for (; j + 4 <= out.cols; j += 4) any_tile<T, Rows, 4>(a, b, out, i, j, accumulate);
  for (; j < out.cols; ++j) any_tile<T, Rows, 1>(a, b, out, i, j, accumulate);
}

template <class T>
bool has_rows(const View<T>& view) {
  return view.col_stride == 1 || view.cols == 1;
}

template <class T>
void loops(const View<T>& a, const View<T>& b, const View<T>& out, bool accumulate) {
  if (has_rows(b) && has_rows(out)) {
    std::int64_t i = 0;
    for (; i + 4 <= out.rows; i += 4) tile_rows<T, 4>(a, b, out, i, accumulate);
    for (; i < out.rows; ++i) tile_rows<T, 1>(a, b, out, i, accumulate);
    return;
  }
  for (std::int64_t i = 0; i < out.rows; ++i) {
    for (std::int64_t j = 0; j < out.cols; ++j) {
      T sum = accumulate ? out.at(i, j) : T{};
      for (std::int64_t p = 0; p < a.cols; ++p) sum = multiply_add<T>(sum, a.at(i, p), b.at(p, j));
      out.at(i, j) = sum;
    }
  }
}

// --- Eigen ------------------------------------------------------------------------------------------------------

template <class T, int Order>
using Strided = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Order>, 0, Eigen::OuterStride<>>;
template <class T, int Order>
using ConstStrided =
    Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Order>, 0, Eigen::OuterStride<>>;
template <class T>
using Column = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>;
template <class T>
using ConstColumn = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>>;

// Eigen reads an outer stride of 0 as "the default", so a broadcast axis longer than 1 does not qualify.
template <class T>
bool is_row_major(const View<T>& view) {
  return (view.col_stride == 1 || view.cols == 1) && (view.row_stride != 0 || view.rows == 1);
}

template <class T>
bool is_col_major(const View<T>& view) {
  return is_row_major(view.transposed());
}

template <class T>
ConstStrided<T, Eigen::RowMajor> row_major(const View<T>& view) {
  const std::int64_t stride = view.rows == 1 ? view.cols : view.row_stride;
  return {view.data, view.rows, view.cols, Eigen::OuterStride<>(stride)};
}

template <class T>
ConstStrided<T, Eigen::ColMajor> col_major(const View<T>& view) {
  const std::int64_t stride = view.cols == 1 ? view.rows : view.col_stride;
  return {view.data, view.rows, view.cols, Eigen::OuterStride<>(stride)};
}

// A row-major copy in `memory`.
template <class T>
View<T> packed(const View<T>& view, T* memory) {
  const View<T> copy{memory, view.rows, view.cols, view.cols, 1};
  store(copy, [&](std::int64_t row, std::int64_t col) { return view.at(row, col); });
  return copy;
}

// out[m] (+)= a[m, k] x[k]
template <class T>
bool gemv(const View<T>& a, const T* x, std::int64_t x_stride, T* out, std::int64_t out_stride, bool accumulate) {
  Scratch<T, stack_elements> x_scratch;
  Scratch<T, stack_elements> out_scratch;
  if (x_stride != 1 && a.cols > 1) {
    T* copy = x_scratch.take(a.cols);
    if (copy == nullptr) return false;
    for (std::int64_t i = 0; i < a.cols; ++i) copy[i] = x[i * x_stride];
    x = copy;
  }
  T* target = out;
  if (out_stride != 1 && a.rows > 1) {
    target = out_scratch.take(a.rows);
    if (target == nullptr) return false;
    for (std::int64_t i = 0; accumulate && i < a.rows; ++i) target[i] = out[i * out_stride];
  }
  Column<T> y(target, a.rows);
  const ConstColumn<T> v(x, a.cols);
  if (!accumulate) y.setZero();
  if (is_col_major(a)) {
    y.noalias() += col_major(a) * v;
  } else {
    y.noalias() += row_major(a) * v;
  }
  for (std::int64_t i = 0; target != out && i < a.rows; ++i) out[i * out_stride] = target[i];
  return true;
}

// out must be column-major, a and b row- or column-major.
template <class T>
void gemm(const View<T>& a, const View<T>& b, const View<T>& out, bool accumulate) {
  const std::int64_t stride = out.cols == 1 ? out.rows : out.col_stride;
  Strided<T, Eigen::ColMajor> c(out.data, out.rows, out.cols, Eigen::OuterStride<>(stride));
  if (!accumulate) c.setZero();
  const bool a_rows = is_row_major(a);
  const bool b_rows = is_row_major(b);
  if (a_rows && b_rows) {
    c.noalias() += row_major(a) * row_major(b);
  } else if (a_rows) {
    c.noalias() += row_major(a) * col_major(b);
  } else if (b_rows) {
    c.noalias() += col_major(a) * row_major(b);
  } else {
    c.noalias() += col_major(a) * col_major(b);
  }
}

template <class T>
bool eigen_product(View<T> a, View<T> b, View<T> out, bool accumulate) {
  Scratch<T, 1> memory[3];
  const auto pack = [&](View<T>& view, int slot) {
    if (is_row_major(view) || is_col_major(view)) return true;
    T* copy = memory[slot].take(view.rows * view.cols);
    if (copy != nullptr) view = packed(view, copy);
    return copy != nullptr;
  };
  if (!pack(a, 0) || !pack(b, 1)) return false;
  if (out.rows == 1) return gemv(b.transposed(), a.data, a.col_stride, out.data, out.col_stride, accumulate);
  if (out.cols == 1) return gemv(a, b.data, b.row_stride, out.data, out.row_stride, accumulate);
  View<T> target = out;
  if (!pack(target, 2)) return false;
  if (is_col_major(target)) {
    gemm(a, b, target, accumulate);
  } else {
    gemm(b.transposed(), a.transposed(), target.transposed(), accumulate);
  }
  if (target.data != out.data) store(out, [&](std::int64_t row, std::int64_t col) { return target.at(row, col); });
  return true;
}

template <class T>
bool product(const View<T>& a, const View<T>& b, const View<T>& out, bool accumulate) {
  if (out.rows == 0 || out.cols == 0) return true;
  const bool tiled = has_rows(b) && has_rows(out);
  if (!tiled && has_rows(a.transposed()) && has_rows(out.transposed())) {
    return product(b.transposed(), a.transposed(), out.transposed(), accumulate);
  }
  if constexpr (std::is_floating_point_v<T>) {
    const bool vector = out.rows == 1 || out.cols == 1;
    const std::int64_t small = vector ? small_vector : tiled ? small_tiled : small_strided;
    if (out.rows * out.cols * a.cols > small) return eigen_product(a, b, out, accumulate);
  }
  loops(a, b, out, accumulate);
  return true;
}

// --- threads ----------------------------------------------------------------------------------------------------

// Sums of products whose elements must not depend on how they are shared out, as Eigen's may: what
// `multiply_panels` is as fast for, which is large weight gradients.
template <class T>
bool in_panels(const View<T>& a, const View<T>& b, const View<T>& out, bool accumulate) {
  constexpr std::int64_t fewest_rows = 32;
  constexpr std::int64_t fewest_inner = 32;
  const bool large = out.rows >= fewest_rows && out.cols >= panel_width<T> && a.cols >= fewest_inner;
  return accumulate && large && a.row_stride == 1 && b.col_stride == 1 && out.col_stride == 1;
}

// Cuts the longer side of out, so that less is packed or read by more than one thread; panels only where there are
// too few of them.  Parts are whole cache lines of a row, or panels, and rows in eights: multiples of what is
// computed at once.
template <class T>
bool split_product(const View<T>& a, const View<T>& b, const View<T>& out, bool accumulate, int threads) {
  constexpr std::int64_t line = 64 / sizeof(T);
  bool panels = false;
  if constexpr (std::is_floating_point_v<T>) panels = in_panels(a, b, out, accumulate);
  const std::int64_t cols = panels ? panel_width<T> : line;
  const bool by_rows = panels ? out.cols < 2 * threads * cols : out.rows >= out.cols;
  const Split split = split_items(by_rows ? out.rows : out.cols, by_rows && out.cols > 1 ? 8 : cols, threads);
  std::atomic<bool> good{true};
  run_split(split, [&](int, std::int64_t first, std::int64_t last) {
    View<T> left = a;
    View<T> right = b;
    View<T> to = out;
    if (by_rows) {
      left.rows = to.rows = last - first;
      left.data += first * left.row_stride;
      to.data += first * to.row_stride;
    } else {
      right.cols = to.cols = last - first;
      right.data += first * right.col_stride;
      to.data += first * to.col_stride;
    }
    if constexpr (std::is_floating_point_v<T>) {
      if (panels) return multiply_panels(left, Stack<T>{right}, to, accumulate);
    }
    if (!product(left, right, to, accumulate)) good.store(false, std::memory_order_relaxed);
  });
  return good.load(std::memory_order_relaxed);
}

template <class T>
bool threaded_product(const View<T>& a, const View<T>& b, const View<T>& out, bool accumulate) {
  if constexpr (std::is_floating_point_v<T>) {
    const std::int64_t part = out.rows == 1 || out.cols == 1 ? part_of_vector : part_of_matrix;
    const int threads = threads_for(out.rows * out.cols * a.cols, part / std::int64_t{sizeof(T)});
    if (threads > 1 || in_panels(a, b, out, accumulate)) return split_product(a, b, out, accumulate, threads);
  }
  return product(a, b, out, accumulate);
}

// --- batches ----------------------------------------------------------------------------------------------------

enum class Merged { no, done, no_memory };

// The operands of one product; the axes that take part in a merge are replaced.
template <class T>
Merged merged_product(const Tensor* t, bool accumulate) {
  const int ndim = t[0].ndim;
  View<T> a = matrix_of<T>(t[0], 0);
  View<T> b = matrix_of<T>(t[1], 0);
  View<T> out = matrix_of<T>(t[2], 0);
  const auto run = [&] { return threaded_product(a, b, out, accumulate) ? Merged::done : Merged::no_memory; };
  const Axis a_rows = merge_batch(t[0], ndim - 2);
  const Axis out_rows = merge_batch(t[2], ndim - 2);
  if (is_broadcast(t[1]) && a_rows.good && out_rows.good && !is_broadcast(t[2])) {
    a.rows = out.rows = a_rows.dim;
    a.row_stride = a_rows.stride;
    out.row_stride = out_rows.stride;
    return run();
  }
  const Axis b_cols = merge_batch(t[1], ndim - 1);
  const Axis out_cols = merge_batch(t[2], ndim - 1);
  if (is_broadcast(t[0]) && b_cols.good && out_cols.good && !is_broadcast(t[2])) {
    b.cols = out.cols = b_cols.dim;
    b.col_stride = b_cols.stride;
    out.col_stride = out_cols.stride;
    return run();
  }
  const Axis a_inner = merge_batch(t[0], ndim - 1);
  const Axis b_inner = merge_batch(t[1], ndim - 2);
  if (accumulate && is_broadcast(t[2]) && a_inner.good && b_inner.good) {  // a sum over the batch
    a.cols = b.rows = a_inner.dim;
    a.col_stride = a_inner.stride;
    b.row_stride = b_inner.stride;
    return run();
  }
  return Merged::no;
}

// Whether two items of the batch share elements of this tensor.
bool shares_items(const Tensor& tensor) {
  for (int i = 0; i < tensor.ndim - 2; ++i) {
    if (tensor.dims[i] > 1 && tensor.strides[i] == 0) return true;
  }
  return false;
}

// A sum of products over a batch whose items lie in different orders, as where one operand runs backwards.  Where
// the left operands are one matrix in either direction, it is one product, whose right operand is brought together
// panel by panel; else each panel goes through all items, so that its sums stay in the cache.  False if it is no
// such sum, or too small for that.
template <class T>
bool sum_in_panels(const Tensor* operands, bool accumulate) {
  if (operands[2].ndim != 3 || !is_broadcast(operands[2])) return false;
  const std::int64_t batch = operands[2].dims[0];
  View<T> left = matrix_of<T>(operands[0], 0);
  Stack<T> right{matrix_of<T>(operands[1], 0), batch, operands[1].strides[0]};
  const View<T> out = matrix_of<T>(operands[2], 0);
  std::int64_t step = operands[0].strides[0];
  if (step < 0) {  // from the last item to the first
    left.data += (batch - 1) * step;
    right.first.data += (batch - 1) * right.stride;
    step = -step;
    right.stride = -right.stride;
  }
  Axis inner{left.cols, left.col_stride};
  inner.wrap(batch, step);
  if (inner.good) {
    left.cols = inner.dim;
    left.col_stride = inner.stride;
  } else {
    right.count = 1;
  }
  if (!in_panels(left, right.first, out, accumulate)) return false;
  const std::int64_t work = batch * out.rows * out.cols * right.first.rows;
  const int threads = threads_for(work, part_of_matrix / std::int64_t{sizeof(T)});
  run_split(split_items(out.cols, panel_width<T>, threads), [&](int, std::int64_t first, std::int64_t last) {
    const std::int64_t width = inner.good ? last - first : panel_width<T>;
    for (std::int64_t col = first; col < last; col += width) {
      View<T> from = left;
      Stack<T> part = right;
      View<T> to = out;
      part.first.cols = to.cols = std::min(width, last - col);
      part.first.data += col * part.first.col_stride;
      to.data += col;
      for (std::int64_t item = 0; item < batch; item += part.count) {
        multiply_panels(from, part, to, true);
        from.data += step;
        part.first.data += part.stride;
      }
    }
  });
  return true;
}

// Products of a batch that are no single product: one by one, the batch split over threads, or each by itself when
// the batch is shorter than the threads.
template <class T>
Status run_batch(const Tensor* operands, bool accumulate) {
  const Tensor& out = operands[2];
  std::int64_t batch = 1;
  for (int i = 0; i < out.ndim - 2; ++i) batch *= out.dims[i];
  if constexpr (std::is_floating_point_v<T>) {
    if (sum_in_panels<T>(operands, accumulate)) return Status::ok;
  }
  const std::int64_t work = batch * dim_back(out, 0) * dim_back(out, 1) * dim_back(operands[0], 0);
  const int threads = shares_items(out) ? 1 : threads_for(work, part_of_matrix / std::int64_t{sizeof(T)});
  const bool whole = threads <= batch;
  std::atomic<Status> status{Status::ok};
  run_split(split_items(batch, 1, whole ? threads : 1), [&](int, std::int64_t first, std::int64_t last) {
    const int core[] = {2, 2, 2};
    const bool good = for_items(operands, 3, core, first, last, [&](const std::int64_t* offsets) {
      const View<T> a = matrix_of<T>(operands[0], offsets[0]);
      const View<T> b = matrix_of<T>(operands[1], offsets[1]);
      const View<T> to = matrix_of<T>(out, offsets[2]);
      return whole && threads > 1 ? product(a, b, to, accumulate) : threaded_product(a, b, to, accumulate);
    });
    if (!good) status.store(Status::out_of_memory, std::memory_order_relaxed);
  });
  return status.load(std::memory_order_relaxed);
}

template <class T>
Status run_products(const Tensor* operands, bool accumulate) {
  if (operands[0].ndim == 2) {  // one product: inside a loop its overhead matters
    const bool good = threaded_product(matrix_of<T>(operands[0], 0), matrix_of<T>(operands[1], 0),
                                       matrix_of<T>(operands[2], 0), accumulate);
    return good ? Status::ok : Status::out_of_memory;
  }
  if (std::is_floating_point_v<T>) {
    const Merged merged = merged_product<T>(operands, accumulate);
    if (merged == Merged::no_memory) return Status::out_of_memory;
    if (merged == Merged::done) return Status::ok;
  }
  return run_batch<T>(operands, accumulate);
}

bool shapes_fit(const Tensor* t) {
  const int ndim = t[0].ndim;
  if (ndim < 2 || t[1].ndim != ndim || t[2].ndim != ndim) return false;
  for (int axis = 0; axis < ndim - 2; ++axis) {
    if (t[1].dims[axis] != t[0].dims[axis] || t[2].dims[axis] != t[0].dims[axis]) return false;
  }
  return dim_back(t[0], 0) == dim_back(t[1], 1) && dim_back(t[0], 1) == dim_back(t[2], 1) &&
         dim_back(t[1], 0) == dim_back(t[2], 0);
}

}  // namespace

Status matmul(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  if (!shapes_fit(operands)) return Status::shape_mismatch;
  const DType dtype = operands[0].dtype;
  if (operands[1].dtype != dtype || operands[2].dtype != dtype) return Status::bad_dtype;
  const bool accumulate = parameters[0] != 0;
  return with_type(dtype, [&](auto tag) { return run_products<decltype(tag)>(operands, accumulate); });
}

}  // namespace SCANLIB_ISA
}  // namespace scanlib
