// symbols.cpp: scalar functions with C linkage and double/float signatures that compiled kernels may call.
//
// SCANLIB_UNARY(name, function) makes scanlib_<name>_f64 and scanlib_<name>_f32 from a double function; float32
// versions compute in double where the float function of the C library is less exact or missing.
#include <cmath>
#include <limits>

#include "kernels/tables.hpp"
#include "scanlib/library.hpp"

namespace {

constexpr double pi = 3.14159265358979323846;

// Digamma: upward recurrence to x >= 6, then the asymptotic series (Abramowitz & Stegun 6.3.18); reflection for
// negative x (6.3.7).
double digamma(double x) {
  if (std::isnan(x) || x == std::numeric_limits<double>::infinity()) return x;
  if (x <= 0 && x == std::floor(x)) return x == 0 ? std::copysign(HUGE_VAL, -x) : std::nan("");
  if (x < 0) return digamma(1 - x) - pi / std::tan(pi * (x - std::floor(x)));
  double shift = 0;
  while (x < 10) shift -= 1 / x++;
  const double y = 1 / (x * x);
  const double series =
      y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760))))));
  return shift + std::log(x) - 0.5 / x - series;
}

// Trigamma: the same with 6.4.12 and 6.4.7.
double trigamma(double x) {
  if (std::isnan(x)) return x;
  if (x <= 0 && x == std::floor(x)) return HUGE_VAL;
  if (x < 0) {
    const double sine = std::sin(pi * (x - std::floor(x)));
    return pi * pi / (sine * sine) - trigamma(1 - x);
  }
  double shift = 0;
  for (; x < 10; ++x) shift += 1 / (x * x);
  const double y = 1 / (x * x);
  const double series =
      1.0 / 6 -
      y * (1.0 / 30 - y * (1.0 / 42 - y * (1.0 / 30 - y * (5.0 / 66 - y * (691.0 / 2730 - y * (7.0 / 6))))));
  return shift + 1 / x + y / 2 + y / x * series;
}

// Inverse error function: a first guess (Winitzki 2008, about three digits) refined by Halley steps on erf, or on
// erfc near the ends where 1 - |x| has lost no digits.
double erf_inverse_from(double x, double complement) {
  if (std::isnan(x) || complement < 0 || complement > 2) return std::nan("");
  if (complement == 0) return HUGE_VAL;
  if (complement == 2) return -HUGE_VAL;
  if (x == 0) return 0;
  constexpr double a = 0.147;
  const double logarithm = std::log(complement) + std::log(2 - complement);
  const double b = 2 / (pi * a) + logarithm / 2;
  double y = std::copysign(std::sqrt(std::sqrt(b * b - logarithm / a) - b), x);
  for (int i = 0; i < 4; ++i) {
    double error = std::erf(y) - x;
    if (complement < 0.5) error = complement - std::erfc(y);
    if (complement > 1.5) error = std::erfc(-y) - (2 - complement);
    const double step = error / (2 / std::sqrt(pi) * std::exp(-y * y));
    if (!std::isfinite(step)) break;
    y -= step / (1 + y * step);
  }
  return y;
}

double erfinv(double x) { return erf_inverse_from(x, 1 - x); }
double erfcinv(double x) { return erf_inverse_from(1 - x, x); }

// lgamma writes a global sign; the re-entrant version does not.
double log_gamma(double x) {
#if defined(__linux__) || defined(__APPLE__)
  int sign = 0;
  return ::lgamma_r(x, &sign);
#else
  return std::lgamma(x);
#endif
}

double i0(double x) { return std::cyl_bessel_i(0.0, std::fabs(x)); }
double i1(double x) { return std::copysign(1.0, x) * std::cyl_bessel_i(1.0, std::fabs(x)); }

}  // namespace

#define SCANLIB_UNARY_ROWS(ROW) \
  ROW(gamma, std::tgamma)       \
  ROW(lgamma, log_gamma)        \
  ROW(digamma, digamma)         \
  ROW(trigamma, trigamma)       \
  ROW(erf, std::erf)            \
  ROW(erfc, std::erfc)          \
  ROW(erfinv, erfinv)           \
  ROW(erfcinv, erfcinv)         \
  ROW(j0, ::j0)                 \
  ROW(j1, ::j1)                 \
  ROW(i0, i0)                   \
  ROW(i1, i1)                   \
  ROW(exp, std::exp)            \
  ROW(exp2, std::exp2)          \
  ROW(expm1, std::expm1)        \
  ROW(log, std::log)            \
  ROW(log2, std::log2)          \
  ROW(log10, std::log10)        \
  ROW(log1p, std::log1p)        \
  ROW(cbrt, std::cbrt)          \
  ROW(sin, std::sin)            \
  ROW(cos, std::cos)            \
  ROW(tan, std::tan)            \
  ROW(asin, std::asin)          \
  ROW(acos, std::acos)          \
  ROW(atan, std::atan)          \
  ROW(sinh, std::sinh)          \
  ROW(cosh, std::cosh)          \
  ROW(tanh, std::tanh)          \
  ROW(asinh, std::asinh)        \
  ROW(acosh, std::acosh)        \
  ROW(atanh, std::atanh)

#define SCANLIB_BINARY_ROWS(ROW) \
  ROW(pow, std::pow)             \
  ROW(atan2, std::atan2)         \
  ROW(hypot, std::hypot)         \
  ROW(fmod, std::fmod)           \
  ROW(nextafter, std::nextafter)

#define SCANLIB_UNARY(name, function)                                                       \
  static double scanlib_##name##_f64(double x) { return static_cast<double>(function(x)); } \
  static float scanlib_##name##_f32(float x) { return static_cast<float>(function(static_cast<float>(x))); }
#define SCANLIB_BINARY(name, function)                                                                   \
  static double scanlib_##name##_f64(double x, double y) { return static_cast<double>(function(x, y)); } \
  static float scanlib_##name##_f32(float x, float y) { return static_cast<float>(function(x, y)); }

extern "C" {
SCANLIB_UNARY_ROWS(SCANLIB_UNARY)
SCANLIB_BINARY_ROWS(SCANLIB_BINARY)
}

namespace scanlib {

#define SCANLIB_ROW(name, function)                                          \
  {"scanlib_" #name "_f64", reinterpret_cast<void*>(&scanlib_##name##_f64)}, \
      {"scanlib_" #name "_f32", reinterpret_cast<void*>(&scanlib_##name##_f32)},

const std::vector<LibrarySymbol>& library_symbols() {
  static const std::vector<LibrarySymbol> symbols = [] {
    std::vector<LibrarySymbol> all = {SCANLIB_UNARY_ROWS(SCANLIB_ROW) SCANLIB_BINARY_ROWS(SCANLIB_ROW)};
    append_linalg_symbols(all);
    return all;
  }();
  return symbols;
}

}  // namespace scanlib
