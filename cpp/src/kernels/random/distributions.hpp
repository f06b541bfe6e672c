// distributions.hpp: one draw of each distribution from a MersenneTwister.  Which uniform numbers are used for
// what, and in which order, is that of numpy.random.RandomState, so that both give the same numbers for the same
// seed.
#pragma once

#include <cmath>
#include <cstdint>

#include "scanlib/random.hpp"

namespace scanlib {
namespace {

using Stream = MersenneTwister;

// All bits up to the highest set bit of `value`.
inline std::uint64_t mask_for(std::uint64_t value) {
  for (int shift = 1; shift < 64; shift *= 2) value |= value >> shift;
  return value;
}

// Uniform in 0 .. most, by masking and rejecting.
inline std::uint64_t bounded(Stream& stream, std::uint64_t most) {
  if (most == 0) return 0;
  const std::uint64_t mask = mask_for(most);
  while (true) {
    const std::uint64_t value = (most <= 0xffffffffu ? stream.next32() : stream.next64()) & mask;
    if (value <= most) return value;
  }
}

inline double exponential(Stream& stream) { return -std::log(1.0 - stream.uniform()); }

// Binomial by inversion: walks up the probabilities; for n p <= 30.
inline std::int64_t binomial_inversion(Stream& stream, std::int64_t n, double p) {
  const double q = 1.0 - p;
  const double count = static_cast<double>(n);
  const double first = std::exp(count * std::log(q));
  const double mean = count * p;
  const double limit = std::fmin(count, mean + 10.0 * std::sqrt(mean * q + 1));
  const auto bound = static_cast<std::int64_t>(limit);
  std::int64_t x = 0;
  double probability = first;
  double u = stream.uniform();
  while (u > probability) {
    ++x;
    if (x > bound) {
      x = 0;
      probability = first;
      u = stream.uniform();
    } else {
      u -= probability;
      probability = static_cast<double>(n - x + 1) * p * probability / (static_cast<double>(x) * q);
    }
  }
  return x;
}

// Binomial by BTPE, for n p > 30 and p <= 1/2.  Source: V. Kachitvichyanukul, B. Schmeiser, "Binomial random
// variate generation", Comm. ACM 31 (1988) 216-222; names and step numbers are those of the paper.
class Btpe {
 public:
  Btpe(std::int64_t n, double p) : n_(static_cast<double>(n)), r_(p), q_(1.0 - p), variance_(n_ * r_ * q_) {
    const double fm = n_ * r_ + r_;
    m_ = std::floor(fm);
    p1_ = std::floor(2.195 * std::sqrt(variance_) - 4.6 * q_) + 0.5;
    xm_ = m_ + 0.5;
    xl_ = xm_ - p1_;
    xr_ = xm_ + p1_;
    c_ = 0.134 + 20.5 / (15.3 + m_);
    const double left = (fm - xl_) / (fm - xl_ * r_);
    lambda_l_ = left * (1.0 + left / 2.0);
    const double right = (xr_ - fm) / (xr_ * q_);
    lambda_r_ = right * (1.0 + right / 2.0);
    p2_ = p1_ * (1.0 + 2.0 * c_);
    p3_ = p2_ + c_ / lambda_l_;
    p4_ = p3_ + c_ / lambda_r_;
  }

  std::int64_t draw(Stream& stream) const {
    double y = 0;
    while (!attempt(stream, y)) {
    }
    return static_cast<std::int64_t>(y);
  }

 private:
  // Steps 1 to 4: a candidate from the triangle, the parallelogram or one of the exponential tails.
  bool attempt(Stream& stream, double& y) const {
    const double u = stream.uniform() * p4_;
    double v = stream.uniform();
    if (u <= p1_) {
      y = std::floor(xm_ - p1_ * v + u);
      return true;
    }
    if (u <= p2_) {
      const double x = xl_ + (u - p1_) / c_;
      v = v * c_ + 1.0 - std::fabs(m_ - x + 0.5) / p1_;
      if (v > 1.0) return false;
      y = std::floor(x);
    } else if (u <= p3_) {
      y = std::floor(xl_ + std::log(v) / lambda_l_);
      if (y < 0 || v == 0.0) return false;
      v = v * (u - p2_) * lambda_l_;
    } else {
      y = std::floor(xr_ - std::log(v) / lambda_r_);
      if (y > n_ || v == 0.0) return false;
      v = v * (u - p3_) * lambda_r_;
    }
    const double k = std::fabs(y - m_);
    return k <= 20 || k >= variance_ / 2.0 - 1 ? accept_by_recursion(y, v) : accept_by_squeeze(y, v, k);
  }

  // Step 5.1: f(y) / f(m) by its recursion.
  bool accept_by_recursion(double y, double v) const {
    const double s = r_ / q_;
    const double a = s * (n_ + 1);
    double f = 1.0;
    for (double i = m_ + 1; i <= y; ++i) f *= a / i - s;
    for (double i = y + 1; i <= m_; ++i) f /= a / i - s;
    return v <= f;
  }

  // Steps 5.2 and 5.3: squeezing, then Stirling's formula.
  bool accept_by_squeeze(double y, double v, double k) const {
    const double rho = (k / variance_) * ((k * (k / 3.0 + 0.625) + 0.16666666666666666) / variance_ + 0.5);
    const double t = -k * k / (2 * variance_);
    const double logarithm = std::log(v);
    if (logarithm < t - rho) return true;
    if (logarithm > t + rho) return false;
    const double x1 = y + 1;
    const double f1 = m_ + 1;
    const double z = n_ + 1 - m_;
    const double w = n_ - y + 1;
    const double bound = xm_ * std::log(f1 / x1) + (n_ - m_ + 0.5) * std::log(z / w) +
                         (y - m_) * std::log(w * r_ / (x1 * q_)) + stirling(f1) + stirling(z) + stirling(x1) +
                         stirling(w);
    return logarithm <= bound;
  }

  static double stirling(double x) {
    const double square = x * x;
    return (13680. - (462. - (132. - (99. - 140. / square) / square) / square) / square) / x / 166320.;
  }

  double n_, r_, q_, variance_;
  double m_, p1_, xm_, xl_, xr_, c_, lambda_l_, lambda_r_, p2_, p3_, p4_;
};

// n >= 0, 0 <= p <= 1
inline std::int64_t binomial(Stream& stream, std::int64_t n, double p) {
  const bool flip = p > 0.5;
  const double chance = flip ? 1.0 - p : p;
  const bool rare = chance * static_cast<double>(n) <= 30.0;
  const std::int64_t x = rare ? binomial_inversion(stream, n, chance) : Btpe(n, chance).draw(stream);
  return flip ? n - x : x;
}

inline double log_gamma(double x) {
#if defined(__linux__) || defined(__APPLE__)
  int sign = 0;
  return ::lgamma_r(x, &sign);
#else
  return std::lgamma(x);
#endif
}

// Poisson by multiplying uniforms below 10, else by transformed rejection.  Source: W. Hoermann, "The transformed
// rejection method for generating Poisson random variables", Insurance: Math. and Econ. 12 (1993) 39-45.
inline std::int64_t poisson(Stream& stream, double lam) {
  if (lam == 0) return 0;
  if (lam < 10) {
    const double limit = std::exp(-lam);
    std::int64_t x = 0;
    for (double product = stream.uniform(); product > limit; product *= stream.uniform()) ++x;
    return x;
  }
  const double b = 0.931 + 2.53 * std::sqrt(lam);
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double v_r = 0.9277 - 3.6224 / (b - 2);
  while (true) {
    const double u = stream.uniform() - 0.5;
    const double v = stream.uniform();
    const double us = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / us + b) * u + lam + 0.43);
    if (us >= 0.07 && v <= v_r) return static_cast<std::int64_t>(k);
    if (k < 0 || (us < 0.013 && v > us)) continue;
    const double left = std::log(v) + std::log(inverse_alpha) - std::log(a / (us * us) + b);
    if (left <= -lam + k * std::log(lam) - log_gamma(k + 1)) return static_cast<std::int64_t>(k);
  }
}

// Standard gamma of shape < 1.  Source: J. Ahrens, U. Dieter, Computing 12 (1974) 223-246 (algorithm GS).
inline double small_gamma(Stream& stream, double shape) {
  while (true) {
    const double u = stream.uniform();
    const double v = exponential(stream);
    if (u <= 1.0 - shape) {
      const double x = std::pow(u, 1. / shape);
      if (x <= v) return x;
    } else {
      const double y = -std::log((1 - u) / shape);
      const double x = std::pow(1.0 - shape + shape * y, 1. / shape);
      if (x <= v + y) return x;
    }
  }
}

// Standard gamma.  Source for shape > 1: G. Marsaglia, W. Tsang, ACM TOMS 26 (2000) 363-372.
inline double standard_gamma(Stream& stream, double shape) {
  if (shape == 1.0) return exponential(stream);
  if (shape == 0.0) return 0.0;
  if (shape < 1.0) return small_gamma(stream, shape);
  const double b = shape - 1. / 3.;
  const double c = 1. / std::sqrt(9 * b);
  while (true) {
    double x = 0;
    double v = 0;
    do {
      x = stream.normal();
      v = 1.0 + c * x;
    } while (v <= 0.0);
    v = v * v * v;
    const double u = stream.uniform();
    if (u < 1.0 - 0.0331 * (x * x) * (x * x)) return b * v;
    if (std::log(u) < 0.5 * x * x + b * (1. - v + std::log(v))) return b * v;
  }
}

// Beta.  Source for a, b <= 1: M. Joehnk, Metrika 8 (1964) 5-15.
inline double beta(Stream& stream, double a, double b) {
  if (a > 1.0 || b > 1.0) {
    const double left = standard_gamma(stream, a);
    const double right = standard_gamma(stream, b);
    return left / (left + right);
  }
  while (true) {
    const double u = stream.uniform();
    const double v = stream.uniform();
    const double x = std::pow(u, 1.0 / a);
    const double y = std::pow(v, 1.0 / b);
    if (x + y > 1.0 || u + v <= 0.0) continue;
    if (x + y > 0) return x / (x + y);
    double log_x = std::log(u) / a;
    double log_y = std::log(v) / b;
    const double most = std::fmax(log_x, log_y);
    log_x -= most;
    log_y -= most;
    return std::exp(log_x - std::log(std::exp(log_x) + std::exp(log_y)));
  }
}

// Shuffles order[0 .. n-1] from the back.
inline void shuffle(Stream& stream, std::int64_t* order, std::int64_t n) {
  for (std::int64_t i = n - 1; i > 0; --i) {
    const auto j = static_cast<std::int64_t>(bounded(stream, static_cast<std::uint64_t>(i)));
    const std::int64_t kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
}

}  // namespace
}  // namespace scanlib
