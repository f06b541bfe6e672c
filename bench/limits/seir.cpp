// The loop of seir.py, by hand.
#include <cmath>
#include <cstdint>

static inline double probability(double k, double n, double p) {
  const double ways = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
  return ways + k * std::log(p) + (n - k) * std::log(1 - p);
}

extern "C" void seir(const double* c, const double* d, int64_t days, double s, double e, double i, double beta,
                     double gamma, double delta, double people, double* out) {
  double total = 0;
  for (int64_t t = 0; t < days; ++t) {
    const double exposed = beta * s * i / people;
    total += probability(c[t], e, gamma) + probability(d[t], i, delta);
    s -= exposed;
    e += exposed - c[t];
    i += c[t] - d[t];
  }
  *out = total;
}
