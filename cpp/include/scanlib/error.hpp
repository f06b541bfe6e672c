// error.hpp: the two error channels of the core: Failure (what a call reports) and InternalError (a broken plan).
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace scanlib {

// What a library kernel returns.
enum class Status : std::int64_t {
  ok = 0,
  singular = 1,               // an exactly singular matrix where a regular one is needed
  not_positive_definite = 2,  // Cholesky factorization impossible
  not_converged = 3,          // an iterative factorization gave up
  shape_mismatch = 4,         // operand shapes do not fit each other
  bad_parameter = 5,          // a parameter of a random distribution is out of its domain
  bad_dtype = 6,              // the kernel does not exist for these dtypes
  out_of_memory = 7,
};

// A mistake of scanlib itself, never of its user.  Thrown only at the outer boundary (building an Executable).
class InternalError : public std::logic_error {
 public:
  explicit InternalError(const std::string& what)
      : std::logic_error("internal error in the scanlib core: " + what) {}
};

enum class FailureKind { none, check, library, memory, steps, interrupted, internal };

const char* name_of(FailureKind kind) noexcept;
const char* name_of(Status status) noexcept;

// Where a failure happened: one entry per loop, outermost first.  step is -1 when it is not known (an instruction
// that treats a whole block at once).
struct LoopPosition {
  std::string loop;
  std::int64_t step;
};

struct Failure {
  FailureKind kind = FailureKind::none;
  std::int64_t code = 0;  // check id, Status, or bytes asked for
  std::array<std::int64_t, 3> values{};
  std::vector<LoopPosition> path;
  std::string instruction;

  explicit operator bool() const noexcept { return kind != FailureKind::none; }
};

}  // namespace scanlib
