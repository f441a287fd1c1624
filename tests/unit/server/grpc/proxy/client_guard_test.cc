// What ends a connection and what never does.
#include "server/grpc/proxy/client_guard.h"

#include <catch2/catch.hpp>
#include <string>

#include "server/grpc/proxy/frame_scanner.h"
#include "server/grpc/proxy/http2.h"

namespace coppice::server {
namespace {

using http2::ErrorCode;
using http2::FrameType;
using Clock = ClientGuard::Clock;

std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, std::size_t bytes = 0) {
  return http2::write_frame_header({static_cast<std::uint32_t>(bytes), type, flags, stream}) + std::string(bytes, 'x');
}
std::string headers(std::uint32_t stream, bool is_end = false) {
  return frame(FrameType::kHeaders, http2::kEndHeaders | (is_end ? http2::kEndStream : 0), stream, 40);
}
std::string data(std::uint32_t stream, std::size_t bytes, bool is_end) {
  return frame(FrameType::kData, is_end ? http2::kEndStream : 0, stream, bytes);
}
std::string reset(std::uint32_t stream) {
  return frame(FrameType::kResetStream, 0, stream, 4);
}

// A connection whose SETTINGS have come, at a time that the test sets.
struct Connection {
  explicit Connection(const GuardLimits& limits = {}) : guard(limits) { REQUIRE(!client(settings())); }

  static std::string settings() { return frame(FrameType::kSettings, 0, 0, 6); }
  std::optional<GuardVerdict> client(const std::string& bytes) { return guard.from_client(bytes, now); }
  std::optional<GuardVerdict> server(const std::string& bytes) {
    guard.from_server(bytes, now);
    return guard.verdict();
  }
  // How many times `bytes` pass before a verdict; `most` if none comes.
  int passed(const std::string& bytes, int most) {
    for (int i = 0; i < most; ++i) {
      if (client(bytes)) {
        return i;
      }
    }
    return most;
  }

  ClientGuard guard;
  Clock::time_point now = Clock::now();
};

TEST_CASE("frames are found however the bytes are cut") {
  const std::string bytes = Connection::settings() + headers(1) + data(1, 4464, true) + reset(1);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{8}, std::size_t{9}, bytes.size()}) {
    FrameScanner scanner;
    std::string types;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      scanner.scan(std::string_view(bytes).substr(at, piece), [&](const http2::FrameHeader& header) {
        types += static_cast<char>('0' + static_cast<int>(header.type));
        return true;
      });
    }
    CHECK(types == "4103");
    CHECK(scanner.at_boundary());
    scanner.scan(bytes.substr(0, 10), [](const http2::FrameHeader&) { return true; });
    CHECK(!scanner.at_boundary());
  }
}

TEST_CASE("GOAWAY on the wire") {
  const std::string head("\x00\x00\x0a\x07\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x0b", 17);
  CHECK(http2::write_go_away(5, ErrorCode::kEnhanceYourCalm, "no") == head + "no");
}

TEST_CASE("streams open, become whole and end") {
  Connection connection;
  CHECK(!connection.client(headers(1) + data(1, 1000, false)));
  CHECK(connection.guard.open_streams() == 1);
  CHECK(connection.guard.running_streams() == 0);
  CHECK(connection.guard.partial_bytes() == 1000);
  CHECK(connection.guard.partial_streams_before(connection.now + std::chrono::seconds(1)) == 1);
  CHECK(!connection.client(data(1, 10, true)));
  CHECK(connection.guard.running_streams() == 1);
  CHECK(connection.guard.partial_bytes() == 0);
  CHECK(!connection.server(headers(1) + data(1, 100, false) + headers(1, true)));
  CHECK(connection.guard.open_streams() == 0);
  CHECK(connection.guard.quiet_since() == connection.now);
  CHECK(connection.guard.last_stream() == 1);
}

TEST_CASE("the first frame is SETTINGS") {
  ClientGuard guard{GuardLimits{}};
  const std::optional<GuardVerdict> verdict = guard.from_client(headers(1), Clock::now());
  REQUIRE(verdict);
  CHECK(verdict->code == ErrorCode::kProtocol);
}

TEST_CASE("resets: a burst passes, a flood does not, and the rate comes back") {
  Connection connection;
  std::uint32_t stream = 1;
  const auto open_and_reset = [&] {
    const std::string bytes = headers(stream, true) + reset(stream);
    stream += 2;
    return connection.client(bytes);
  };
  for (int i = 0; i < 2000; ++i) {
    REQUIRE(!open_and_reset());
  }
  connection.now += std::chrono::seconds(1);
  for (int i = 0; i < 200; ++i) {
    REQUIRE(!open_and_reset());
  }
  const std::optional<GuardVerdict> verdict = open_and_reset();
  REQUIRE(verdict);
  CHECK(verdict->code == ErrorCode::kEnhanceYourCalm);
}

TEST_CASE("streams that the server is made to reset count as well") {
  Connection connection;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    REQUIRE(!connection.client(headers(2 * i + 1)));
    REQUIRE(!connection.server(reset(2 * i + 1)));
  }
  REQUIRE(!connection.client(headers(4001)));
  CHECK(connection.server(reset(4001)));
}

TEST_CASE("a refusal before the request is whole is no reset") {
  Connection connection;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    REQUIRE(!connection.client(headers(2 * i + 1)));
    REQUIRE(!connection.server(headers(2 * i + 1, true) + reset(2 * i + 1)));
  }
}

TEST_CASE("floods of frames without a request end the connection") {
  const GuardLimits limits;
  const auto burst = static_cast<int>(limits.control.burst);
  const int many = 10 * burst;
  CHECK(Connection().passed(frame(FrameType::kPing, 0, 0, 8), many) <= burst);
  CHECK(Connection().passed(frame(FrameType::kWindowUpdate, 0, 0, 4), many) <= burst);
  CHECK(Connection().passed(frame(FrameType::kPriority, 0, 1, 5), many) <= burst);
  CHECK(Connection().passed(frame(static_cast<FrameType>(0x42), 0, 0, 3), many) <= burst);
  CHECK(Connection().passed(Connection::settings(), many) <= burst / 10);
  CHECK(Connection().passed(frame(FrameType::kGoAway, 0, 0, 8), many) <= burst / 10);
  Connection open;
  REQUIRE(!open.client(headers(1)));
  CHECK(open.passed(data(1, 0, false), many) <= burst / 10 + 1);
  Connection tiny;
  REQUIRE(!tiny.client(headers(1)));
  CHECK(tiny.passed(data(1, 1, false), many) <= burst + 8);
}

TEST_CASE("a client may answer every frame of the server") {
  Connection connection;
  REQUIRE(!connection.client(headers(1, true)));
  const std::string answer = frame(FrameType::kWindowUpdate, 0, 0, 4) + frame(FrameType::kWindowUpdate, 0, 1, 4) +
                             frame(FrameType::kPing, 0, 0, 8) + frame(FrameType::kPing, 1, 0, 8);
  for (int i = 0; i < 100000; ++i) {
    REQUIRE(!connection.server(data(1, 30, false)));
    REQUIRE(!connection.client(answer));
  }
}

TEST_CASE("header blocks are bounded in bytes and in frames") {
  const std::string begin = frame(FrameType::kHeaders, http2::kEndStream, 1, 10);
  Connection long_one;
  REQUIRE(!long_one.client(begin));
  CHECK(long_one.passed(frame(FrameType::kContinuation, 0, 1, 16000), 10) == 2);
  Connection empty;
  REQUIRE(!empty.client(begin));
  CHECK(empty.passed(frame(FrameType::kContinuation, 0, 1, 0), 100) == 8);
  Connection whole;
  CHECK(!whole.client(begin + frame(FrameType::kContinuation, http2::kEndHeaders, 1, 100) + headers(3, true)));
}

TEST_CASE("frames where they must not be") {
  const std::string open_block = frame(FrameType::kHeaders, 0, 1, 10);
  const std::pair<const char*, std::string> cases[] = {
      {"DATA inside a header block", open_block + data(1, 5, false)},
      {"CONTINUATION outside of one", frame(FrameType::kContinuation, 0, 1, 5)},
      {"CONTINUATION of another stream", open_block + frame(FrameType::kContinuation, 0, 3, 5)},
      {"HEADERS on stream 0", headers(0)},
      {"HEADERS on a server's stream", headers(2)},
      {"DATA on stream 0", data(0, 5, false)},
      {"DATA on a stream to come", data(1, 5, false)},
      {"RST_STREAM on a stream to come", reset(1)},
      {"PUSH_PROMISE", frame(FrameType::kPushPromise, 4, 1, 5)},
      {"a frame of 16385 bytes", frame(FrameType::kPing, 0, 0, 16385)},
  };
  for (const auto& [name, bytes] : cases) {
    INFO(name);
    CHECK(Connection().client(bytes));
  }
}

TEST_CASE("streams at once are bounded") {
  GuardLimits limits;
  limits.streams_max = 100;
  Connection connection(limits);
  for (std::uint32_t i = 0; i < 100; ++i) {
    REQUIRE(!connection.client(headers(2 * i + 1)));
  }
  CHECK(connection.client(headers(201)));
}

TEST_CASE("a request in many pieces of fair size passes") {
  Connection connection;
  REQUIRE(!connection.client(headers(1)));
  CHECK(connection.passed(data(1, 16384, false), 1024) == 1024);  // 16 MiB
  CHECK(connection.guard.partial_bytes() == std::size_t{16} << 20U);
}

TEST_CASE("a thousand users cancel at once") {
  Connection connection;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    REQUIRE(!connection.client(headers(2 * i + 1) + data(2 * i + 1, 100, true)));
  }
  for (std::uint32_t i = 0; i < 1000; ++i) {
    REQUIRE(!connection.client(reset(2 * i + 1)));
  }
  CHECK(connection.guard.open_streams() == 0);
}

}  // namespace
}  // namespace coppice::server
