// lanes.hpp: into how many ranges independent lanes, steps or rows of a loop are cut, one for each thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace scanlib {

constexpr std::int64_t lane_grain = 64;  // lanes of a range are multiples of this
constexpr std::int64_t row_grain = 8;    // and rows of this: what products of matrices compute at once
// Arithmetic operations from which a range is worth a thread (about a microsecond; see docs/decisions.md).
constexpr std::int64_t work_of_part = 1 << 16;

// `lanes` in units of `grain`, `work` arithmetic operations in all.
inline int lane_parts(std::int64_t lanes, std::int64_t grain, std::int64_t work, int threads) noexcept {
  const std::int64_t units = (lanes + grain - 1) / grain;
  const std::int64_t parts = std::min({units, work / work_of_part, static_cast<std::int64_t>(threads)});
  return static_cast<int>(std::max<std::int64_t>(parts, 1));
}

}  // namespace scanlib
