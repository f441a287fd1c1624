// The HTTP server over real sockets, with an application of the test's own: keep-alive, pipelining, clients that leave,
// read nothing, or are slow, and shutdown.
#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <new>
#include <string>
#include <thread>

namespace coppice::server {
namespace {

using std::chrono::milliseconds;

// Answers "/x" with "/x"; "/hang" never; "/flood" with 20 MB at once; "/large" with 4 MB; "/hold" when released;
// "/quiet" with a stream of what it hears of silence.
class TestApplication final : public HttpApplication {
 public:
  class Handler final : public RequestHandler {
   public:
    explicit Handler(TestApplication& owner, Exchange* quiet = nullptr) : owner_(owner), quiet_(quiet) {
      ++owner_.live;
    }
    ~Handler() override { --owner_.live; }

    void on_quiet() override {
      if (quiet_ != nullptr) {
        quiet_->write(++heard_ < 3 ? "still here\n" : "the end\n");
        if (heard_ == 3) {
          quiet_->end_stream(StreamEnd::kWhole);
        }
      }
    }

   private:
    TestApplication& owner_;
    Exchange* const quiet_;
    int heard_ = 0;
  };

  std::unique_ptr<RequestHandler> handle(HttpRequest request, Exchange& exchange, SessionHub& /*hub*/) override {
    if (request.target == "/throw") {
      throw std::bad_alloc();
    }
    if (request.target == "/hang" || request.target == "/later") {
      if (request.target == "/later") {
        std::thread([post = exchange.poster(), &exchange] {
          std::this_thread::sleep_for(milliseconds(300));
          post([&exchange] {
            HttpResponse response;
            response.body = "at last";
            exchange.respond(std::move(response));
          });
        }).detach();
      }
      return std::make_unique<Handler>(*this);
    }
    if (request.target == "/quiet") {
      exchange.begin_stream({});
      return std::make_unique<Handler>(*this, &exchange);
    }
    if (request.target == "/hold") {
      const std::lock_guard<std::mutex> lock(mutex);
      held = &exchange;
      return std::make_unique<Handler>(*this);
    }
    if (request.target == "/flood" || request.target == "/large") {
      exchange.begin_stream({});
      const std::string megabyte(std::size_t{1} << 20U, 'x');
      for (int i = request.target == "/flood" ? 20 : 4; i > 0; --i) {
        exchange.write(megabyte);
      }
      if (request.target == "/large") {
        exchange.end_stream(StreamEnd::kWhole);
      }
      return std::make_unique<Handler>(*this);
    }
    HttpResponse response;
    response.body = request.method + " " + request.target + " " + request.body;
    exchange.respond(std::move(response));
    return nullptr;
  }

  openai::Result<std::string> admit_body(const HttpRequest& head) override {
    if (head.header("x-key") == "wrong") {
      return openai::unauthorized("no");
    }
    return std::string();
  }

  HttpResponse refuse(const openai::ApiError& error, const HttpRequest* /*head*/) override {
    HttpResponse response;
    response.status = error.status;
    response.body = error.message;
    return response;
  }

  std::atomic<int> live{0};
  std::mutex mutex;
  Exchange* held = nullptr;
};

// A blocking client socket.
class Client {
 public:
  explicit Client(std::int32_t port, int receive_bytes = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) {
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    const timeval patience = {5, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(const std::string& text) { REQUIRE(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) > 0); }
  void close() {
    if (socket_ >= 0) {
      ::close(std::exchange(socket_, -1));
    }
  }

  // Until `end` has come `count` times, the server closes, or patience ends.
  std::string receive(const std::string& end, std::size_t count = 1) {
    std::string all;
    std::size_t seen = 0;
    std::size_t from = 0;
    std::array<char, 65536> buffer{};
    while (seen < count) {
      const ssize_t got = ::recv(socket_, buffer.data(), buffer.size(), 0);
      if (got <= 0) {
        break;
      }
      all.append(buffer.data(), static_cast<std::size_t>(got));
      for (std::size_t at = all.find(end, from); at != std::string::npos && !end.empty(); at = all.find(end, from)) {
        ++seen;
        from = at + end.size();
      }
    }
    return all;
  }
  std::string receive_all() { return receive("", 1); }
  void end_input() { ::shutdown(socket_, SHUT_WR); }

 private:
  int socket_;
};

bool comes_true(const std::function<bool()>& condition, int tries = 500) {
  for (int i = 0; i < tries; ++i) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

struct World {
  explicit World(HttpOptions options = {}, const MemoryLimits& limits = {}) : memory(limits) {
    options.threads = 2;
    absl::StatusOr<std::unique_ptr<HttpServer>> started = HttpServer::start(options, application, memory);
    REQUIRE(started.ok());
    server = *std::move(started);
  }
  TestApplication application;
  MemoryBudget memory;
  std::unique_ptr<HttpServer> server;
};

TEST_CASE("many requests on one connection, apart and pipelined") {
  World world;
  Client client(world.server->port());
  client.send("GET /one HTTP/1.1\r\nhost: x\r\n\r\n");
  CHECK_THAT(client.receive("GET /one "), Catch::StartsWith("HTTP/1.1 200 OK\r\n"));
  client.send("POST /two HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
  CHECK_THAT(client.receive("POST /two abc"), Catch::Contains("content-length: 13\r\n"));
  std::string many;
  for (int i = 0; i < 500; ++i) {
    many += "GET /p" + std::to_string(i) + " HTTP/1.1\r\nhost: x\r\n\r\n";
  }
  client.send(many);
  const std::string answers = client.receive("GET /p499 ");
  std::size_t at = 0;
  for (int i = 0; i < 500; ++i) {
    at = answers.find("GET /p" + std::to_string(i) + " ", at);
    REQUIRE(at != std::string::npos);
  }
}

TEST_CASE("a handler hears that its client has been sent nothing, again and again, until its answer ends") {
  HttpOptions options;
  options.quiet_period = milliseconds(50);
  World world(options);
  Client client(world.server->port());
  client.send("GET /quiet HTTP/1.1\r\nhost: x\r\n\r\n");
  CHECK_THAT(client.receive("0\r\n\r\n"),
             Catch::Contains("still here\n\r\nb\r\nstill here\n") && Catch::Contains("the end\n"));
  CHECK(comes_true([&] { return world.application.live == 0; }));
}

TEST_CASE("HEAD has the length but no body; connection: close closes") {
  World world;
  Client client(world.server->port());
  client.send("HEAD /abc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  const std::string answer = client.receive_all();
  CHECK_THAT(answer, Catch::Contains("content-length: 10\r\n"));
  CHECK_THAT(answer, Catch::EndsWith("connection: close\r\n\r\n"));
}

TEST_CASE("a client that leaves has its handler destroyed at once") {
  World world;
  for (int i = 0; i < 20; ++i) {
    Client client(world.server->port());
    client.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
    REQUIRE(comes_true([&] { return world.application.live == 1; }));
    client.close();
    REQUIRE(comes_true([&] { return world.application.live == 0; }));
  }
  CHECK(comes_true([&] { return world.server->connections() == 0; }));
}

TEST_CASE("a client that leaves is noticed behind all that it has sent ahead") {
  World world;
  Client client(world.server->port());
  client.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
  REQUIRE(comes_true([&] { return world.application.live == 1; }));
  std::string ahead;
  while (ahead.size() < 200'000) {
    ahead += "GET /hang HTTP/1.1\r\nhost: x\r\n\r\n";
  }
  client.send(ahead);
  CHECK_FALSE(comes_true([&] { return world.application.live == 0; }, 10));
  client.close();
  CHECK(comes_true([&] { return world.application.live == 0; }));
}

TEST_CASE("a client that ends its input and stays gets its answer") {
  World world;
  Client client(world.server->port());
  client.send("GET /later HTTP/1.1\r\nhost: x\r\n\r\n");
  client.end_input();
  const std::string answer = client.receive_all();
  CHECK_THAT(answer, Catch::Contains("HTTP/1.1 200 OK") && Catch::EndsWith("at last"));
}

TEST_CASE("an exception in a handler is a 500 and leaves nothing behind") {
  World world;
  Client client(world.server->port());
  client.send("GET /throw HTTP/1.1\r\nhost: x\r\n\r\nGET /next HTTP/1.1\r\nhost: x\r\n\r\n");
  const std::string answers = client.receive("GET /next ");
  CHECK_THAT(answers, Catch::StartsWith("HTTP/1.1 500 ") && Catch::EndsWith("GET /next "));
  CHECK(comes_true([&] { return world.server->active_requests() == 0; }));
}

TEST_CASE("a large body that is not welcome is refused before it is sent") {
  World world;
  Client client(world.server->port());
  client.send("POST /b HTTP/1.1\r\nhost: x\r\nx-key: wrong\r\ncontent-length: 10000000\r\n\r\n" +
              std::string(MemoryBudget::kFreeBytes + 1, 'x'));
  CHECK_THAT(client.receive_all(), Catch::StartsWith("HTTP/1.1 401 "));
}

TEST_CASE("a client that reads nothing is cut off when too much waits for it") {
  HttpOptions options;
  options.output_bytes_max = std::size_t{8} << 20U;
  World world(options);
  Client client(world.server->port(), 4096);
  client.send("GET /flood HTTP/1.1\r\nhost: x\r\n\r\n");
  CHECK(comes_true([&] { return world.server->connections() == 0; }));
  CHECK(world.application.live == 0);
}

TEST_CASE("a client that reads nothing is cut off after the write timeout; one that reads gets everything") {
  HttpOptions options;
  options.write_timeout = milliseconds(300);
  World world(options);
  {
    Client client(world.server->port(), 4096);
    client.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n");
    CHECK(comes_true([&] { return world.application.live == 1; }));
    CHECK(comes_true([&] { return world.server->connections() == 0; }));
  }
  Client client(world.server->port());
  client.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n");
  const std::string answer = client.receive("0\r\n\r\n");
  CHECK(std::count(answer.begin(), answer.end(), 'x') == 4 << 20);
}

TEST_CASE("slow headers, slow bodies and idle connections end by the clock") {
  HttpOptions options;
  options.header_timeout = milliseconds(200);
  options.body_timeout = milliseconds(300);
  options.idle_timeout = milliseconds(400);
  World world(options);
  Client header(world.server->port());
  header.send("GET / HT");
  CHECK_THAT(header.receive_all(), Catch::StartsWith("HTTP/1.1 408 "));
  Client body(world.server->port());
  body.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc");
  CHECK_THAT(body.receive_all(), Catch::StartsWith("HTTP/1.1 408 "));
  Client idle(world.server->port());
  CHECK(idle.receive_all().empty());
}

TEST_CASE("connections too many are refused, and served again when there is room") {
  HttpOptions options;
  options.connections_max = 2;
  World world(options);
  {
    Client first(world.server->port());
    Client second(world.server->port());
    for (Client* const client : {&first, &second}) {  // at work: they make no room
      client->send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    REQUIRE(comes_true([&] { return world.application.live == 2; }));
    Client third(world.server->port());
    CHECK_THAT(third.receive_all(), Catch::StartsWith("HTTP/1.1 503 "));
  }
  REQUIRE(comes_true([&] { return world.server->connections() == 0; }));
  Client again(world.server->port());
  again.send("GET /b HTTP/1.1\r\nhost: x\r\n\r\n");
  CHECK_THAT(again.receive("GET /b "), Catch::StartsWith("HTTP/1.1 200 "));
}

TEST_CASE("a connection that waits for its client makes room for another") {
  HttpOptions options;
  options.connections_max = 2;
  std::vector<std::string> refused;
  std::mutex mutex;
  options.count_refusal = [&](const char* label) {
    const std::lock_guard<std::mutex> lock(mutex);
    refused.emplace_back(label);
  };
  World world(options);
  Client idle(world.server->port());
  idle.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
  (void)idle.receive("GET /a ");
  Client half(world.server->port());
  half.send("GET /b HT");
  REQUIRE(comes_true([&] { return world.server->connections() == 2; }));
  std::this_thread::sleep_for(milliseconds(400));
  std::vector<std::unique_ptr<Client>> held;  // one on each thread
  for (int i = 0; i < 2; ++i) {
    held.push_back(std::make_unique<Client>(world.server->port()));
    held.back()->send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
  }
  CHECK(comes_true([&] { return world.application.live == 2; }));
  CHECK(idle.receive_all().empty());
  CHECK(half.receive_all().empty());
  Client late(world.server->port());
  CHECK_THAT(late.receive_all(), Catch::StartsWith("HTTP/1.1 503 "));
  CHECK(world.application.live == 2);
  const std::lock_guard<std::mutex> lock(mutex);
  CHECK(refused == std::vector<std::string>{"made_room", "made_room", "too_many_connections"});
}

TEST_CASE("bodies being received at once have a bound: one too many is refused, small ones and the rest go on") {
  constexpr std::size_t kKiB = 1024;
  MemoryLimits limits;
  limits.server_bytes = 2 * (256 - 64) * kKiB;  // half of it for bodies on their way; 64 KiB of each are free
  World world({}, limits);
  const std::string head = "POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: " + std::to_string(200 * kKiB) + "\r\n\r\n";
  Client slow(world.server->port());
  slow.send(head + std::string(199 * kKiB, 'x'));
  REQUIRE(comes_true([&] { return world.memory.used() == 199 * kKiB - MemoryBudget::kFreeBytes; }));
  for (int i = 0; i < 3; ++i) {
    Client second(world.server->port());
    second.send(head + std::string(199 * kKiB, 'x'));
    const std::string answer = second.receive_all();
    CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 429 ") && Catch::Contains("--memory-of-requests") &&
                           Catch::Contains("connection: close"));
  }
  REQUIRE(comes_true([&] { return world.memory.used() == 199 * kKiB - MemoryBudget::kFreeBytes; }));
  Client small(world.server->port());
  small.send("POST /s HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
  CHECK_THAT(small.receive("POST /s abc"), Catch::StartsWith("HTTP/1.1 200 "));
  slow.send(std::string(kKiB, 'x'));
  CHECK_THAT(slow.receive("POST /b x"), Catch::StartsWith("HTTP/1.1 200 "));
  REQUIRE(comes_true([&] { return world.memory.used() == 0; }));
  Client leaver(world.server->port());
  leaver.send(head + std::string(199 * kKiB, 'x'));
  REQUIRE(comes_true([&] { return world.memory.used() > 0; }));
  leaver.close();
  REQUIRE(comes_true([&] { return world.memory.used() == 0; }));
  Client last(world.server->port());
  last.send(head + std::string(200 * kKiB, 'x'));
  CHECK_THAT(last.receive("POST /b x"), Catch::StartsWith("HTTP/1.1 200 "));
}

TEST_CASE("shutdown: idle connections close, running answers are finished, new clients are refused") {
  World world;
  Client idle(world.server->port());
  idle.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
  (void)idle.receive("GET /a ");
  Client busy(world.server->port());
  busy.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
  REQUIRE(comes_true([&] { return world.application.live == 1; }));
  CHECK(world.server->active_requests() == 1);
  world.server->stop_accepting();
  CHECK(idle.receive_all().empty());
  CHECK(world.server->active_requests() == 1);
  busy.close();
  CHECK(comes_true([&] { return world.server->active_requests() == 0; }));
  world.server->stop();
}

TEST_CASE("while others are waited for, connections are answered once more, new ones too, and then close") {
  World world;
  Client open(world.server->port());
  open.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
  CHECK_THAT(open.receive("GET /a "), !Catch::Contains("connection: close"));
  world.server->end_connections_with_answers();
  Client silent(world.server->port());
  for (Client* const client : {&open, &silent}) {
    client->send("GET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    const std::string answer = client->receive_all();
    CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 200 "));
    CHECK_THAT(answer, Catch::Contains("connection: close\r\n"));
    CHECK_THAT(answer, Catch::Contains("GET /b"));
    CHECK(client->receive_all().empty());
  }
}

TEST_CASE("stopping with requests running destroys their handlers") {
  TestApplication application;
  MemoryBudget memory;
  {
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::start({}, application, memory);
    REQUIRE(server.ok());
    Client client((*server)->port());
    client.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
    REQUIRE(comes_true([&] { return application.live == 1; }));
    server->reset();
  }
  CHECK(application.live == 0);
}

TEST_CASE("addresses and certificates that do not work are told by flag") {
  TestApplication application;
  MemoryBudget memory;
  HttpOptions options;
  options.host = "no.such.host.invalid";
  CHECK_THAT(std::string(HttpServer::start(options, application, memory).status().message()),
             Catch::Contains("--host"));
  options.host = "127.0.0.1";
  options.tls = {"no certificate", "no key"};
  CHECK_THAT(std::string(HttpServer::start(options, application, memory).status().message()),
             Catch::Contains("--tls-cert"));
}

}  // namespace
}  // namespace coppice::server
