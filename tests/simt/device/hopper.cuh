// What only Hopper has, on the emulator (kernels/cuda/device/hopper.cuh says what each does; tests/simt/hopper.h how).
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/element.h"
#include "tests/simt/device/memory.cuh"
#include "tests/simt/hopper.h"

namespace coppice::kernels::cuda {

inline void barrier_initialise(Shared<std::uint64_t> barrier, std::uint32_t count) {
  simt::Machine::current().hopper().initialise(barrier.place(8, 8), count);
}
inline void barrier_publish() {
  simt::Machine::current().hopper().publish();
}
inline void barrier_arrive(Shared<std::uint64_t> barrier) {
  simt::Machine::current().hopper().arrive(barrier.place(8, 8), 0);
}
inline void barrier_arrive_expecting(Shared<std::uint64_t> barrier, std::uint32_t bytes) {
  simt::Machine::current().hopper().arrive(barrier.place(8, 8), bytes);
}
inline void barrier_wait(Shared<std::uint64_t> barrier, std::uint32_t phase_bit,
                         const Place& where = Place::current()) {
  simt::Machine::current().hopper().wait(barrier.place(8, 8), phase_bit, where);
}

template <typename T, typename U>
void copy_bulk(Shared<T> to, Global<U> from, std::uint32_t bytes, Shared<std::uint64_t> barrier) {
  simt::Machine& machine = simt::Machine::current();
  if (bytes == 0 || bytes % 16 != 0) {
    machine.fail("bad access", "a bulk copy of " + std::to_string(bytes) + " bytes, no multiple of 16");
  }
  simt::GlobalMemory::check(from.raw(), bytes, 16, false);
  machine.hopper().copy(to.place(bytes, 16), from.raw(), bytes, barrier.place(8, 8));
}
inline void fence_async_proxy() {
  simt::Machine::current().hopper().fence();
}

enum class SharedSwizzle : std::uint8_t { kNone = 0, k128 = 1, k64 = 2, k32 = 3 };

template <typename T>
std::uint64_t matrix_descriptor(Shared<T> start, std::uint32_t leading_bytes, std::uint32_t stride_bytes,
                                SharedSwizzle swizzle) {
  const auto field = [](std::uint32_t bytes) { return static_cast<std::uint64_t>((bytes & 0x3FFFFU) >> 4); };
  const auto address = static_cast<std::uint32_t>(start.place(16, 16)) + simt::kSharedBase;
  return field(address) | field(leading_bytes) << 16 | field(stride_bytes) << 32 |
         static_cast<std::uint64_t>(swizzle) << 62;
}

// All lanes of the warp come, then `execute` runs once.
template <typename Execute>
void with_warp(const char* kind, void* argument, const Place& where, const Execute& execute) {
  simt::Machine& machine = simt::Machine::current();
  const std::int32_t warp = machine.thread().warp();
  machine.warp_meeting(kind, argument, where,
                       [&](const std::array<void*, simt::kLanes>& lanes) { execute(machine.hopper(), warp, lanes); });
}

template <int count>
void multiply_begin(float (&)[count], const Place& where = Place::current()) {
  with_warp("multiply_begin", nullptr, where,
            [](simt::Hopper& hopper, std::int32_t warp, const auto&) { hopper.begin_products(warp); });
}
inline void multiply_commit(const Place& where = Place::current()) {
  with_warp("multiply_commit", nullptr, where,
            [](simt::Hopper& hopper, std::int32_t warp, const auto&) { hopper.commit_products(warp); });
}
template <int groups_left, int count>
void multiply_wait(float (&)[count], const Place& where = Place::current()) {
  with_warp("multiply_wait", nullptr, where,
            [](simt::Hopper& hopper, std::int32_t warp, const auto&) { hopper.wait_products(warp, groups_left); });
}

template <typename Element, int count>
void multiply_async(float (&d)[count], std::uint64_t a, std::uint64_t b, const Place& where = Place::current()) {
  static_assert(kIsHalf<Element> && (count == 64 || count == 128));
  struct Lane {
    simt::Product product;
    float* sums;
  } self{{a, b, 2 * count, std::is_same_v<Element, Bf16>}, d};
  with_warp("multiply_async", &self, where, [](simt::Hopper& hopper, std::int32_t warp, const auto& lanes) {
    std::array<float*, simt::kLanes> sums;
    const simt::Product& product = static_cast<const Lane*>(lanes[0])->product;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      const auto& lane = *static_cast<const Lane*>(lanes[i]);
      if (!(lane.product == product)) {
        simt::Machine::current().fail("divergent product", "lanes of one warp give different descriptors");
      }
      sums[i] = lane.sums;
    }
    hopper.add_product(warp, product, sums);
  });
}

}  // namespace coppice::kernels::cuda
