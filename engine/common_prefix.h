// common_prefix: how far two lists of ids agree, be they tokens or pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace coppice::engine {

// Length of the common prefix of `a` and `b`. REQUIRES: their first `known` entries agree.
inline std::int32_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b,
                                  std::int32_t known = 0) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<std::int32_t>(std::mismatch(a.begin() + known, a.begin() + count, b.begin() + known).first -
                                   a.begin());
}

}  // namespace coppice::engine
