// step_abi.hpp: the one C signature of all compiled kernels, and the reserved front of the dims table.
#pragma once

#include <cstdint>

namespace scanlib {

// buffers: base pointers, one per buffer of the plan.  dims: the dims table.  [start, stop): the steps to run
// (0, 1 outside of a loop).  [lane_start, lane_stop): the lanes to run, for calls with a lanes_slot, which may run
// ranges of lanes at once on several threads, each with a copy of the dims table of its own; (0, all_lanes) for
// other calls, which do not look at it.  Returns 0, or a check id >= 1 after writing the report slots below.
using KernelFunction = std::int64_t (*)(void** buffers, std::int64_t* dims, std::int64_t start, std::int64_t stop,
                                        std::int64_t lane_start, std::int64_t lane_stop);

constexpr std::int64_t all_lanes = INT64_MAX;

// Reserved slots of the dims table.
constexpr int reserved_slots = 8;
constexpr int report_step_slot = 0;   // the failing step of a native loop; -1 when it is not known
constexpr int report_value_slot = 1;  // first of three offending values
constexpr int report_values = 3;
constexpr int seat_slot =
    4;  // the address of a thread's Seat (meeting.hpp) while it runs columns of a kernel, else 0

}  // namespace scanlib
