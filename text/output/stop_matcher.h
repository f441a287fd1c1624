// Finds stop strings in streamed text, across token boundaries.
//
// Text that may begin a stop string is held back until it is certain. Text after a stop string is never returned. When
// several stop strings match, the one that is complete first ends the stream; of those complete at the same byte, the
// longest.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::text {

struct StopMatch {
  std::string text;                  // certain text, to send
  std::optional<std::size_t> index;  // of the stop string that ended the stream
};

// Matches several stop strings in one stream. Algorithm: Knuth, Morris, Pratt, SIAM J. Comput. 1977; push() costs
// amortised O(bytes pushed x stop strings).
// Owner: its session. Thread: one at a time.
class StopStringMatcher {
 public:
  // Ignores empty stop strings; their index is never reported. include_stop: the matched string is part of the text.
  explicit StopStringMatcher(const std::vector<std::string>& stops, bool include_stop = false);

  // Returns the text that `text` makes certain, and the match if it completes a stop string.
  // REQUIRES: no match so far.
  StopMatch push(std::string_view text);

  // Returns the held-back text of a stream that ended without a stop string.
  std::string finish();

  // Returns true when there is no stop string; push() then returns its argument.
  bool empty() const { return stops_.empty(); }

 private:
  struct Stop {
    std::string text;
    std::size_t index;                  // in the constructor's list
    std::vector<std::size_t> fallback;  // [n]: longest proper prefix that also ends text[0, n)
    std::size_t matched = 0;            // bytes at the start of `text` that the stream ends with
  };

  static void advance(Stop& stop, char byte);
  // Removes and returns the first `count` held bytes.
  std::string take(std::size_t count);

  std::vector<Stop> stops_;
  bool include_stop_;
  std::string held_;            // held-back text, from held_begin_ on
  std::size_t held_begin_ = 0;  // bytes before are taken; they are erased when they are half of held_
};

}  // namespace coppice::text
