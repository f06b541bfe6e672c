// selection.cpp: the mt_* kernels that pick among things: multinomial, permutations, shuffles, choices.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <numeric>
#include <vector>

#include "kernels/random/distributions.hpp"
#include "kernels/random/operands.hpp"
#include "kernels/random/rows.hpp"

namespace scanlib {
namespace {

// operands[0] is the state, operands[state_out] the state afterwards; body(stream) -> Status may throw bad_alloc.
template <class Body>
Status with_stream(const Tensor* operands, int state_out, Body&& body) {
  if (!is_mt_state(operands[0]) || !is_mt_state(operands[state_out])) return Status::shape_mismatch;
  Stream stream;
  load_stream(stream, operands[0]);
  try {
    const Status status = body(stream);
    save_stream(stream, operands[state_out]);
    return status;
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory;
  }
}

// One row: the counts are binomial draws out of what is left; the last kind takes the rest.
Status multinomial_row(Stream& stream, std::int64_t n, const std::vector<double>& chances,
                       std::vector<std::int64_t>& counts) {
  double left = 1.0;
  double sum = 0;
  std::fill(counts.begin(), counts.end(), 0);
  for (std::size_t i = 0; i < chances.size(); ++i) {
    if (!(chances[i] >= 0 && chances[i] <= 1)) return Status::bad_parameter;
    if (i + 1 < chances.size()) sum += chances[i];
  }
  if (sum > 1.0 + 1e-12 || n < 0) return Status::bad_parameter;
  for (std::size_t i = 0; i + 1 < chances.size() && n > 0; ++i) {
    const double chance = std::min(chances[i] / left, 1.0);
    counts[i] = chances[i] == 0 ? 0 : binomial(stream, n, chance);
    n -= counts[i];
    left -= chances[i];
  }
  if (!counts.empty()) counts.back() = std::max<std::int64_t>(n, 0);
  return Status::ok;
}

Status mt_multinomial(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Tensor rows[] = {operands[4], operands[2], operands[1]};  // sample, pvals, n
  if (rows[0].ndim < 1 || rows[1].ndim < 1 || dim_back(rows[0], 0) != dim_back(rows[1], 0)) {
    return Status::shape_mismatch;
  }
  return with_stream(operands, 3, [&](Stream& stream) {
    const auto kinds = static_cast<std::size_t>(dim_back(rows[0], 0));
    std::vector<double> chances(kinds);
    std::vector<std::int64_t> counts(kinds);
    const Writer write(rows[0]);
    const Reader pvals(rows[1]);
    const Reader n(rows[2]);
    const int core[] = {1, 1, 0};
    Status status = Status::ok;
    const bool good = for_each_item(rows, 3, core, [&](const std::int64_t* at) {
      for (std::size_t i = 0; i < kinds; ++i) {
        chances[i] = pvals(at[1] + static_cast<std::int64_t>(i) * stride_back(rows[1], 0));
      }
      status = multinomial_row(stream, n.whole(at[2]), chances, counts);
      for (std::size_t i = 0; i < kinds; ++i) {
        write(at[0] + static_cast<std::int64_t>(i) * stride_back(rows[0], 0), counts[i]);
      }
      return status == Status::ok;
    });
    return good || status != Status::ok ? status : Status::shape_mismatch;
  });
}

// Calls body(order, offsets) with a fresh permutation for each row of the last `count` operands given.
template <class Body>
Status for_each_permutation(Stream& stream, const Tensor* rows, std::size_t count, Body&& body) {
  for (std::size_t i = 0; i < count; ++i) {
    if (rows[i].ndim < 1 || dim_back(rows[i], 0) != dim_back(rows[0], 0)) return Status::shape_mismatch;
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(dim_back(rows[0], 0)));
  const int core[] = {1, 1};
  const bool good = for_each_item(rows, count, core, [&](const std::int64_t* at) {
    std::iota(order.begin(), order.end(), std::int64_t{0});
    shuffle(stream, order.data(), static_cast<std::int64_t>(order.size()));
    body(order, at);
    return true;
  });
  return good ? Status::ok : Status::shape_mismatch;
}

Status mt_permutation(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Tensor& sample = operands[2];
  return with_stream(operands, 1, [&](Stream& stream) {
    const Writer write(sample);
    return for_each_permutation(stream, &sample, 1, [&](const auto& order, const std::int64_t* at) {
      for (std::size_t i = 0; i < order.size(); ++i) {
        write(at[0] + static_cast<std::int64_t>(i) * stride_back(sample, 0), order[i]);
      }
    });
  });
}

Status mt_shuffle_rows(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Tensor rows[] = {operands[1], operands[3]};
  if (rows[0].dtype != rows[1].dtype) return Status::bad_dtype;
  return with_stream(operands, 2, [&](Stream& stream) {
    return with_type(rows[0].dtype, [&](auto tag) {
      using T = decltype(tag);
      return for_each_permutation(stream, rows, 2, [&](const auto& order, const std::int64_t* at) {
        for (std::size_t i = 0; i < order.size(); ++i) {
          const std::int64_t to = static_cast<std::int64_t>(i) * stride_back(rows[1], 0);
          data_of<T>(rows[1])[at[1] + to] = data_of<T>(rows[0])[at[0] + order[i] * stride_back(rows[0], 0)];
        }
      });
    });
  });
}

// Writes indices[0], indices[1], … to the sample in C order.
template <class Next>
Status write_indices(const Tensor& sample, Next&& next) {
  const Writer write(sample);
  return for_each_draw(sample, nullptr, 0, [&](std::int64_t at, const std::int64_t*) {
    write(at, static_cast<std::int64_t>(next()));
    return Status::ok;
  });
}

Status mt_choice(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  const Tensor& sample = operands[3];
  const std::int64_t n = Reader(operands[1]).whole(0);
  const std::int64_t size = count_of(sample);
  if (n < 0 || (n == 0 && size > 0)) return Status::bad_parameter;
  const bool replace = parameters[0] != 0;
  if (!replace && size > n) return Status::bad_parameter;
  return with_stream(operands, 2, [&](Stream& stream) {
    if (replace) {
      return write_indices(sample, [&] { return bounded(stream, static_cast<std::uint64_t>(n - 1)); });
    }
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    shuffle(stream, order.data(), n);
    auto next = order.begin();
    return write_indices(sample, [&] { return *next++; });
  });
}

// Index by inverting the cumulated weights.
class Wheel {
 public:
  void build(const std::vector<double>& weights) {
    sums_.resize(weights.size());
    std::partial_sum(weights.begin(), weights.end(), sums_.begin());
    const double total = sums_.back();
    for (double& sum : sums_) sum /= total;
  }

  std::size_t spin(double u) const {
    return static_cast<std::size_t>(std::upper_bound(sums_.begin(), sums_.end(), u) - sums_.begin());
  }

 private:
  std::vector<double> sums_;
};

// Rounds of draws with replacement; of each round the first occurrence of every new index counts, and indices once
// taken weigh nothing in later rounds.
std::vector<std::size_t> choose_distinct(Stream& stream, std::vector<double> weights, std::size_t size) {
  Wheel wheel;
  std::vector<std::size_t> chosen;
  std::vector<bool> taken(weights.size(), false);
  std::vector<double> round;
  while (chosen.size() < size) {
    round.clear();
    for (std::size_t i = chosen.size(); i < size; ++i) round.push_back(stream.uniform());
    for (const std::size_t index : chosen) weights[index] = 0;
    wheel.build(weights);
    for (const double u : round) {
      const std::size_t index = wheel.spin(u);
      if (taken[index]) continue;
      taken[index] = true;
      chosen.push_back(index);
    }
  }
  return chosen;
}

Status mt_choice_p(const Tensor* operands, std::size_t, const std::int64_t* parameters) {
  const Tensor& sample = operands[3];
  if (operands[1].ndim != 1) return Status::shape_mismatch;
  const auto size = static_cast<std::size_t>(count_of(sample));
  return with_stream(operands, 2, [&](Stream& stream) {
    const Reader read(operands[1]);
    std::vector<double> weights;
    for (std::int64_t i = 0; i < operands[1].dims[0]; ++i) weights.push_back(read(i * operands[1].strides[0]));
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    const double tolerance = operands[1].dtype == DType::float32 ? 1e-3 : 1e-7;
    bool good = std::fabs(total - 1) <= tolerance;
    for (const double weight : weights) good = good && weight >= 0;
    const auto possible =
        static_cast<std::size_t>(std::count_if(weights.begin(), weights.end(), [](double w) { return w > 0; }));
    const bool replace = parameters[0] != 0;
    if (!good || (!replace && size > possible)) return Status::bad_parameter;
    if (!replace) {
      const std::vector<std::size_t> chosen = choose_distinct(stream, weights, size);
      auto next = chosen.begin();
      return write_indices(sample, [&] { return *next++; });
    }
    Wheel wheel;
    wheel.build(weights);
    return write_indices(sample, [&] { return wheel.spin(stream.uniform()); });
  });
}

}  // namespace

void append_selection_kernels(std::vector<LibraryKernel>& kernels) {
  kernels.push_back({"mt_multinomial", 5, 0, mt_multinomial});
  kernels.push_back({"mt_permutation", 3, 0, mt_permutation});
  kernels.push_back({"mt_shuffle_rows", 4, 0, mt_shuffle_rows});
  kernels.push_back({"mt_choice", 4, 1, mt_choice});
  kernels.push_back({"mt_choice_p", 4, 1, mt_choice_p});
}

}  // namespace scanlib
