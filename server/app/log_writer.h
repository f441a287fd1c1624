// LogWriter: log lines on their way to stderr. A thread of its own writes them; the threads that log only hand them
// over. When stderr does not keep up, lines are dropped and counted, and a line says how many: no request ever waits
// for a reader of the log.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace coppice::server {

// Owner: Logging, main.cc's. Thread: any.
class LogWriter {
 public:
  using DroppedLine = std::function<std::string(std::size_t dropped)>;
  // `dropped_line` words the line that reports dropped ones; it is called on the writer's thread.
  explicit LogWriter(DroppedLine dropped_line);
  ~LogWriter();  // as finish() with a short patience
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Takes a line, newline included, or drops it. Never waits for stderr.
  void write(std::string line);
  // Changes the words of the line about dropped ones.
  void set_dropped_line(DroppedLine dropped_line);
  // Waits at most `patience` until everything handed over so far is written or dropped. Returns whether it is.
  bool flush(std::chrono::milliseconds patience);
  // Lines dropped since the start.
  std::size_t dropped() const;

  // Lines and bytes that may wait: a second of a very busy server's.
  static constexpr std::size_t kLinesMax = 4096;
  static constexpr std::size_t kBytesMax = std::size_t{2} << 20;
  // Bytes of one line; the rest is cut off.
  static constexpr std::size_t kLineBytesMax = std::size_t{16} << 10;

 private:
  struct State;  // shared with the thread, which may outlive this object where stderr blocks it for ever
  const std::shared_ptr<State> state_;
};

}  // namespace coppice::server
