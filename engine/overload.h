// Overload: why the engine takes no request in now, in words that a router can use.
#pragma once

#include <chrono>
#include <cstdint>

namespace coppice::engine {

enum class OverloadReason : std::uint8_t {
  kNone,      // it is taken in
  kQueue,     // the account's places in line are taken
  kKv,        // likewise, and the first in line waits for KV pages, not for a place in the batch
  kDeadline,  // its deadline comes before its turn
};

// A value.
struct Overload {
  OverloadReason reason = OverloadReason::kNone;
  // About how long it lasts: until it is worth trying again. 0: not known.
  std::chrono::milliseconds lasts{0};

  bool exists() const { return reason != OverloadReason::kNone; }
};

}  // namespace coppice::engine
