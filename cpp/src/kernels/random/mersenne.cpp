// mersenne.cpp: the mt_* kernels: one draw per element of the sample, in C order.
#include <cmath>

#include "kernels/random/distributions.hpp"
#include "kernels/random/operands.hpp"
#include "kernels/random/rows.hpp"

namespace scanlib {
namespace {

// operands: state, `count` parameters, state out, sample.  draw(stream, x, y, put) hands the number to put
// and returns a Status: bad_parameter when x or y is out of its domain.
template <class Draw>
Status draw_all(const Tensor* operands, int count, Draw&& draw) {
  const Tensor& state_out = operands[1 + count];
  const Tensor& sample = operands[2 + count];
  if (!is_mt_state(operands[0]) || !is_mt_state(state_out)) return Status::shape_mismatch;
  Stream stream;
  load_stream(stream, operands[0]);
  const Reader x(operands[count > 0 ? 1 : 0]);
  const Reader y(operands[count > 1 ? 2 : 0]);
  const Writer write(sample);
  const Status status = for_each_draw(sample, operands + 1, count, [&](std::int64_t at, const std::int64_t* from) {
    return draw(stream, count > 0 ? x(from[0]) : 0.0, count > 1 ? y(from[1]) : 0.0,
                [&](auto value) { write(at, value); });
  });
  save_stream(stream, state_out);
  return status;
}

Status require(bool good) { return good ? Status::ok : Status::bad_parameter; }

Status mt_seed(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!is_mt_state(operands[1])) return Status::shape_mismatch;
  Stream stream;
  stream.seed(static_cast<std::uint32_t>(Reader(operands[0]).whole(0)));
  save_stream(stream, operands[1]);
  return Status::ok;
}

Status mt_uniform(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 2, [](Stream& stream, double low, double high, auto&& put) {
    put(low + (high - low) * stream.uniform());
    return require(std::isfinite(high - low));
  });
}

Status mt_normal(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 2, [](Stream& stream, double mean, double std, auto&& put) {
    put(mean + std * stream.normal());
    return require(std >= 0);
  });
}

Status mt_binomial(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 2, [](Stream& stream, double n, double p, auto&& put) {
    if (!(n >= 0 && p >= 0 && p <= 1)) return Status::bad_parameter;
    put(binomial(stream, static_cast<std::int64_t>(n), p));
    return Status::ok;
  });
}

Status mt_poisson(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 1, [](Stream& stream, double lam, double, auto&& put) {
    if (!(lam >= 0 && lam < 9.2e18)) return Status::bad_parameter;
    put(poisson(stream, lam));
    return Status::ok;
  });
}

Status mt_exponential(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 1, [](Stream& stream, double scale, double, auto&& put) {
    put(scale * exponential(stream));
    return require(scale >= 0);
  });
}

Status mt_gamma(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 2, [](Stream& stream, double shape, double scale, auto&& put) {
    if (!(shape >= 0 && scale >= 0)) return Status::bad_parameter;
    put(scale * standard_gamma(stream, shape));
    return Status::ok;
  });
}

Status mt_beta(const Tensor* operands, std::size_t, const std::int64_t*) {
  return draw_all(operands, 2, [](Stream& stream, double a, double b, auto&& put) {
    if (!(a > 0 && b > 0)) return Status::bad_parameter;
    put(beta(stream, a, b));
    return Status::ok;
  });
}

// Not draw_all: the bounds may need all 64 bits.
Status mt_random_integers(const Tensor* operands, std::size_t, const std::int64_t*) {
  if (!is_mt_state(operands[0]) || !is_mt_state(operands[3])) return Status::shape_mismatch;
  Stream stream;
  load_stream(stream, operands[0]);
  const Reader low(operands[1]);
  const Reader high(operands[2]);
  const Writer write(operands[4]);
  const auto draw = [&](std::int64_t at, const std::int64_t* from) {
    const std::int64_t first = low.whole(from[0]);
    const std::int64_t last = high.whole(from[1]);
    if (first > last) return Status::bad_parameter;
    const std::uint64_t most = static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(first);
    write(at, static_cast<std::int64_t>(static_cast<std::uint64_t>(first) + bounded(stream, most)));
    return Status::ok;
  };
  const Status status = for_each_draw(operands[4], operands + 1, 2, draw);
  save_stream(stream, operands[3]);
  return status;
}

}  // namespace

void append_mersenne_kernels(std::vector<LibraryKernel>& kernels) {
  kernels.push_back({"mt_seed", 2, 0, mt_seed});
  kernels.push_back({"mt_uniform", 5, 0, mt_uniform});
  kernels.push_back({"mt_normal", 5, 0, mt_normal});
  kernels.push_back({"mt_binomial", 5, 0, mt_binomial});
  kernels.push_back({"mt_poisson", 4, 0, mt_poisson});
  kernels.push_back({"mt_exponential", 4, 0, mt_exponential});
  kernels.push_back({"mt_gamma", 5, 0, mt_gamma});
  kernels.push_back({"mt_beta", 5, 0, mt_beta});
  kernels.push_back({"mt_random_integers", 5, 0, mt_random_integers});
}

}  // namespace scanlib
