// The loop of filters.py, by hand.
#include <cstdint>

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
