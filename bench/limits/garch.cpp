// The loops of garch.py, by hand; derivatives go forward, along with x.
#include <cmath>
#include <cstdint>

extern "C" void garch(const double* r, int64_t n, double w, double a, double b, double x, double* out) {
  for (int64_t t = 0; t < n; ++t) {
    x = w + a * r[t] * r[t] + b * x;
    out[t] = x;
  }
}

extern "C" void value_and_gradient(const double* r, int64_t n, double w, double a, double b, double x,
                                   double* out) {
  double value = 0, dw = 0, da = 0, db = 0, xw = 0, xa = 0, xb = 0;
  for (int64_t t = 0; t < n; ++t) {
    const double square = r[t] * r[t];
    xw = 1 + b * xw;
    xa = square + b * xa;
    xb = x + b * xb;
    x = w + a * square + b * x;
    const double inverse = 1 / x, ratio = square * inverse, slope = (1 - ratio) * inverse;
    value += std::log(x) + ratio;
    dw += slope * xw;
    da += slope * xa;
    db += slope * xb;
  }
  out[0] = value;
  out[1] = dw;
  out[2] = da;
  out[3] = db;
}
