// The loop of garch.py, by hand.
#include <cstdint>

extern "C" void garch(const double* r, int64_t n, double w, double a, double b, double x, double* out) {
  for (int64_t t = 0; t < n; ++t) {
    x = w + a * r[t] * r[t] + b * x;
    out[t] = x;
  }
}
