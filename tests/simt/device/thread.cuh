// Who a thread is, and how threads meet, on the emulator (kernels/cuda/device/thread.cuh says what each does).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tests/simt/machine.h"

#define COPPICE_DEVICE inline

namespace coppice::kernels::cuda {

inline constexpr std::int32_t kWarpLanes = 32;
inline constexpr std::uint32_t kAllLanes = 0xFFFFFFFFU;
using Place = simt::Place;

inline std::int32_t thread_index() {
  return simt::Machine::current().thread().index;
}
inline std::int32_t thread_count() {
  return static_cast<std::int32_t>(simt::Machine::current().thread().block->threads.size());
}
inline std::int32_t lane_index() {
  return thread_index() % kWarpLanes;
}
inline std::int32_t warp_index() {
  return thread_index() / kWarpLanes;
}
inline std::int32_t block_index() {
  return simt::Machine::current().thread().block->x;
}
inline std::int32_t block_index_y() {
  return simt::Machine::current().thread().block->y;
}
inline std::int32_t block_count() {
  return simt::Machine::current().thread().block->blocks;
}

inline void sync_block(const Place& where = Place::current()) {
  simt::Machine::current().block_barrier(where);
}
inline void sync_warp(const Place& where = Place::current()) {
  simt::Machine& machine = simt::Machine::current();
  simt::Thread& thread = machine.thread();
  machine.warp_meeting("sync_warp", nullptr, where, [&](const std::array<void*, simt::kLanes>&) {
    thread.block->shared->pass_warp_barrier(thread.warp());
  });
}

// Every lane gives a value and names the lane whose value it takes.
template <typename T>
T exchange(const char* kind, T value, std::int32_t source_lane, const Place& where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  struct Lane {
    T value;
    T result;
    std::int32_t source;
  } self{value, value, source_lane};
  simt::Machine::current().warp_meeting(kind, &self, where, [](const std::array<void*, simt::kLanes>& lanes) {
    for (void* lane : lanes) {
      auto* mine = static_cast<Lane*>(lane);
      mine->result = static_cast<Lane*>(lanes[static_cast<std::size_t>(mine->source)])->value;
    }
  });
  return self.result;
}

template <typename T>
T shuffle(T value, std::int32_t source_lane, const Place& where = Place::current()) {
  return exchange("shuffle", value, source_lane & (kWarpLanes - 1), where);
}
template <typename T>
T shuffle_xor(T value, std::int32_t mask, const Place& where = Place::current()) {
  return exchange("shuffle_xor", value, (lane_index() ^ mask) & (kWarpLanes - 1), where);
}
template <typename T>
T shuffle_up(T value, std::int32_t distance, const Place& where = Place::current()) {
  const std::int32_t lane = lane_index();
  return exchange("shuffle_up", value, lane < distance ? lane : lane - distance, where);
}
template <typename T>
T shuffle_down(T value, std::int32_t distance, const Place& where = Place::current()) {
  const std::int32_t lane = lane_index();
  return exchange("shuffle_down", value, lane + distance >= kWarpLanes ? lane : lane + distance, where);
}

inline std::uint32_t ballot(bool predicate, const Place& where = Place::current()) {
  struct Lane {
    bool predicate;
    std::uint32_t result;
  } self{predicate, 0};
  simt::Machine::current().warp_meeting("ballot", &self, where, [](const std::array<void*, simt::kLanes>& lanes) {
    std::uint32_t mask = 0;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      mask |= (static_cast<Lane*>(lanes[i])->predicate ? 1U : 0U) << i;
    }
    for (void* lane : lanes) {
      static_cast<Lane*>(lane)->result = mask;
    }
  });
  return self.result;
}
inline bool warp_any(bool predicate, const Place& where = Place::current()) {
  return ballot(predicate, where) != 0;
}
inline bool warp_all(bool predicate, const Place& where = Place::current()) {
  return ballot(predicate, where) == kAllLanes;
}

}  // namespace coppice::kernels::cuda
