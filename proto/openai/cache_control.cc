// Order and places of breakpoints.
#include "proto/openai/cache_control.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>

namespace coppice::openai {
namespace {

bool is_whole(const CacheBreakpoint& breakpoint, const nlohmann::ordered_json& messages) {
  if (breakpoint.messages == 0 || breakpoint.messages > messages.size()) {
    return true;
  }
  const nlohmann::ordered_json& message = messages[breakpoint.messages - 1];
  const auto content = message.find("content");
  return content == message.end() || !content->is_string() ||
         breakpoint.content_bytes >= content->get_ref<const std::string&>().size();
}

bool is_same_place(const CacheBreakpoint& a, const CacheBreakpoint& b) {
  return a.messages == b.messages && a.content_bytes == b.content_bytes;
}

}  // namespace

CacheBreakpoints arrange_breakpoints(CacheBreakpoints found, const nlohmann::ordered_json& messages) {
  for (CacheBreakpoint& breakpoint : found) {
    if (is_whole(breakpoint, messages)) {
      breakpoint.content_bytes = CacheBreakpoint::kWholeMessage;
    }
  }
  std::sort(found.begin(), found.end(), [](const CacheBreakpoint& a, const CacheBreakpoint& b) {
    return std::tie(a.messages, a.content_bytes, b.time_to_live) <
           std::tie(b.messages, b.content_bytes, a.time_to_live);
  });
  found.erase(std::unique(found.begin(), found.end(), is_same_place), found.end());
  if (found.size() > kCacheBreakpointsMax) {
    found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(kCacheBreakpointsMax));
  }
  return found;
}

}  // namespace coppice::openai
