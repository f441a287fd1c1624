// MarkScan: looks for marks in a stream of bytes, and says how much of the stream's end may be the beginning of one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/output/output_format.h"
#include "text/output/stop_matcher.h"

namespace coppice::server {

// Owner: a parser. Thread: its session's.
class MarkScan {
 public:
  struct Mark {
    Terminal terminal = Terminal::kCall;
    std::string text;
  };
  explicit MarkScan(std::vector<Mark> marks) : marks_(std::move(marks)), texts_(texts_of(marks_)) {}

  // The mark that ends with this byte; the scan is then at its beginning again.
  const Mark* push(char byte) {
    state_ = texts_.next(state_, byte);
    const std::optional<text::StopStrings::Match> match = texts_.match(state_);
    if (!match) {
      return nullptr;
    }
    state_ = 0;
    return &marks_[match->index];
  }
  // Bytes of the stream's end that may be the beginning of a mark.
  std::size_t depth() const { return texts_.depth(state_); }
  void reset() { state_ = 0; }

  // The mark that is `word`, and whether a mark begins so; wherever the scan stands.
  const Mark* find(std::string_view word) const {
    const auto found =
        std::find_if(marks_.begin(), marks_.end(), [word](const Mark& mark) { return mark.text == word; });
    return found == marks_.end() ? nullptr : &*found;
  }
  bool may_begin(std::string_view word) const {
    return std::any_of(marks_.begin(), marks_.end(), [word](const Mark& mark) { return mark.text.starts_with(word); });
  }

 private:
  static text::StopStrings texts_of(const std::vector<Mark>& marks) {
    std::vector<std::string> texts;
    texts.reserve(marks.size());
    for (const Mark& mark : marks) {
      texts.push_back(mark.text);
    }
    return text::StopStrings(texts);
  }

  std::vector<Mark> marks_;
  text::StopStrings texts_;
  text::StopStrings::State state_ = 0;
};

}  // namespace coppice::server
