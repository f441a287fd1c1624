// Code for the host's processor (namespace cpu): one body, several instruction sets. A file *_body.cc holds inner
// loops; CMake (coppice_isa_sources) compiles it once per instruction set with COPPICE_ISA = generic | avx2 | avx512 |
// avx512_bf16, and everything in it lives in namespace coppice::kernels::cpu::COPPICE_ISA. It exports one function that
// returns its table of function pointers; the table is chosen once, when the backend is made:
//
//   thing_body.h   struct ThingBody { void (*run)(const float* x, float* out, std::int64_t n); };
//                  COPPICE_DECLARE_BODY(ThingBody, thing_body)          // in namespace coppice::kernels::cpu
//   thing_body.cc  namespace coppice::kernels::cpu::COPPICE_ISA {
//                  namespace { void run(…) { … } }
//                  const ThingBody& thing_body() { static constexpr ThingBody kBody = {run}; return kBody; }
//                  }
//   thing.cc       const ThingBody& body = COPPICE_SELECT_BODY(context.isa, thing_body);
//
// A body includes simd.h, <cstdint> and its own header only, and keeps every other name in an anonymous namespace: an
// inline function that several files share would be merged by the linker, and a machine without AVX-512 could be given
// the AVX-512 copy.
#pragma once

#include <cstdint>

namespace coppice::kernels::cpu {

// Ascending: each includes the ones before it.
enum class Isa : std::uint8_t { kGeneric, kAvx2, kAvx512, kAvx512Bf16 };

// Returns the highest that this machine and its operating system support.
Isa best_isa();

// "generic", "avx2", "avx512", "avx512_bf16".
const char* isa_name(Isa isa);

// Parameters of every CPU operation. A value; immutable.
struct CpuContext {
  int threads = 1;  // size of the OpenMP team
  Isa isa = Isa::kGeneric;
};

}  // namespace coppice::kernels::cpu

#if defined(__x86_64__)
#define COPPICE_DECLARE_BODY(Type, function) \
  namespace generic {                        \
  const Type& function();                    \
  }                                          \
  namespace avx2 {                           \
  const Type& function();                    \
  }                                          \
  namespace avx512 {                         \
  const Type& function();                    \
  }                                          \
  namespace avx512_bf16 {                    \
  const Type& function();                    \
  }
#define COPPICE_SELECT_BODY(isa, function)                                                               \
  ((isa) == ::coppice::kernels::cpu::Isa::kAvx512Bf16 ? ::coppice::kernels::cpu::avx512_bf16::function() \
   : (isa) == ::coppice::kernels::cpu::Isa::kAvx512   ? ::coppice::kernels::cpu::avx512::function()      \
   : (isa) == ::coppice::kernels::cpu::Isa::kAvx2     ? ::coppice::kernels::cpu::avx2::function()        \
                                                      : ::coppice::kernels::cpu::generic::function())
#else
#define COPPICE_DECLARE_BODY(Type, function) \
  namespace generic {                        \
  const Type& function();                    \
  }
#define COPPICE_SELECT_BODY(isa, function) (static_cast<void>(isa), ::coppice::kernels::cpu::generic::function())
#endif
