// random_test.cpp: published test vectors of both generators, and the moments of the distributions.
#include "scanlib/random.hpp"

#include <cmath>
#include <vector>

#include "check.hpp"
#include "scanlib/library.hpp"

using namespace scanlib;

TEST(random, mersenne_twister_words) {
  MersenneTwister stream;
  stream.seed(5489);  // the seed whose 10000th word the C++ standard fixes
  std::uint32_t word = 0;
  for (int i = 0; i < 10000; ++i) word = stream.next32();
  CHECK(word == 4123659995u);
}

TEST(random, state_survives_a_round_trip) {
  MersenneTwister stream;
  stream.seed(1);
  stream.normal();
  std::vector<std::uint32_t> state(mt_state_words);
  stream.save(state.data(), 1);
  MersenneTwister copy;
  copy.load(state.data(), 1);
  for (int i = 0; i < 1000; ++i) CHECK(stream.normal() == copy.normal());
}

TEST(random, philox_words) {
  const PhiloxBlock zeros = philox(0, 0, 0);
  CHECK(zeros.words[0] == 0x6627e8d5u && zeros.words[1] == 0xe169c58du);
  CHECK(zeros.words[2] == 0xbc57ac4cu && zeros.words[3] == 0x9b00dbd8u);
  const PhiloxBlock ones = philox(UINT64_MAX, UINT64_MAX, UINT64_MAX);
  CHECK(ones.words[0] == 0x408f276du && ones.words[3] == 0x6d5451fdu);
}

namespace {

struct Moments {
  double mean;
  double deviation;
};

// Draws 20000 numbers of a kernel with two parameters.
Moments moments(const char* name, double x, double y) {
  const bool counter = name[0] == 'p';
  std::vector<std::uint64_t> memory(400, 0);
  const std::int64_t state_dims[] = {counter ? philox_state_words : mt_state_words};
  const std::int64_t unit[] = {1};
  const std::int64_t none[] = {0};
  const std::int64_t size[] = {20000};
  std::int64_t seed = 7;
  std::vector<double> sample(20000);
  const Tensor state{memory.data(), counter ? DType::uint64 : DType::uint32, 1, state_dims, unit};
  const Tensor start[] = {{&seed, DType::int64, 0, nullptr, nullptr}, state};
  CHECK(find_library_kernel(counter ? "philox_seed" : "mt_seed")->function(start, 2, nullptr) == Status::ok);
  const Tensor operands[] = {state,
                             {&x, DType::float64, 1, size, none},
                             {&y, DType::float64, 1, size, none},
                             state,
                             {sample.data(), DType::float64, 1, size, unit}};
  CHECK(find_library_kernel(name)->function(operands, 5, nullptr) == Status::ok);
  double sum = 0;
  double squares = 0;
  for (const double value : sample) {
    sum += value;
    squares += value * value;
  }
  const double mean = sum / 20000;
  return {mean, std::sqrt(squares / 20000 - mean * mean)};
}

bool near(double value, double expected, double tolerance) { return std::fabs(value - expected) < tolerance; }

}  // namespace

TEST(random, distributions) {
  for (const char* name : {"mt_uniform", "philox_uniform"}) {
    const Moments m = moments(name, -1, 3);
    CHECK(near(m.mean, 1, 0.05) && near(m.deviation, 4 / std::sqrt(12.0), 0.03));
  }
  for (const char* name : {"mt_normal", "philox_normal"}) {
    const Moments m = moments(name, 2, 0.5);
    CHECK(near(m.mean, 2, 0.02) && near(m.deviation, 0.5, 0.02));
  }
  for (const char* name : {"mt_binomial", "philox_binomial"}) {
    for (const double n : {1.0, 20.0, 5000.0}) {
      const Moments m = moments(name, n, 0.3);
      const double deviation = std::sqrt(n * 0.21);
      CHECK(near(m.mean, 0.3 * n, 0.05 * deviation) && near(m.deviation, deviation, 0.05 * deviation));
    }
  }
  for (const char* name : {"mt_random_integers", "philox_random_integers"}) {
    const Moments m = moments(name, -3, 6);
    CHECK(near(m.mean, 1.5, 0.1) && near(m.deviation, std::sqrt(99 / 12.0), 0.05));
  }
}
