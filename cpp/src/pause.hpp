// pause.hpp: what a thread does between two looks at something another thread will change.
#pragma once

namespace scanlib {
namespace {

inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace
}  // namespace scanlib
