// The queue of lines and the thread that empties it.
#include "server/app/log_writer.h"

#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "base/stderr_line.h"

namespace coppice::server {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWritePatience{200};  // for room on stderr; then looks whether the writer shall end
constexpr milliseconds kEndPatience{300};    // for the last lines, when the process ends

}  // namespace

struct LogWriter::State {
  explicit State(DroppedLine line) : dropped_line(std::move(line)) {}

  void run();
  // The next text to write, or "" at the end. Waits for one.
  std::string next();

  std::mutex mutex;
  std::condition_variable filled;
  std::condition_variable emptied;
  DroppedLine dropped_line;
  std::deque<std::string> lines;
  std::size_t bytes = 0;
  std::size_t dropped = 0;   // all
  std::size_t reported = 0;  // of those, the ones that a line has told of
  bool is_writing = false;   // a line is out of the queue and not yet written
  bool is_over = false;
};

std::string LogWriter::State::next() {
  std::unique_lock<std::mutex> lock(mutex);
  is_writing = false;
  if (lines.empty() && dropped == reported) {
    emptied.notify_all();
  }
  filled.wait(lock, [this] { return is_over || !lines.empty() || dropped != reported; });
  std::string text;
  if (lines.empty()) {  // the dropped ones came last
    if (dropped == reported) {
      return text;
    }
    const std::size_t count = dropped - std::exchange(reported, dropped);
    text = dropped_line(count);
  } else {
    text = std::move(lines.front());
    lines.pop_front();
    bytes -= text.size();
  }
  is_writing = true;
  return text;
}

void LogWriter::State::run() {
  for (std::string text = next(); !text.empty(); text = next()) {
    std::string_view left = text;
    while (!left.empty()) {
      const base::Written written = base::write_stderr_some(left, kWritePatience);
      left.remove_prefix(written.bytes);
      const std::lock_guard<std::mutex> lock(mutex);
      if (written.is_broken) {  // a full disk, a reader that has left: the line is lost
        ++dropped;
        ++reported;
        break;
      }
      if (is_over && !left.empty() && written.bytes == 0) {
        return;
      }
    }
  }
}

LogWriter::LogWriter(DroppedLine dropped_line) : state_(std::make_shared<State>(std::move(dropped_line))) {
  // Signals are for the threads that expect them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([state = state_] { state->run(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogWriter::~LogWriter() {
  flush(kEndPatience);
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->is_over = true;
  state_->filled.notify_all();
}

void LogWriter::write(std::string line) {
  if (line.size() > kLineBytesMax) {
    line.resize(kLineBytesMax);
    line += "…\n";
  }
  const std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->lines.size() >= kLinesMax || state_->bytes + line.size() > kBytesMax) {
    ++state_->dropped;
    return;
  }
  state_->bytes += line.size();
  state_->lines.push_back(std::move(line));
  state_->filled.notify_one();
}

void LogWriter::set_dropped_line(DroppedLine dropped_line) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->dropped_line = std::move(dropped_line);
}

bool LogWriter::flush(milliseconds patience) {
  std::unique_lock<std::mutex> lock(state_->mutex);
  return state_->emptied.wait_for(lock, patience, [this] {
    return state_->lines.empty() && state_->dropped == state_->reported && !state_->is_writing;
  });
}

std::size_t LogWriter::dropped() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->dropped;
}

}  // namespace coppice::server
