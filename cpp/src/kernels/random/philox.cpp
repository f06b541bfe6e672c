// philox.cpp: the philox_* kernels; random.hpp says which words of the stream each element of a sample reads.
#include <cmath>

#include "kernels/random/operands.hpp"
#include "kernels/random/rows.hpp"

namespace scanlib {
namespace {

constexpr double two_pi = 6.28318530717958647692;

bool is_philox_state(const Tensor& tensor) {
  return tensor.dtype == DType::uint64 && tensor.ndim == 1 && tensor.dims[0] == philox_state_words;
}

// The words of consecutive elements: each block serves two of them.
class Words {
 public:
  explicit Words(const Tensor& state) {
    for (int i = 0; i < philox_state_words; ++i) state_[i] = data_of<std::uint64_t>(state)[i * state.strides[0]];
  }

  // Saves the state after `count` elements.
  void save(const Tensor& state, std::int64_t count) {
    state_[1] += static_cast<std::uint64_t>((count + 1) / 2);
    for (int i = 0; i < philox_state_words; ++i) data_of<std::uint64_t>(state)[i * state.strides[0]] = state_[i];
  }

  // The word of the next element; `lane` tells which of the two of its block it is.
  std::uint64_t next() {
    lane = static_cast<int>(element_ % 2);
    if (lane == 0) block_ = philox(state_[0], state_[1] + element_ / 2, state_[2]);
    ++element_;
    return philox_word(block_, lane);
  }

  double unit(int of_lane) const { return philox_unit(philox_word(block_, of_lane)); }

  int lane = 0;

 private:
  std::uint64_t state_[philox_state_words];
  std::uint64_t element_ = 0;
  PhiloxBlock block_{};
};

// operands: state, `count` parameters, state out, sample.  draw(words, read x, read y, put) -> Status.
template <class Draw>
Status draw_all(const Tensor* operands, int count, Draw&& draw) {
  const Tensor& state_out = operands[1 + count];
  const Tensor& sample = operands[2 + count];
  if (!is_philox_state(operands[0]) || !is_philox_state(state_out)) return Status::shape_mismatch;
  Words words(operands[0]);
  const Writer write(sample);
  const Status status = for_each_draw(sample, operands + 1, count, [&](std::int64_t at, const std::int64_t* from) {
    return draw(words, from, [&](auto value) { write(at, value); });
  });
  words.save(state_out, count_of(sample));
  return status;
}

double log_factorial(double x) {
  int sign = 0;
  return ::lgamma_r(x + 1, &sign);
}

// Where to start summing probabilities: at 0 successes, or, when that probability underflows, nine standard
// deviations below the mean, where the sum of all before is below the resolution of u.
std::int64_t first_success_count(double n, double p, double& probability) {
  const double logarithm = n * std::log1p(-p);
  probability = std::exp(logarithm);
  if (logarithm > -700) return 0;
  const double k = std::fmax(0.0, std::floor(n * p - 9 * std::sqrt(n * p * (1 - p))));
  probability = std::exp(log_factorial(n) - log_factorial(k) - log_factorial(n - k) + k * std::log(p) +
                         (n - k) * std::log1p(-p));
  return static_cast<std::int64_t>(k);
}

// The number of successes among n trials whose cumulated probability first exceeds u.
std::int64_t binomial_quantile(double u, std::int64_t n, double p) {
  if (p > 0.5) return n - binomial_quantile(u, n, 1.0 - p);
  if (p <= 0.0) return 0;
  const double ratio = p / (1.0 - p);
  double term = 0;
  std::int64_t k = first_success_count(static_cast<double>(n), p, term);
  double total = term;
  while (u >= total && k < n) {
    ++k;
    const double factor = ratio * static_cast<double>(n - k + 1) / static_cast<double>(k);
    term *= factor;
    total += term;
    if (factor < 1 && term < 1e-20 * total) break;  // the tail that is left is below the resolution of u
  }
  return k;
}

Status philox_seed(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Tensor& state = operands[1];
  if (!is_philox_state(state)) return Status::shape_mismatch;
  for (int i = 0; i < philox_state_words; ++i) data_of<std::uint64_t>(state)[i * state.strides[0]] = 0;
  data_of<std::uint64_t>(state)[0] = static_cast<std::uint64_t>(Reader(operands[0]).whole(0));
  return Status::ok;
}

Status philox_bits(const Tensor* operands, std::size_t, const std::int64_t*) {
  const DType dtype = operands[2].dtype;
  if (dtype != DType::uint64 && dtype != DType::uint32) return Status::bad_dtype;
  return draw_all(operands, 0, [](Words& words, const std::int64_t*, auto&& put) {
    put(static_cast<std::int64_t>(words.next()));
    return Status::ok;
  });
}

Status philox_uniform(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Reader low(operands[1]);
  const Reader high(operands[2]);
  return draw_all(operands, 2, [&](Words& words, const std::int64_t* from, auto&& put) {
    const double first = low(from[0]);
    put(first + (high(from[1]) - first) * philox_unit(words.next()));
    return Status::ok;
  });
}

// Box and Muller: a block gives one pair, cosine first.
Status philox_normal(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Reader mean(operands[1]);
  const Reader std(operands[2]);
  double sine = 0;
  return draw_all(operands, 2, [&](Words& words, const std::int64_t* from, auto&& put) {
    words.next();
    double value = sine;
    if (words.lane == 0) {
      const double radius = std::sqrt(-2.0 * std::log1p(-words.unit(0)));
      const double angle = two_pi * words.unit(1);
      value = radius * std::cos(angle);
      sine = radius * std::sin(angle);
    }
    const double width = std(from[1]);
    put(mean(from[0]) + width * value);
    return width >= 0 ? Status::ok : Status::bad_parameter;
  });
}

Status philox_binomial(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Reader n(operands[1]);
  const Reader p(operands[2]);
  return draw_all(operands, 2, [&](Words& words, const std::int64_t* from, auto&& put) {
    const std::int64_t trials = n.whole(from[0]);
    const double chance = p(from[1]);
    if (!(trials >= 0 && chance >= 0 && chance <= 1)) return Status::bad_parameter;
    put(binomial_quantile(philox_unit(words.next()), trials, chance));
    return Status::ok;
  });
}

Status philox_random_integers(const Tensor* operands, std::size_t, const std::int64_t*) {
  const Reader low(operands[1]);
  const Reader high(operands[2]);
  return draw_all(operands, 2, [&](Words& words, const std::int64_t* from, auto&& put) {
    __extension__ using Wide = unsigned __int128;
    const auto first = static_cast<std::uint64_t>(low.whole(from[0]));
    const auto last = static_cast<std::uint64_t>(high.whole(from[1]));
    if (static_cast<std::int64_t>(first) > static_cast<std::int64_t>(last)) return Status::bad_parameter;
    const Wide product = static_cast<Wide>(words.next()) * (static_cast<Wide>(last - first) + 1);
    put(static_cast<std::int64_t>(first + static_cast<std::uint64_t>(product >> 64)));
    return Status::ok;
  });
}

}  // namespace

void append_philox_kernels(std::vector<LibraryKernel>& kernels) {
  kernels.push_back({"philox_seed", 2, 0, philox_seed});
  kernels.push_back({"philox_bits", 3, 0, philox_bits});
  kernels.push_back({"philox_uniform", 5, 0, philox_uniform});
  kernels.push_back({"philox_normal", 5, 0, philox_normal});
  kernels.push_back({"philox_binomial", 5, 0, philox_binomial});
  kernels.push_back({"philox_random_integers", 5, 0, philox_random_integers});
}

}  // namespace scanlib
