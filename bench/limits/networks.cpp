// The machine's peak rate of float multiply-adds: independent chains in vector registers, one loop per thread.
#include <cstdint>

#include "threads.hpp"

#if defined(__AVX512F__)
typedef float Vector __attribute__((vector_size(64)));
#elif defined(__AVX__)
typedef float Vector __attribute__((vector_size(32)));
#else
typedef float Vector __attribute__((vector_size(16)));
#endif

static constexpr int CHAINS = 12;  // more than a multiply-add takes cycles, and few enough for 16 registers
static constexpr int LANES = sizeof(Vector) / sizeof(float);

extern "C" void products(int64_t multiplications, int64_t threads) {
  split(multiplications, threads, [](int64_t first, int64_t last) {
    volatile float source = 0.5f;
    const Vector factor = Vector{} + source;
    Vector sums[CHAINS];
    for (int i = 0; i < CHAINS; ++i) sums[i] = factor * float(i);  // unequal, or one chain would do for all
    for (int64_t left = last - first; left > 0; left -= CHAINS * LANES) {
#pragma GCC unroll 12
      for (int i = 0; i < CHAINS; ++i) sums[i] = sums[i] * factor + factor;
    }
    Vector total{};
    for (const Vector& sum : sums) total += sum;
    source = total[0];
  });
}
