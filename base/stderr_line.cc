// Writing only what stderr has room for.
#include "base/stderr_line.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace coppice::base {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Bytes: when poll(2) finds a pipe writable, this much goes in without waiting (PIPE_BUF of Linux).
constexpr std::size_t kBytesAtOnce = 4096;

}  // namespace

Written write_stderr_some(std::string_view text, milliseconds patience) {
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  const int ready = ::poll(&room, 1, static_cast<int>(std::max<std::int64_t>(patience.count(), 0)));
  if (ready <= 0) {
    return {0, ready < 0 && errno != EINTR};
  }
  const ssize_t written = ::write(STDERR_FILENO, text.data(), std::min(text.size(), kBytesAtOnce));
  if (written > 0) {
    return {static_cast<std::size_t>(written), false};
  }
  return {0, !text.empty() && !(written < 0 && (errno == EINTR || errno == EAGAIN))};
}

void write_stderr(std::string_view text, milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  while (!text.empty()) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    const Written written = write_stderr_some(text, left);
    if (written.is_broken || (written.bytes == 0 && Clock::now() >= deadline)) {
      return;
    }
    text.remove_prefix(written.bytes);
  }
}

}  // namespace coppice::base
