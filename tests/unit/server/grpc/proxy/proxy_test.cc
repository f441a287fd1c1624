// The proxy over real sockets, before a server of the test's own: greeting, relaying, limits, shutdown.
#include "server/grpc/proxy/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace coppice::server {
namespace {

using http2::FrameType;
using std::chrono::milliseconds;

constexpr int kPatienceMs = 5000;
constexpr int kAttempts = 20;
constexpr int kAttemptMs = 250;  // to be served in; all attempts together are as patient as a read

// A blocking read with a time limit: what came; "" at the end of the file.
std::string read_some(int handle) {
  pollfd entry{handle, POLLIN, 0};
  if (poll(&entry, 1, kPatienceMs) != 1) {
    return "(nothing came)";
  }
  char buffer[65536];
  const ssize_t count = recv(handle, buffer, sizeof(buffer), 0);
  return count > 0 ? std::string(buffer, static_cast<std::size_t>(count)) : std::string();
}

std::string read_bytes(int handle, std::size_t bytes) {
  std::string all;
  while (all.size() < bytes) {
    const std::string more = read_some(handle);
    if (more.empty() || more[0] == '(') {
      break;
    }
    all += more;
  }
  return all;
}

// Owner: a test. A TCP client.
class Client {
 public:
  explicit Client(std::int32_t port) : handle_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(handle_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Client() { close(handle_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(const std::string& bytes) { CHECK(::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0); }
  std::string read() { return read_some(handle_); }
  // Everything until the connection is closed.
  std::string read_all() {
    std::string all;
    for (std::string more = read(); !more.empty() && more[0] != '('; more = read()) {
      all += more;
    }
    return all;
  }

 private:
  int handle_;
};

// Keeps the ends that the proxy hands over.
class Backend {
 public:
  ~Backend() {
    for (const int handle : handles_) {
      close(handle);
    }
  }
  Proxy::Connect connect() {
    return [this](int handle) {
      const std::lock_guard lock(mutex_);
      handles_.push_back(handle);
    };
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return handles_.size();
  }
  // The i-th end, when it has come.
  int handle(std::size_t i) {
    for (int round = 0; round < kPatienceMs && count() <= i; ++round) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    const std::lock_guard lock(mutex_);
    REQUIRE(handles_.size() > i);
    return handles_[i];
  }

 private:
  std::mutex mutex_;
  std::vector<int> handles_;
};

std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, std::size_t bytes) {
  return http2::write_frame_header({static_cast<std::uint32_t>(bytes), type, flags, stream}) + std::string(bytes, 'x');
}
std::string greeting() {
  return std::string(http2::kPreface) + frame(FrameType::kSettings, 0, 0, 0);
}
std::string request(std::uint32_t stream) {
  return frame(FrameType::kHeaders, http2::kEndHeaders | http2::kEndStream, stream, 20);
}
std::string answer(std::uint32_t stream) {
  return frame(FrameType::kHeaders, http2::kEndHeaders | http2::kEndStream, stream, 9);
}

std::unique_ptr<Proxy> start(Backend& backend, const ProxyOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<Proxy>> proxy = Proxy::start(options, backend.connect());
  REQUIRE(proxy.ok());
  return *std::move(proxy);
}

bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < kPatienceMs && !holds(); ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  return holds();
}

TEST_CASE("bytes go both ways unchanged") {
  Backend backend;
  const auto proxy = start(backend);
  Client client(proxy->port());
  client.send(greeting() + request(1));
  const std::string sent = greeting() + request(1);
  CHECK(read_bytes(backend.handle(0), sent.size()) == sent);
  CHECK(eventually([&] { return proxy->streams() == 1; }));
  const std::string answered = frame(FrameType::kSettings, 0, 0, 0) + answer(1);
  REQUIRE(send(backend.handle(0), answered.data(), answered.size(), 0) > 0);
  CHECK(client.read() == answered);
  CHECK(eventually([&] { return proxy->streams() == 0; }));
}

TEST_CASE("a client that says nothing, or not HTTP/2, never reaches the server") {
  Backend backend;
  ProxyOptions options;
  options.handshake_timeout = milliseconds(200);
  const auto proxy = start(backend, options);
  Client silent(proxy->port());
  Client http1(proxy->port());
  http1.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  Client half(proxy->port());
  half.send(std::string(http2::kPreface.substr(0, 10)));
  CHECK(http1.read().empty());
  CHECK(silent.read().empty());
  CHECK(half.read().empty());
  CHECK(backend.count() == 0);
  CHECK(eventually([&] { return proxy->connections() == 0; }));
}

TEST_CASE("a flood ends with GOAWAY and the server's end closes") {
  Backend backend;
  const auto proxy = start(backend);
  Client client(proxy->port());
  client.send(greeting() + request(1));
  const int server = backend.handle(0);
  read_bytes(server, greeting().size() + request(1).size());
  std::string flood;
  for (int i = 0; i < 3000; ++i) {
    flood += frame(FrameType::kPing, 0, 0, 8);
  }
  client.send(flood);
  const std::string last = client.read_all();
  REQUIRE(last.size() > 17);
  CHECK(last[3] == static_cast<char>(FrameType::kGoAway));
  CHECK(last[16] == static_cast<char>(http2::ErrorCode::kEnhanceYourCalm));
  CHECK(eventually([&] { return proxy->connections() == 0 && proxy->streams() == 0; }));
}

TEST_CASE("a client that does not read is closed, and the server is not read meanwhile") {
  Backend backend;
  ProxyOptions options;
  options.write_timeout = milliseconds(300);
  const auto proxy = start(backend, options);
  Client client(proxy->port());
  client.send(greeting());
  const int server = backend.handle(0);
  const std::string block = frame(FrameType::kData, 0, 1, 16000);
  std::size_t taken = 0;
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(kPatienceMs);
  while (std::chrono::steady_clock::now() < deadline) {
    const ssize_t count = send(server, block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      taken += static_cast<std::size_t>(count);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      break;
    } else {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  CHECK(taken < (std::size_t{16} << 20U));  // the kernel's buffers and one piece
  CHECK(eventually([&] { return proxy->connections() == 0; }));
}

TEST_CASE("connections beyond the limit take the place of idle ones, never of busy ones") {
  Backend backend;
  ProxyOptions options;
  options.connections_max = 2;
  const auto proxy = start(backend, options);
  Client busy(proxy->port());
  busy.send(greeting() + request(1));
  Client idle(proxy->port());
  idle.send(greeting());
  backend.handle(1);
  Client third(proxy->port());
  third.send(greeting());
  backend.handle(2);
  idle.read_all();
  CHECK(eventually([&] { return proxy->connections() == 2; }));
  CHECK(proxy->streams() == 1);
}

TEST_CASE("idle connections end with GOAWAY") {
  Backend backend;
  ProxyOptions options;
  options.idle_timeout = milliseconds(200);
  const auto proxy = start(backend, options);
  Client client(proxy->port());
  client.send(greeting());
  const std::string last = client.read_all();
  REQUIRE(last.size() > 17);
  CHECK(last[3] == static_cast<char>(FrameType::kGoAway));
  CHECK(last[16] == static_cast<char>(http2::ErrorCode::kNone));
}

TEST_CASE("a request that never comes whole ends its connection") {
  Backend backend;
  ProxyOptions options;
  options.request_timeout = milliseconds(200);
  const auto proxy = start(backend, options);
  Client client(proxy->port());
  client.send(greeting() + frame(FrameType::kHeaders, http2::kEndHeaders, 1, 20));
  CHECK(client.read_all().size() > 17);
}

TEST_CASE("requests under way are bounded together") {
  Backend backend;
  ProxyOptions options;
  options.requests_bytes_max = 200000;
  const auto proxy = start(backend, options);
  Client first(proxy->port());
  Client second(proxy->port());
  const std::string large = greeting() + frame(FrameType::kHeaders, http2::kEndHeaders, 1, 20) +
                            frame(FrameType::kData, 0, 1, 16000) + frame(FrameType::kData, 0, 1, 16000) +
                            frame(FrameType::kData, 0, 1, 16000) + frame(FrameType::kData, 0, 1, 16000) +
                            frame(FrameType::kData, 0, 1, 16000) + frame(FrameType::kData, 0, 1, 16000) +
                            frame(FrameType::kData, 0, 1, 16000) + frame(FrameType::kData, 0, 1, 16000);
  first.send(large);
  read_bytes(backend.handle(0), large.size());
  second.send(large);
  CHECK(second.read_all().size() > 17);
  CHECK(eventually([&] { return proxy->streams() == 1; }));
}

TEST_CASE("draining: silent and idle clients go at once, a running answer is finished") {
  Backend backend;
  const auto proxy = start(backend);
  Client silent(proxy->port());
  Client idle(proxy->port());
  idle.send(greeting());
  backend.handle(0);
  Client half(proxy->port());
  half.send(greeting() + frame(FrameType::kHeaders, http2::kEndHeaders, 1, 20));
  backend.handle(1);
  Client busy(proxy->port());
  busy.send(greeting() + request(1));
  const int server = backend.handle(2);
  read_bytes(server, greeting().size() + request(1).size());
  proxy->drain();
  CHECK(eventually([&] { return proxy->connections() == 1; }));
  const std::string answered = answer(1);
  REQUIRE(send(server, answered.data(), answered.size(), 0) > 0);
  CHECK(busy.read_all().substr(0, answered.size()) == answered);
  const auto begin = std::chrono::steady_clock::now();
  proxy->stop(milliseconds(kPatienceMs));
  CHECK(std::chrono::steady_clock::now() - begin < milliseconds(kPatienceMs));
}

TEST_CASE("a port that is taken and an address that is not ours are named") {
  Backend backend;
  const auto proxy = start(backend);
  ProxyOptions options;
  options.port = proxy->port();
  const auto taken = Proxy::start(options, backend.connect());
  REQUIRE(!taken.ok());
  CHECK_THAT(std::string(taken.status().message()), Catch::Contains("Address already in use") &&
                                                        Catch::Contains("--grpc-port") &&
                                                        Catch::Contains("127.0.0.1:"));
  options.host = "192.0.2.1";
  options.port = 0;
  CHECK(!Proxy::start(options, backend.connect()).ok());
  options.host = "::1";
  const auto six = Proxy::start(options, backend.connect());
  CHECK(six.ok());
  options.host = "127.0.0.1";
  options.tls.certificate = "no certificate";
  const auto tls = Proxy::start(options, backend.connect());
  REQUIRE(!tls.ok());
  CHECK_THAT(std::string(tls.status().message()), Catch::Contains("--tls-cert"));
}

TEST_CASE("out of file handles: clients are closed at once, and served again afterwards") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  Backend backend;
  const auto proxy = start(backend);
  {
    const int next = dup(0);  // the lowest handle that is free
    close(next);
    const rlimit tight{static_cast<rlim_t>(next) + 1, before.rlim_max};  // the client's own, and no more
    REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    Client client(proxy->port());
    const std::string said = client.read();
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(said.empty());
  }
  // A client that comes while the queue is still being emptied is closed with the others, so it comes again.
  const auto is_served = [&] { return backend.count() > 0; };
  for (int attempt = 0; attempt < kAttempts && !is_served(); ++attempt) {
    Client client(proxy->port());
    client.send(greeting());
    for (int round = 0; round < kAttemptMs && !is_served(); ++round) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  CHECK(is_served());
}

}  // namespace
}  // namespace coppice::server
