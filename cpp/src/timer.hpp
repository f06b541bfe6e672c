// timer.hpp: the clock, and a stopwatch that does nothing when there is nothing to add to.
#pragma once

#include <chrono>
#include <cstdint>

#include "scanlib/profile.hpp"

namespace scanlib {

inline std::int64_t now_ns() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// Invariant: reads the clock only when `on`.
class Stopwatch {
 public:
  explicit Stopwatch(bool on) noexcept : on_(on), last_(on ? now_ns() : 0) {}

  // The time since the last reading.
  std::int64_t lap() noexcept {
    if (!on_) return 0;
    const std::int64_t before = last_;
    last_ = now_ns();
    return last_ - before;
  }

 private:
  bool on_;
  std::int64_t last_;
};

}  // namespace scanlib
