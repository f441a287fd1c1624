// CacheBreakpoint: a place in a conversation up to which a client asks that the computed prompt be kept. Anthropic's
// `cache_control` and OpenAI's `prompt_cache_breakpoint` are read into these.
#pragma once

#include <chrono>
#include <cstddef>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace coppice::openai {

// Breakpoints of one request, the bound of both APIs.
inline constexpr std::size_t kCacheBreakpointsMax = 4;

// What both APIs promise when a breakpoint says no time, and the longer one that can be asked for.
inline constexpr std::chrono::seconds kShortCacheTime = std::chrono::minutes{5};
inline constexpr std::chrono::seconds kLongCacheTime = std::chrono::hours{1};

// The kept prefix is what the chat template makes of the tools and of the first `messages` entries of
// ChatFields::messages; of the last of them only the first `content_bytes` bytes of its `content`.
struct CacheBreakpoint {
  static constexpr std::size_t kWholeMessage = std::numeric_limits<std::size_t>::max();  // bytes: no content is longer

  std::size_t messages = 0;  // 0: the prefix ends with the tools
  std::size_t content_bytes = kWholeMessage;
  std::chrono::seconds time_to_live = kShortCacheTime;

  friend bool operator==(const CacheBreakpoint&, const CacheBreakpoint&) = default;
};

// What a request says of the prefix cache beside its breakpoints.
struct CacheControl {
  // The cache is written up to the last breakpoint alone; without one it is neither read nor written.
  bool is_explicit = false;
  std::chrono::seconds keeps_prompt{0};  // > 0: all of the prompt is kept for this time
  const char* field = "";                // by which the client asked for that; a literal
};

// In ascending order of their places; a place stands once, with the longest of its times.
using CacheBreakpoints = std::vector<CacheBreakpoint>;

// Breakpoints as they were read, brought into that order. `messages` are those of ChatFields. Of more than
// kCacheBreakpointsMax the last ones stay.
CacheBreakpoints arrange_breakpoints(CacheBreakpoints found, const nlohmann::ordered_json& messages);

}  // namespace coppice::openai
