// random.cpp: MT19937, from its recurrence.
#include "scanlib/random.hpp"

#include <cmath>
#include <cstring>

namespace scanlib {

void MersenneTwister::seed(std::uint32_t seed) noexcept {
  key_[0] = seed;
  for (std::uint32_t i = 1; i < words; ++i) key_[i] = 1812433253u * (key_[i - 1] ^ (key_[i - 1] >> 30)) + i;
  position_ = words;
  waiting_ = false;
  normal_ = 0;
}

void MersenneTwister::load(const std::uint32_t* state, std::int64_t stride) noexcept {
  std::uint32_t halves[2];
  for (int i = 0; i < words; ++i) key_[i] = state[i * stride];
  position_ = state[words * stride];
  waiting_ = state[(words + 1) * stride] != 0;
  for (int i = 0; i < 2; ++i) halves[i] = state[(words + 2 + i) * stride];
  std::memcpy(&normal_, halves, sizeof normal_);
}

void MersenneTwister::save(std::uint32_t* state, std::int64_t stride) const noexcept {
  std::uint32_t halves[2];
  std::memcpy(halves, &normal_, sizeof normal_);
  for (int i = 0; i < words; ++i) state[i * stride] = key_[i];
  state[words * stride] = position_;
  state[(words + 1) * stride] = waiting_ ? 1 : 0;
  for (int i = 0; i < 2; ++i) state[(words + 2 + i) * stride] = halves[i];
}

void MersenneTwister::refill() noexcept {
  constexpr int middle = 397;
  for (int i = 0; i < words; ++i) {
    const std::uint32_t joined = (key_[i] & 0x80000000u) | (key_[(i + 1) % words] & 0x7fffffffu);
    key_[i] = key_[(i + middle) % words] ^ (joined >> 1) ^ ((joined & 1u) != 0 ? 0x9908b0dfu : 0u);
  }
  position_ = 0;
}

double MersenneTwister::normal() noexcept {
  if (waiting_) {
    waiting_ = false;
    const double value = normal_;
    normal_ = 0;
    return value;
  }
  double x = 0;
  double y = 0;
  double square = 0;
  do {
    x = 2 * uniform() - 1;
    y = 2 * uniform() - 1;
    square = x * x + y * y;
  } while (square >= 1 || square == 0);
  const double factor = std::sqrt(-2 * std::log(square) / square);
  normal_ = factor * x;
  waiting_ = true;
  return factor * y;
}

}  // namespace scanlib
