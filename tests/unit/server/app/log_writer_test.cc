// Log lines through a pipe: in order, whole, and never waited for when the pipe's reader does not read.
#include "server/app/log_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

namespace coppice::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Stands in for stderr while it lives.
class Pipe {
 public:
  Pipe() : before_(dup(STDERR_FILENO)) {
    REQUIRE(pipe(ends_.data()) == 0);
    REQUIRE(dup2(ends_[1], STDERR_FILENO) == STDERR_FILENO);
  }
  ~Pipe() {
    restore();
    close(ends_[0]);
  }
  void restore() {
    if (before_ >= 0) {
      dup2(before_, STDERR_FILENO);
      close(before_);
      close(ends_[1]);
      before_ = -1;
    }
  }
  // Everything until the other end is closed.
  std::string read_all() const {
    std::string text;
    std::array<char, 65536> buffer{};
    for (ssize_t count = 0; (count = read(ends_[0], buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return text;
  }
  void close_reader() {
    close(ends_[0]);
    ends_[0] = -1;
  }

 private:
  std::array<int, 2> ends_{};
  int before_;
};

std::string dropped_line(std::size_t dropped) {
  return std::to_string(dropped) + " dropped\n";
}

}  // namespace

TEST_CASE("lines come out in order and whole", "[log]") {
  Pipe pipe;
  std::string expected;
  {
    LogWriter writer(dropped_line);
    for (int i = 0; i < 1000; ++i) {
      const std::string line = std::to_string(i) + std::string(static_cast<std::size_t>(i % 40), 'x') + "\n";
      expected += line;
      writer.write(line);
    }
    CHECK(writer.flush(milliseconds(5000)));
  }
  pipe.restore();
  CHECK(pipe.read_all() == expected);
}

TEST_CASE("a reader that does not read holds nothing up, and hears later what it missed", "[log]") {
  Pipe pipe;
  std::string text;
  std::thread reader;
  std::size_t dropped = 0;
  {
    LogWriter writer(dropped_line);
    const auto begin = Clock::now();
    for (int i = 0; i < 20'000; ++i) {
      writer.write(std::string(99, 'y') + "\n");
    }
    CHECK(Clock::now() - begin < std::chrono::seconds(5));
    CHECK_FALSE(writer.flush(milliseconds(300)));
    dropped = writer.dropped();
    CHECK(dropped > 10'000);
    reader = std::thread([&] { text = pipe.read_all(); });
    CHECK(writer.flush(milliseconds(10'000)));
  }
  pipe.restore();
  reader.join();
  const std::string last = dropped_line(dropped);
  CHECK(text.size() == (20'000 - dropped) * 100 + last.size());
  CHECK(text.ends_with(last));
}

TEST_CASE("the writer's end is not waited for when stderr is stuck", "[log]") {
  Pipe pipe;
  auto writer = std::make_unique<LogWriter>(dropped_line);
  for (int i = 0; i < 3000; ++i) {
    writer->write(std::string(99, 'z') + "\n");
  }
  const auto begin = Clock::now();
  writer.reset();
  CHECK(Clock::now() - begin < std::chrono::seconds(3));
  std::this_thread::sleep_for(milliseconds(600));  // its thread gives up: nothing of it reaches the next test's pipe
}

TEST_CASE("a reader that has left costs lines, nothing else", "[log]") {
  Pipe pipe;
  pipe.close_reader();
  LogWriter writer(dropped_line);
  for (int i = 0; i < 100; ++i) {
    writer.write("line\n");
  }
  CHECK(writer.flush(milliseconds(5000)));
  CHECK(writer.dropped() == 100);
}

TEST_CASE("a line without end is cut", "[log]") {
  Pipe pipe;
  {
    LogWriter writer(dropped_line);
    writer.write(std::string(LogWriter::kLineBytesMax * 3, 'x') + "\n");
    CHECK(writer.flush(milliseconds(5000)));
  }
  pipe.restore();
  const std::string text = pipe.read_all();
  CHECK(text.size() < LogWriter::kLineBytesMax + 10);
  CHECK(text.back() == '\n');
}

}  // namespace coppice::server
