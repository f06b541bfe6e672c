// cpu.cpp: which instruction set the matrix kernels use on this machine.
#include <cstdlib>
#include <cstring>

#include "scanlib/library.hpp"

namespace scanlib {
namespace {

enum Level { baseline, avx2, avx512 };
constexpr const char* level_names[] = {"baseline", "avx2", "avx512"};

Level detect() noexcept {
  Level level = baseline;
#if defined(SCANLIB_X86_VARIANTS)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = avx2;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (level == avx2 && wide) level = avx512;
#endif
  const char* wanted = std::getenv("SCANLIB_INSTRUCTION_SET");
  if (wanted == nullptr) return level;
  for (int i = 0; i < level; ++i) {
    if (std::strcmp(wanted, level_names[i]) == 0) return static_cast<Level>(i);
  }
  return level;
}

}  // namespace

const char* instruction_set() noexcept {
  static const Level level = detect();
  return level_names[level];
}

}  // namespace scanlib
