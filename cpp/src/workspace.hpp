// workspace.hpp: everything one call of an executable writes to: buffer table, dims table, arena, failure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "pace.hpp"
#include "scanlib/error.hpp"
#include "scanlib/executor.hpp"
#include "scanlib/plan.hpp"

namespace scanlib {

// A bump allocator for small buffers; it lives as long as its workspace, so that a warm call allocates nothing.
class Arena {
 public:
  Arena() noexcept = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  // nullptr when it does not fit.
  void* take(std::size_t bytes) noexcept;
  void reset() noexcept { used_ = 0; }

 private:
  static constexpr std::size_t size = std::size_t{1} << 16;
  char* memory_ = nullptr;
  std::size_t used_ = 0;
};

// What one thread works with: where the buffers are, a dims table, room for the operands of a library call, and why
// it failed.
struct Part {
  void** pointers = nullptr;
  std::int64_t* dims = nullptr;
  std::vector<Tensor> tensors;
  std::vector<std::int64_t> tensor_dims;
  Failure failure;

  std::int64_t dim(int slot) const noexcept { return dims[slot]; }
  // The elements before the first one of a view; no_slot stands for zero.
  std::int64_t offset(int slot) const noexcept { return slot == no_slot ? 0 : dim(slot); }
  // Always false, for the caller to return.
  bool fail(FailureKind kind, std::int64_t code, const char* instruction) noexcept;
};

class Workspace {
 public:
  explicit Workspace(const Plan& plan);
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { end(); }

  // Fills the tables for a new call.
  void begin(const Plan& plan, const InputView* inputs) noexcept;
  // Frees all buffers that were not given away.
  void end() noexcept;

  // Makes `buffer` live with at least `bytes` bytes.  A live buffer only grows, and loses its content when it
  // does.  False (and a failure) without memory.
  bool reserve(int buffer, std::int64_t bytes) noexcept;
  void drop(int buffer) noexcept;
  // Parts of work for several threads, each with a copy of the dims table: as many as this call may use.
  int part_count() const noexcept { return part_count_; }
  Part& part(int number) noexcept { return parts_[static_cast<std::size_t>(number)]; }
  // The part, its tables as those of `whole`, whose buffers it shares.
  Part& fresh_part(int number, const Part& whole) noexcept;
  // Parts for blocks that lie beside each other in time, of even and odd number: with tables of their own, both as
  // those of the call.
  Part& fresh_side(int number) noexcept;
  // The dims table of the call becomes that of the part.
  void take_dims(const Part& part) noexcept { std::copy_n(part.dims, dims_.size(), dims_.begin()); }
  // The heap block behind a live buffer, now owned by the caller; nullptr if it is not on the heap.
  void* give_away(int buffer) noexcept;
  void take_back(int buffer) noexcept { blocks_[static_cast<std::size_t>(buffer)].source = Source::heap; }
  std::size_t capacity(int buffer) const noexcept { return blocks_[static_cast<std::size_t>(buffer)].capacity; }

  // What the thread of the call itself works with.
  Part& main() noexcept { return main_; }
  const Failure& failure() const noexcept { return main_.failure; }
  bool fail(FailureKind kind, std::int64_t code, const char* instruction) noexcept {
    return main_.fail(kind, code, instruction);
  }

  void** pointers() noexcept { return pointers_.data(); }
  std::int64_t* dims() noexcept { return dims_.data(); }
  std::int64_t dim(int slot) const noexcept { return dims_[static_cast<std::size_t>(slot)]; }
  std::int64_t offset(int slot) const noexcept { return main_.offset(slot); }
  void* pointer(int buffer) const noexcept { return pointers_[static_cast<std::size_t>(buffer)]; }
  DType dtype(int buffer) const noexcept { return kinds_[static_cast<std::size_t>(buffer)].dtype; }
  int bytes_slot(int buffer) const noexcept { return kinds_[static_cast<std::size_t>(buffer)].bytes_slot; }
  int itemsize(int buffer) const noexcept { return kinds_[static_cast<std::size_t>(buffer)].itemsize; }

  // How loop number `number` is best run, as far as calls with this workspace have found out.
  Pace& pace(int number) noexcept { return paces_[static_cast<std::size_t>(number)]; }

  InterruptHook interrupt;
  std::int64_t last_poll = 0;  // steady clock, ns; 0 before the first poll
  std::int64_t peak_bytes = 0;
  std::vector<std::int64_t> output_dims;  // dims of all outputs, one after the other
  std::vector<std::size_t> output_start;  // where those of each output start

 private:
  // Invariant: pointer != nullptr exactly while the buffer is live, except for buffers given away.  An arena
  // block stays with its buffer after a release (parked), so that allocating again inside a loop is free.
  enum class Source : std::uint8_t { none, external, arena, heap, given_away };
  struct Block {
    void* memory = nullptr;
    std::size_t capacity = 0;
    Source source = Source::none;
  };

  // What the walk needs to know of a buffer, side by side.
  struct Kind {
    DType dtype;
    int itemsize;
    int bytes_slot;
  };

  void free_block(Block& block) noexcept;
  void make_sides();
  void make_parts() noexcept;
  // Whole cache lines, so that no two threads write to the same one.
  std::ptrdiff_t part_dims_size() const noexcept {
    return static_cast<std::ptrdiff_t>((dims_.size() + 15) / 8 * 8);
  }

  std::vector<void*> pointers_;
  std::vector<std::int64_t> dims_;
  Part main_;
  std::vector<std::int64_t> part_dims_;
  std::vector<Part> parts_;
  int part_count_ = 1;  // the threads of this call, if it has lanes or rows to spread
  bool has_parts_ = false;
  Part sides_[2];  // if the blocks of any loop may overlap
  std::vector<void*> side_pointers_;
  std::vector<std::int64_t> side_dims_;
  std::vector<Pace> paces_;
  std::vector<Block> blocks_;
  std::vector<Kind> kinds_;
  Arena arena_;
  std::int64_t live_bytes_ = 0;
};

}  // namespace scanlib
