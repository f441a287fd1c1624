// One prefix automaton per stop string. The longest partial match is the text to hold back.
#include "text/output/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace coppice::text {

StopStringMatcher::StopStringMatcher(const std::vector<std::string>& stops, bool include_stop)
    : include_stop_(include_stop) {
  for (std::size_t index = 0; index < stops.size(); ++index) {
    const std::string& text = stops[index];
    if (text.empty()) {
      continue;
    }
    std::vector<std::size_t> fallback(text.size() + 1, 0);
    std::size_t length = 0;
    for (std::size_t at = 1; at < text.size(); ++at) {
      while (length > 0 && text[at] != text[length]) {
        length = fallback[length];
      }
      length += text[at] == text[length] ? 1 : 0;
      fallback[at + 1] = length;
    }
    stops_.push_back({text, index, std::move(fallback), 0});
  }
}

void StopStringMatcher::advance(Stop& stop, char byte) {
  while (stop.matched > 0 && stop.text[stop.matched] != byte) {
    stop.matched = stop.fallback[stop.matched];
  }
  stop.matched += stop.text[stop.matched] == byte ? 1 : 0;
}

std::string StopStringMatcher::take(std::size_t count) {
  std::string taken = held_.substr(held_begin_, count);
  held_begin_ += count;
  if (2 * held_begin_ >= held_.size()) {
    held_.erase(0, held_begin_);
    held_begin_ = 0;
  }
  return taken;
}

StopMatch StopStringMatcher::push(std::string_view text) {
  const std::size_t before = held_.size() - held_begin_;
  held_ += text;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const Stop* complete = nullptr;
    for (Stop& stop : stops_) {
      COPPICE_CHECK(stop.matched < stop.text.size(), "push() after a match");
      advance(stop, text[at]);
      if (stop.matched == stop.text.size() && (complete == nullptr || stop.text.size() > complete->text.size())) {
        complete = &stop;
      }
    }
    if (complete != nullptr) {
      const std::size_t end = before + at + 1;
      return {take(include_stop_ ? end : end - complete->text.size()), complete->index};
    }
  }
  std::size_t uncertain = 0;
  for (const Stop& stop : stops_) {
    uncertain = std::max(uncertain, stop.matched);
  }
  return {take(before + text.size() - uncertain), std::nullopt};
}

std::string StopStringMatcher::finish() {
  for (Stop& stop : stops_) {
    stop.matched = 0;
  }
  return take(held_.size() - held_begin_);
}

}  // namespace coppice::text
