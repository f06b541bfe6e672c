// pace.hpp: which of two ways to run a loop takes less time here and now, found by trying both.
#pragma once

#include <algorithm>
#include <cstdint>

namespace scanlib {

// Results never depend on the way, only time does.  Which way is faster changes while a process runs: with the
// sizes of what it computes, and with how fast cores exchange what they write.
class Pace {
 public:
  // The way to go next, 0 or 1.
  int choose() noexcept {
    if (tries_[0] < trials || tries_[1] < trials) return tries_[1] < tries_[0] ? 1 : 0;
    const int faster = ns_[1] < ns_[0] ? 1 : 0;
    const bool close = ns_[1 - faster] < 1.5 * ns_[faster];
    return ++turns_ % (close ? 16 : 256) == 0 ? 1 - faster : faster;
  }

  // What a step took that way, in ns.
  void record(int way, double ns) noexcept {
    // The first time is one of cold caches and sleeping threads.
    const double weight = tries_[way] < trials ? 1 : 0.25;
    if (tries_[way] < trials) ++tries_[way];
    // One interruption must not spoil what is known.
    const double most = tries_[way] < trials ? ns : std::max(ns_[way], 1.0) * 2;
    ns_[way] += weight * (std::min(ns, most) - ns_[way]);
  }

 private:
  static constexpr int trials = 2;
  double ns_[2] = {0, 0};
  int tries_[2] = {0, 0};
  std::uint32_t turns_ = 0;
};

}  // namespace scanlib
