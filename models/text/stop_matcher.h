// Stop strings in streamed text, across token boundaries.
//
// Text that may be the beginning of a stop string is held back until it is certain; nothing after a
// stop string is ever given out. Among several, the one that begins first wins; of those, the
// longest that is complete first.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::text {

struct StopMatch {
  std::string text;                  // certain text, to be sent
  std::optional<std::size_t> index;  // which stop string ended the stream, if one did
};

// Looks for several stop strings in one stream. A value: owned by its session, used by one thread
// at a time. push() costs O(bytes pushed), amortised, whatever the stop strings are.
class StopStringMatcher {
 public:
  // Empty stop strings are ignored (their index never comes). include_stop: the matched string is
  // part of the text.
  explicit StopStringMatcher(std::vector<std::string> stops, bool include_stop = false);

  // REQUIRES: no match so far.
  StopMatch push(std::string_view text);

  // What was held back: the stream ended without a stop string.
  std::string finish();

  // True when there is nothing to look for: push() then returns its argument.
  bool empty() const { return stops_.empty(); }

 private:
  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace coppice::text
