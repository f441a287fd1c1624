// Waiting for something that comes in microseconds without giving up the core.
#pragma once

namespace coppice::base {

// A few microseconds in which the core's other thread, if it has one, runs faster.
inline void spin_a_little() {
  constexpr int kPauses = 64;  // about 1 to 3 us at 40 to 140 cycles a pause; computed, not measured
  for (int i = 0; i < kPauses; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
  }
}

}  // namespace coppice::base
