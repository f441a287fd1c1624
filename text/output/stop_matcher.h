// Stop strings in streamed text, across token boundaries.
//
// Text that may be the beginning of a stop string is held back until it is certain; nothing after a
// stop string is ever given out. Among several, the one that begins first wins; of those, the
// longest that is complete first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::text {

// The stop strings of a request as one automaton (Aho, Corasick, CACM 1975). Immutable: all streams of a request share
// it. Memory: about 24 bytes for each byte of the strings.
class StopStrings {
 public:
  // Empty stop strings are ignored (their index never comes).
  explicit StopStrings(const std::vector<std::string>& stops);

  // A state stands for the longest end of the stream that is a beginning of a stop string; 0 is the empty one.
  using State = std::uint32_t;

  bool empty() const { return nodes_.size() == 1; }
  // Amortised over a stream: O(stop strings) a byte, whatever they are.
  State next(State state, char byte) const;
  // Bytes of the beginning that `state` stands for.
  std::size_t depth(State state) const { return nodes_[state].depth; }

  struct Match {
    std::size_t index = 0;   // in the constructor's list
    std::size_t length = 0;  // bytes
  };
  // The longest stop string that the stream ends with.
  std::optional<Match> match(State state) const;

 private:
  static constexpr State kNone = UINT32_MAX;

  struct Node {
    State first_child = kNone;
    State next_sibling = kNone;
    State fallback = 0;  // the longest proper end of it that is a beginning too
    std::uint32_t depth = 0;
    std::uint32_t index = kNone;  // of the longest stop string that it ends with
    char byte = 0;                // the last one
  };

  State child(State state, char byte) const;
  void add(std::string_view text, std::uint32_t index);
  void link();

  std::vector<Node> nodes_;           // [0]: the root
  std::vector<std::size_t> lengths_;  // [index]
};

struct StopMatch {
  std::string text;                  // certain text, to be sent
  std::optional<std::size_t> index;  // which stop string ended the stream, if one did
};

// Looks for stop strings in one stream. A value: owned by its session, used by one thread at a time.
class StopStringMatcher {
 public:
  // include_stop: the matched string is part of the text.
  explicit StopStringMatcher(std::shared_ptr<const StopStrings> stops, bool include_stop = false)
      : stops_(std::move(stops)), include_stop_(include_stop) {}

  // REQUIRES: no match so far.
  StopMatch push(std::string_view text);

  // What was held back: the stream ended without a stop string.
  std::string finish();

  // True when there is nothing to look for: push() then returns its argument.
  bool empty() const { return stops_->empty(); }

 private:
  // Takes the first `count` bytes of the stream's end away from it.
  std::string take(std::size_t count);

  std::shared_ptr<const StopStrings> stops_;
  bool include_stop_;
  bool has_matched_ = false;
  StopStrings::State state_ = 0;
  std::string held_;            // the stream's end, which may be the beginning of a stop string,
  std::size_t held_begin_ = 0;  // from here on: what was taken away is erased now and then
};

}  // namespace coppice::text
