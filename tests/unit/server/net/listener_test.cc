// The accept loop: it counts, marks those that are too many, and goes on whatever a client or its taker does.
#include "server/net/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/net/connection_list.h"
#include "server/net/io_loop.h"

namespace coppice::server {
namespace {

using std::chrono::milliseconds;

// A blocking client socket.
class Client {
 public:
  explicit Client(std::int32_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

 private:
  int socket_;
};

bool comes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 5000 && !condition(); ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  return condition();
}

// Keeps the clients it takes.
struct World {
  explicit World(const ListenerOptions& options = {}) {
    absl::StatusOr<std::unique_ptr<Listener>> opened =
        Listener::open(options, {&loops[0].context(), &loops[1].context()}, log);
    REQUIRE(opened.ok());
    listener = *std::move(opened);
    listener->start({[this](std::size_t loop, Listener::Client client) { take(loop, std::move(client)); },
                     [this](std::size_t loop) { return make_room(loop); }});
    loops[0].start();
    loops[1].start();
  }
  ~World() {
    loops[0].stop();
    loops[1].stop();
    clients.clear();  // their sockets are the loops'
  }

  void take(std::size_t loop, Listener::Client client) {
    if (fails.exchange(false)) {
      throw std::bad_alloc();
    }
    const std::lock_guard lock(mutex);
    by_loop[loop] += 1;
    over += client.over > 0 ? 1 : 0;
    clients.push_back(std::move(client));
  }
  bool make_room(std::size_t loop) {
    const std::lock_guard lock(mutex);
    const bool has_room = spare[loop] > 0;
    spare[loop] -= has_room ? 1 : 0;
    return has_room;
  }
  std::size_t count() {
    const std::lock_guard lock(mutex);
    return clients.size();
  }

  std::mutex mutex;
  std::vector<std::string> labels;  // under mutex, as what follows
  std::vector<Listener::Client> clients;
  int by_loop[2] = {0, 0};
  int over = 0;
  int spare[2] = {0, 0};  // connections that can be ended
  std::atomic<bool> fails{false};
  RefusalLog log{"test", [this](const char* label) {
                   const std::lock_guard lock(mutex);
                   labels.emplace_back(label);
                 }};
  IoLoop loops[2] = {IoLoop("test"), IoLoop("test")};
  std::unique_ptr<Listener> listener;
};

TEST_CASE("clients go to the loops in turn, with their addresses and places") {
  World world;
  std::vector<std::unique_ptr<Client>> sockets;
  for (int i = 0; i < 10; ++i) {
    sockets.push_back(std::make_unique<Client>(world.listener->port()));
  }
  REQUIRE(comes_true([&] { return world.count() == 10; }));
  CHECK(world.listener->connections() == 10);
  const std::lock_guard lock(world.mutex);
  CHECK(world.by_loop[0] == 5);
  CHECK(world.by_loop[1] == 5);
  CHECK(world.clients[0].peer.address().to_string() == "127.0.0.1");
  CHECK(world.over == 0);
  world.clients.clear();
  CHECK(world.listener->connections() == 0);
}

TEST_CASE("a name is listened on at every address that it has, with one port") {
  ListenerOptions options;
  options.host = "localhost";
  World world(options);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  REQUIRE(::getaddrinfo("localhost", std::to_string(world.listener->port()).c_str(), &hints, &found) == 0);
  std::size_t usable = 0;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int any_port = ::socket(address->ai_family, SOCK_STREAM, 0);
    sockaddr_storage local{};
    local.ss_family = static_cast<sa_family_t>(address->ai_family);
    if (address->ai_family == AF_INET6) {
      reinterpret_cast<sockaddr_in6&>(local).sin6_addr = in6addr_loopback;
    } else {
      reinterpret_cast<sockaddr_in&>(local).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    const bool is_here = ::bind(any_port, reinterpret_cast<sockaddr*>(&local), address->ai_addrlen) == 0;
    usable += is_here ? 1 : 0;
    CHECK(!is_here == (::connect(any_port, address->ai_addr, address->ai_addrlen) != 0));
    ::close(any_port);
  }
  ::freeaddrinfo(found);
  CHECK(usable > 0);
  CHECK(comes_true([&] { return world.count() == usable; }));
}

TEST_CASE("those beyond the limit are marked, those far beyond it closed and counted") {
  ListenerOptions options;
  options.connections_max = 8;  // and 16 more
  World world(options);
  std::vector<std::unique_ptr<Client>> sockets;
  for (int i = 0; i < 28; ++i) {
    sockets.push_back(std::make_unique<Client>(world.listener->port()));
  }
  REQUIRE(comes_true([&] {
    const std::lock_guard lock(world.mutex);
    return world.labels.size() == 4;
  }));
  REQUIRE(comes_true([&] { return world.count() == 24; }));  // the loops may be behind the acceptor
  const std::lock_guard lock(world.mutex);
  CHECK(world.over == 16);
  CHECK(world.labels == std::vector<std::string>(4, "too_many_connections"));
}

TEST_CASE("room is looked for on every loop") {
  ListenerOptions options;
  options.connections_max = 8;
  World world(options);
  world.spare[1] = 2;
  std::vector<std::unique_ptr<Client>> sockets;
  for (std::size_t i = 0; i < 10; ++i) {
    sockets.push_back(std::make_unique<Client>(world.listener->port()));
    REQUIRE(comes_true([&] { return world.count() == i + 1; }));
  }
  const std::lock_guard lock(world.mutex);
  CHECK(world.over == 0);
  CHECK(world.spare[1] == 0);
  CHECK(world.by_loop[0] == 5);
}

TEST_CASE("an exception of the taker costs its client alone") {
  World world;
  world.fails = true;
  const Client first(world.listener->port());
  REQUIRE(comes_true([&] { return !world.fails && world.listener->connections() == 0; }));
  const Client second(world.listener->port());
  const Client third(world.listener->port());
  CHECK(comes_true([&] { return world.count() == 2; }));
}

TEST_CASE("a closed listener takes no one") {
  World world;
  world.listener->close();
  std::this_thread::sleep_for(milliseconds(50));
  const int handle = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(world.listener->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(handle, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0);
  ::close(handle);
}

TEST_CASE("errors name the flag") {
  RefusalLog log("test", {});
  IoLoop loop("test");
  ListenerOptions options;
  options.host = "192.0.2.1";  // no address of this machine
  options.port_flag = "--some-port";
  options.port = 4711;
  const auto opened = Listener::open(options, {&loop.context()}, log);
  REQUIRE_FALSE(opened.ok());
  CHECK_THAT(std::string(opened.status().message()),
             Catch::StartsWith("--some-port 4711: cannot listen on 192.0.2.1:4711: "));
}

// What ConnectionList asks of a connection.
struct Quiet {
  using Clock = std::chrono::steady_clock;
  Clock::duration quiet_for(Clock::time_point /*now*/) const { return milliseconds(quiet_ms); }
  void make_room() { has_gone = true; }

  int quiet_ms = 0;
  bool has_gone = false;
};

TEST_CASE("the quietest connection makes room; those that are not quiet never do") {
  ConnectionList<Quiet> list;
  CHECK_FALSE(list.make_room());
  std::vector<std::shared_ptr<Quiet>> all;
  for (const int quiet_ms : {0, 5, 9, 7}) {
    all.push_back(std::make_shared<Quiet>());
    all.back()->quiet_ms = quiet_ms;
    list.add(all.back());
  }
  CHECK(list.make_room());
  CHECK(all[2]->has_gone);
  all[2].reset();
  all[1]->quiet_ms = 0;
  CHECK(list.make_room());
  CHECK(all[3]->has_gone);
  CHECK_FALSE(all[0]->has_gone);
  all[3]->quiet_ms = 0;
  CHECK_FALSE(list.make_room());
  int seen = 0;
  list.for_each([&seen](Quiet& /*connection*/) { ++seen; });
  CHECK(seen == 3);
}

}  // namespace
}  // namespace coppice::server
