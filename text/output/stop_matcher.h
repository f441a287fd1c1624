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

// Looks for several stop strings in one stream. A value: owned by its session, used by one thread at a time.
// push() costs O(bytes pushed x stop strings), amortised, whatever they are (Knuth, Morris, Pratt, SIAM J. Comput.
// 1977).
class StopStringMatcher {
 public:
  // Empty stop strings are ignored (their index never comes). include_stop: the matched string is part of the text.
  explicit StopStringMatcher(const std::vector<std::string>& stops, bool include_stop = false);

  // REQUIRES: no match so far.
  StopMatch push(std::string_view text);

  // What was held back: the stream ended without a stop string.
  std::string finish();

  // True when there is nothing to look for: push() then returns its argument.
  bool empty() const { return stops_.empty(); }

 private:
  struct Stop {
    std::string text;
    std::size_t index;                  // in the constructor's list
    std::vector<std::size_t> fallback;  // [n]: longest proper prefix that also ends text[0, n)
    std::size_t matched = 0;            // bytes of text that the stream ends with
  };

  static void advance(Stop& stop, char byte);
  // Takes the first `count` bytes of the stream's end away from it.
  std::string take(std::size_t count);

  std::vector<Stop> stops_;
  bool include_stop_;
  std::string held_;            // the stream's end, which may be the beginning of a stop string,
  std::size_t held_begin_ = 0;  // from here on: what was taken away is erased now and then
};

}  // namespace coppice::text
