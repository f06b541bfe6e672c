// The loops of tridiagonal.py, by hand.
#include <cstdint>

extern "C" void thomas(int64_t n, const double* a, const double* b, const double* c, const double* d, double* above,
                       double* x) {
  double p = 0, q = 0;
  for (int64_t t = 0; t < n; ++t) {
    const double pivot = b[t] - a[t] * p;
    above[t] = p = c[t] / pivot;
    x[t] = q = (d[t] - a[t] * q) / pivot;
  }
  for (int64_t t = n - 2; t >= 0; --t) x[t] -= above[t] * x[t + 1];
}
