// Which instruction set this machine offers. __builtin_cpu_supports also asks the operating system (XGETBV) whether it
// saves the wide registers.
#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  // Every chip with AVX2 has F16C, which clang 14 cannot ask for by name.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")) {
    return Isa::kAvx512Bf16;
  }
  if (avx512) {
    return Isa::kAvx512;
  }
  if (avx2) {
    return Isa::kAvx2;
  }
#endif
  return Isa::kGeneric;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kGeneric:
      break;
  }
  return "generic";
}

}  // namespace coppice::kernels::cpu
