// The loops of linear.py, by hand.
#include <algorithm>
#include <cstdint>

#include "threads.hpp"

extern "C" void scalar(const double* u, int64_t n, double a, double* out) {
  double x = 0;
  for (int64_t t = 0; t < n; ++t) out[t] = x = a * x + u[t];
}

extern "C" void scalar_gradient(const double* u, int64_t n, double a, double* x, double* du, double* sums) {
  double state = 0, value = 0, slope = 0, da = 0;
  for (int64_t t = 0; t < n; ++t) {
    x[t] = state = a * state + u[t];
    value += state * state;
  }
  for (int64_t t = n - 1; t >= 0; --t) {
    du[t] = slope = 2 * x[t] + a * slope;
    da += slope * (t ? x[t - 1] : 0);
  }
  sums[0] = value;
  sums[1] = da;
}

extern "C" void diagonal(const float* u, int64_t n, int64_t lanes, const float* a, int64_t threads, float* out) {
  split(lanes, threads, [=](int64_t first, int64_t last) {
    std::copy(u + first, u + last, out + first);
    for (int64_t t = 1; t < n; ++t)
      for (int64_t i = first; i < last; ++i)
        out[t * lanes + i] = a[i] * out[(t - 1) * lanes + i] + u[t * lanes + i];
  });
}
