// random.hpp: the two random streams.
//
// MersenneTwister is MT19937 with the state of numpy.random.RandomState, as a uint32[628] tensor:
//   0..623 key words, 624 position in the key, 625 whether a second normal is waiting, 626..627 that normal (the
//   bytes of a double).
// Source: M. Matsumoto, T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998) 3-30.
//
// Philox is Philox4x32-10, counter based; its state is a uint64[4] tensor: key, counter, stream, 0.  The block of
// counter c and stream s is the cipher of the four words (c low, c high, s low, s high).  Sample number i of a call
// uses the block of counter state.counter + i / 2 and of it words 2 (i mod 2) and 2 (i mod 2) + 1; afterwards
// the counter has moved by the number of blocks touched.  So samples may be drawn in any order, by any thread.
// Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
#pragma once

#include <cstdint>

namespace scanlib {

constexpr int mt_state_words = 628;
constexpr int philox_state_words = 4;

class MersenneTwister {
 public:
  static constexpr int words = 624;

  void seed(std::uint32_t seed) noexcept;
  void load(const std::uint32_t* state, std::int64_t stride) noexcept;
  void save(std::uint32_t* state, std::int64_t stride) const noexcept;

  std::uint32_t next32() noexcept {
    if (position_ >= words) refill();
    std::uint32_t word = key_[position_++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
  }

  std::uint64_t next64() noexcept {
    const std::uint64_t high = next32();
    return high << 32 | next32();
  }

  // In [0, 1), 53 bits.
  double uniform() noexcept {
    const std::uint32_t high = next32() >> 5;
    const std::uint32_t low = next32() >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
  }

  // Standard normal by the polar method; of each pair the second drawn is returned first.
  double normal() noexcept;

 private:
  void refill() noexcept;

  std::uint32_t key_[words];
  std::uint32_t position_ = words;
  bool waiting_ = false;
  double normal_ = 0;
};

struct PhiloxBlock {
  std::uint32_t words[4];
};

inline PhiloxBlock philox(std::uint64_t key, std::uint64_t counter, std::uint64_t stream) noexcept {
  PhiloxBlock block{{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                     static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}};
  std::uint32_t* w = block.words;
  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * w[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * w[2];
    const std::uint32_t mixed0 = static_cast<std::uint32_t>(product1 >> 32) ^ w[1] ^ key0;
    const std::uint32_t mixed2 = static_cast<std::uint32_t>(product0 >> 32) ^ w[3] ^ key1;
    w[0] = mixed0;
    w[1] = static_cast<std::uint32_t>(product1);
    w[2] = mixed2;
    w[3] = static_cast<std::uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return block;
}

// The 64-bit word of lane 0 or 1 of a block, and the uniform number in [0, 1) made of its upper 53 bits.
inline std::uint64_t philox_word(const PhiloxBlock& block, int lane) noexcept {
  return block.words[2 * lane] | std::uint64_t{block.words[2 * lane + 1]} << 32;
}

inline double philox_unit(std::uint64_t word) noexcept { return static_cast<double>(word >> 11) * 0x1p-53; }

}  // namespace scanlib
