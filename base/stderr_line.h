// Text to stderr that a reader that does not read cannot hold up: stderr may be a pipe whose other end sleeps, or a
// terminal that was stopped. The descriptor's flags stay as they are: other processes share them.
#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

namespace coppice::base {

struct Written {
  std::size_t bytes = 0;
  bool is_broken = false;  // a full disk, a reader that has left: trying again is of no use
};

// Writes a beginning of `text`, as much as stderr takes at once, after waiting at most `patience` for room. Takes no
// lock; the text of two threads may mix. Any thread, even while the process ends.
Written write_stderr_some(std::string_view text, std::chrono::milliseconds patience);

// Writes all of it, if stderr takes it within `patience`.
void write_stderr(std::string_view text, std::chrono::milliseconds patience = std::chrono::milliseconds(500));

}  // namespace coppice::base
