// flags: -ffast-math
// The loop of hmm.py, by hand, for a number of states known to the compiler.
#include <cmath>
#include <cstdint>

template <int K>
static void hmm(int64_t n, const int64_t* y, const double* transition, const double* emission, const double* first,
                double* out) {
  double p[K], q[K], total = 0;
  for (int j = 0; j < K; ++j) p[j] = first[j];
  for (int64_t t = 0; t < n; ++t) {
    const double* e = emission + y[t] * K;
    for (int j = 0; j < K; ++j) q[j] = 0;
    for (int i = 0; i < K; ++i)
      for (int j = 0; j < K; ++j) q[j] += p[i] * transition[i * K + j];
    double mass = 0;
    for (int j = 0; j < K; ++j) mass += q[j] *= e[j];
    const double scale = 1 / mass;
    for (int j = 0; j < K; ++j) p[j] = q[j] * scale;
    total += std::log(mass);
  }
  *out = total;
}

extern "C" void hmm16(int64_t n, const int64_t* y, const double* a, const double* e, const double* p, double* out) {
  hmm<16>(n, y, a, e, p, out);
}

extern "C" void hmm64(int64_t n, const int64_t* y, const double* a, const double* e, const double* p, double* out) {
  hmm<64>(n, y, a, e, p, out);
}
