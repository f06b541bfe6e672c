// memory_test.cpp: the counting allocator.
#include "scanlib/memory.hpp"

#include <cstdint>
#include <cstring>

#include "check.hpp"
#include "idle_blocks.hpp"

using namespace scanlib;

TEST(memory, counts) {
  const std::int64_t before = allocated_bytes();
  const std::int64_t count = allocation_count();
  reset_peak_bytes();
  void* small = allocate(10);
  void* large = allocate(std::size_t{1} << 23);
  CHECK(reinterpret_cast<std::uintptr_t>(small) % alignment == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(large) % alignment == 0);
  CHECK(allocated_bytes() == before + 10 + (1 << 23));
  CHECK(allocation_count() == count + 2);
  std::memset(large, 1, std::size_t{1} << 23);
  release(small);
  release(large);
  release(nullptr);
  CHECK(allocated_bytes() == before);
  CHECK(peak_bytes() == before + 10 + (1 << 23));
  reset_peak_bytes();
  CHECK(peak_bytes() == before);
}

TEST(memory, refuses) {
  CHECK(allocate(SIZE_MAX) == nullptr);
  void* nothing = allocate(0);
  CHECK(nothing != nullptr);
  release(nothing);
}

TEST(memory, retain) {
  const std::int64_t before = allocated_bytes();
  constexpr std::size_t size = std::size_t{1} << 20, first = 5000, kept = 300000;
  auto* block = static_cast<unsigned char*>(allocate(size));
  std::memset(block, 7, size);
  if (retain(block, first, kept)) CHECK(allocated_bytes() == before + static_cast<std::int64_t>(kept));
  for (std::size_t i = first; i < first + kept; ++i) CHECK(block[i] == 7);
  release(block);
  CHECK(allocated_bytes() == before);
}

TEST(memory, idle_blocks) {
  IdleBlocks idle;
  constexpr std::size_t size = std::size_t{1} << 20;
  std::size_t asked = size;
  CHECK(idle.take(asked) == nullptr);
  void* first = allocate_block(size);
  void* second = allocate_block(size);
  CHECK(idle.keep(first, size) && idle.keep(second, size));
  // Neither too small nor much too large.
  for (const std::size_t other : {size + 1, size / 2}) {
    asked = other;
    CHECK(idle.take(asked) == nullptr && asked == other);
  }
  asked = size - size / 8;
  CHECK(idle.take(asked) == second && asked == size);
  CHECK(idle.take(asked) == first);
  CHECK(idle.take(asked) == nullptr);
  CHECK(!idle.keep(first, IdleBlocks::smallest - 1));
  CHECK(!idle.keep(first, IdleBlocks::most_bytes + 1));
  release_block(first);
  release_block(second);
}

TEST(memory, idle_blocks_are_bounded) {
  IdleBlocks idle;
  constexpr std::size_t size = IdleBlocks::most_bytes / 4;
  std::size_t asked = size;
  for (int i = 0; i < 6; ++i) CHECK(idle.keep(allocate_block(size), size));
  int kept = 0;
  for (void* block = idle.take(asked); block != nullptr; block = idle.take(asked)) {
    release_block(block);
    ++kept;
  }
  CHECK(kept == 4);
  for (int i = 0; i < 40; ++i) CHECK(idle.keep(allocate_block(IdleBlocks::smallest), IdleBlocks::smallest));
  idle.clear();
  asked = IdleBlocks::smallest;
  CHECK(idle.take(asked) == nullptr);
}

#if defined(SCANLIB_HOSTILE)
TEST(memory, poison) {
  auto* block = static_cast<unsigned char*>(allocate(100));
  for (int i = 0; i < 100; ++i) CHECK(block[i] == 0xCB);
  release(block);
}
#endif
