// The gRPC server over a real socket, spoken to in HTTP/2 frames: clients that read nothing.
#include "server/grpc/grpc_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "server/grpc/proxy/http2.h"
#include "server/kv_events/kv_events.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using http2::FrameType;
using std::chrono::milliseconds;

constexpr int kPatienceMs = 10'000;

std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, const std::string& payload) {
  return http2::write_frame_header({static_cast<std::uint32_t>(payload.size()), type, flags, stream}) + payload;
}

// A header field without compression (RFC 7541, 6.2.2).
std::string field(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
}

// A call of a method with an empty message.
std::string call(std::uint32_t stream, const std::string& method) {
  const std::string headers = field(":method", "POST") + field(":scheme", "http") +
                              field(":path", "/coppice.v1.Inference/" + method) + field(":authority", "x") +
                              field("te", "trailers") + field("content-type", "application/grpc");
  return frame(FrameType::kHeaders, http2::kEndHeaders, stream, headers) +
         frame(FrameType::kData, http2::kEndStream, stream, std::string(5, '\0'));
}

// Owner: a test. A TCP client that lets the server send nothing of its answers.
class Client {
 public:
  explicit Client(std::int32_t port) : handle_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(handle_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    const std::string no_window("\0\4\0\0\0\0", 6);  // SETTINGS_INITIAL_WINDOW_SIZE 0
    send(std::string(http2::kPreface) + frame(FrameType::kSettings, 0, 0, no_window));
  }
  ~Client() { close(handle_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(const std::string& bytes) { REQUIRE(::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0); }

 private:
  int handle_;
};

struct World {
  explicit World(std::int64_t calls_max = 16384, milliseconds write_timeout = milliseconds(300)) {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b"});
    host.engine = &engine;
    host.metrics = &state.metrics;
    state.host = &host;
    state.phase = Phase::kServing;
    GrpcOptions options;
    options.proxy.write_timeout = write_timeout;
    options.proxy.streams_max = calls_max;
    options.message_bytes_max = 1 << 20;
    absl::StatusOr<std::unique_ptr<GrpcServer>> opened = GrpcServer::open(options, state);
    REQUIRE(opened.ok());
    server = *std::move(opened);
  }

  bool watches_until(const std::function<bool()>& holds) {
    for (int i = 0; i < kPatienceMs / 10 && !holds(); ++i) {
      server->watch();
      std::this_thread::sleep_for(milliseconds(10));
    }
    return holds();
  }

  ServerState state{"m", ApiKeys()};
  engine::ScriptedEngine engine;
  ModelHost host;
  std::unique_ptr<GrpcServer> server;
};

TEST_CASE("calls whose answers are not read end, and leave their places to others") {
  World world;
  Client client(world.server->port());
  std::string calls;
  for (std::uint32_t i = 0; i < 20; ++i) {
    calls += call(2 * i + 1, "ListModels");
  }
  client.send(calls);
  CHECK(world.watches_until([&] { return world.server->active_requests() == 20; }));
  CHECK(world.watches_until([&] { return world.server->active_requests() == 0; }));
  world.server->drain(milliseconds(0));
}

TEST_CASE("an unread answer does not hold up the end by more than the time a client has to read") {
  World world;
  Client client(world.server->port());
  client.send(call(1, "ListModels"));
  CHECK(world.watches_until([&] { return world.server->active_requests() == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  world.server->drain(milliseconds(kPatienceMs));
  CHECK(std::chrono::steady_clock::now() - begin < milliseconds(kPatienceMs / 2));
}

TEST_CASE("a reader of KV events who reads nothing does not hold up the end") {
  World world(16384, milliseconds(4 * kPatienceMs));
  absl::StatusOr<std::unique_ptr<KvEvents>> events =
      KvEvents::open({.address = "grpc", .is_local = true}, world.state.keys);
  REQUIRE(events.ok());
  REQUIRE((*events)->start(16).ok());
  world.state.kv_events = events->get();
  Client client(world.server->port());
  client.send(call(1, "SubscribeKvEvents"));
  CHECK(world.watches_until([&] { return world.server->active_requests() == 1; }));
  CHECK(world.server->ending_requests() == 0);
  const auto begin = std::chrono::steady_clock::now();
  (*events)->close();
  world.server->drain(milliseconds(kPatienceMs));
  CHECK(std::chrono::steady_clock::now() - begin < milliseconds(kPatienceMs / 2));
}

}  // namespace
}  // namespace coppice::server
