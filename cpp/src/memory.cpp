// memory.cpp: the counting allocator.  Each block starts with one aligned header that stores its size.
#include "scanlib/memory.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "idle_blocks.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace scanlib {
namespace {

constexpr std::size_t huge_page_threshold = std::size_t{1} << 22;
constexpr std::size_t huge_page = std::size_t{1} << 21;
constexpr int poison_byte = 0xCB;

struct Header {
  std::size_t bytes;  // asked for
  std::size_t whole;  // of the block
};
static_assert(sizeof(Header) <= alignment);

IdleBlocks idle_blocks;
std::atomic<std::int64_t> live_bytes{0};
std::atomic<std::int64_t> most_bytes{0};
std::atomic<std::int64_t> allocations{0};

void count(std::size_t bytes) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const auto size = static_cast<std::int64_t>(bytes);
  const std::int64_t now = live_bytes.fetch_add(size, std::memory_order_relaxed) + size;
  std::int64_t most = most_bytes.load(std::memory_order_relaxed);
  while (now > most && !most_bytes.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
  }
}

#if defined(__linux__)
// The whole pages of [first, last).
bool drop_pages(std::uintptr_t first, std::uintptr_t last) noexcept {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  first = (first + page - 1) / page * page;
  last = last / page * page;
  return first >= last || madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED) == 0;
}
#endif

// Traces are written once from front to back: large pages save most of their page faults.
void advise_huge_pages([[maybe_unused]] char* block, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes < huge_page_threshold) return;
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  const std::uintptr_t first = (address + huge_page - 1) / huge_page * huge_page;
  const std::uintptr_t last = (address + bytes) / huge_page * huge_page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace

void* allocate_block(std::size_t bytes) noexcept {
  void* block = ::operator new(bytes, std::align_val_t{alignment}, std::nothrow);
  if (block != nullptr) advise_huge_pages(static_cast<char*>(block), bytes);
  return block;
}

void release_block(void* block) noexcept { ::operator delete(block, std::align_val_t{alignment}); }

void* allocate(std::size_t bytes) noexcept {
  if (bytes > PTRDIFF_MAX - 2 * alignment) return nullptr;
  std::size_t whole = alignment + round_up(bytes);
  void* block = idle_blocks.take(whole);
  if (block == nullptr) block = allocate_block(whole);
  if (block == nullptr) {
    idle_blocks.clear();
    block = allocate_block(whole);
  }
  if (block == nullptr) return nullptr;
  *static_cast<Header*>(block) = Header{bytes, whole};
  count(bytes);
  void* memory = static_cast<char*>(block) + alignment;
  poison(memory, bytes);
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  void* block = static_cast<char*>(memory) - alignment;
  const Header header = *static_cast<Header*>(block);
  poison(memory, header.bytes);
  live_bytes.fetch_sub(static_cast<std::int64_t>(header.bytes), std::memory_order_relaxed);
#if defined(SCANLIB_HOSTILE)
  release_block(block);  // for the sanitizers to see who uses it afterwards
#else
  if (!idle_blocks.keep(block, header.whole)) release_block(block);
#endif
}

bool retain([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t first,
            [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__)
  const auto start = reinterpret_cast<std::uintptr_t>(memory);
  auto& header = *reinterpret_cast<Header*>(static_cast<char*>(memory) - alignment);
  if (!drop_pages(start, start + first) || !drop_pages(start + first + bytes, start + header.bytes)) return false;
  live_bytes.fetch_sub(static_cast<std::int64_t>(header.bytes - bytes), std::memory_order_relaxed);
  header.bytes = bytes;
  return true;
#else
  return false;
#endif
}

void poison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(SCANLIB_HOSTILE)
  std::memset(memory, poison_byte, bytes);
#else
  (void)poison_byte;
#endif
}

std::int64_t allocated_bytes() noexcept { return live_bytes.load(std::memory_order_relaxed); }
std::int64_t peak_bytes() noexcept { return most_bytes.load(std::memory_order_relaxed); }
void reset_peak_bytes() noexcept { most_bytes.store(allocated_bytes(), std::memory_order_relaxed); }
std::int64_t allocation_count() noexcept { return allocations.load(std::memory_order_relaxed); }

}  // namespace scanlib
