// The loops of filters.py, by hand.
#include <algorithm>
#include <cstdint>

#include "threads.hpp"

extern "C" void biquad(const double* u, int64_t n, const double* s, double* out) {
  double p1 = 0, p2 = 0, q1 = 0, q2 = 0;
  const double b0 = s[0], b1 = s[1], b2 = s[2], a1 = s[3], a2 = s[4];
  const double c0 = s[5], c1 = s[6], c2 = s[7], d1 = s[8], d2 = s[9];
  for (int64_t t = 0; t < n; ++t) {
    const double v = b0 * u[t] + p1;
    p1 = b1 * u[t] - a1 * v + p2;
    p2 = b2 * u[t] - a2 * v;
    const double y = c0 * v + q1;
    q1 = c1 * v - d1 * y + q2;
    q2 = c2 * v - d2 * y;
    out[t] = y;
  }
}

extern "C" void scalar(const double* u, int64_t n, double* out) {
  double x = 0;
  for (int64_t t = 0; t < n; ++t) out[t] = x = 0.95 * x + u[t];
}

extern "C" void diagonal(const float* u, int64_t n, int64_t lanes, int64_t threads, float* out) {
  split(lanes, threads, [=](int64_t first, int64_t last) {
    std::copy(u + first, u + last, out + first);
    for (int64_t t = 1; t < n; ++t)
      for (int64_t i = first; i < last; ++i)
        out[t * lanes + i] = 0.95f * out[(t - 1) * lanes + i] + u[t * lanes + i];
  });
}
