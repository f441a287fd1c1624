// Threads, clocks, shutdown.
#include "server/grpc/proxy/proxy.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "server/grpc/proxy/proxy_connection.h"
#include "server/net/connection_list.h"
#include "server/net/io_loop.h"
#include "server/net/listener.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);  // errors are returned, not thrown
constexpr const char* kName = "grpc";                         // begins log lines
constexpr std::chrono::milliseconds kCheckPeriod{100};        // between two looks at the connections' clocks
constexpr std::chrono::milliseconds kStopPoll{5};             // delays the end of the process unseen
constexpr std::int64_t kHandlesEach = 3;                      // the client's socket and both ends of the pair
constexpr double kHandlesShare = 0.5;                         // of the process's handles

// One thread. Owner: the proxy.
struct Loop {
  ConnectionList<ProxyConnection> live;  // this thread only
  IoLoop io{kName};
  asio::steady_timer timer{io.context()};
};

asio::awaitable<void> check_clocks(Loop& loop) {
  while (true) {
    loop.timer.expires_after(kCheckPeriod);
    co_await loop.timer.async_wait(kAwait);
    const Clock::time_point now = Clock::now();
    loop.live.for_each([now](ProxyConnection& connection) { connection.check(now); });
  }
}

ListenerOptions listener_options(const ProxyOptions& options) {
  ListenerOptions listener;
  listener.name = kName;
  listener.port_flag = "--grpc-port";
  listener.host = options.host;
  listener.port = options.port;
  listener.tls = options.tls;
  listener.protocol = TlsProtocol::kHttp2;
  listener.connections_max = options.connections_max;
  listener.handles_each = kHandlesEach;
  listener.handles_share = kHandlesShare;
  listener.handshakes_max = options.handshakes_max;
  return listener;
}

}  // namespace

struct Proxy::Loops {
  Loops(const ProxyOptions& asked, Connect connect_to)
      : options(asked), connect(std::move(connect_to)), log(kName, options.count_refusal) {
    for (std::int32_t i = 0; i < std::max(options.threads, 1); ++i) {
      all.push_back(std::make_unique<Loop>());
    }
  }

  void take(Loop& loop, Listener::Client client);

  const ProxyOptions options;
  const Connect connect;
  RefusalLog log;
  ProxyContext context{.options = options, .connect = connect, .log = log};
  std::vector<std::unique_ptr<Loop>> all;
  std::unique_ptr<Listener> listener;
};

void Proxy::Loops::take(Loop& loop, Listener::Client client) {
  if (!context.peers.admits(client.peer.address(), Clock::now())) {
    log.refuse(client.peer.address().to_string(), {"resets_of_address", "its address has reset too many streams"});
    return;
  }
  if (client.over > 0) {
    log.refuse(client.peer.address().to_string(), kTooManyConnections);
    return;
  }
  const auto connection =
      std::make_shared<ProxyConnection>(context, loop.io.context().get_executor(), std::move(client));
  loop.live.add(connection);
  asio::co_spawn(loop.io.context(), connection->run(), LogException(kName));
}

Proxy::Proxy(std::unique_ptr<Loops> loops) : loops_(std::move(loops)) {}

Proxy::~Proxy() {
  stop(std::chrono::milliseconds(0));
}

absl::StatusOr<std::unique_ptr<Proxy>> Proxy::start(const ProxyOptions& options, Connect connect) {
  auto loops = std::make_unique<Loops>(options, std::move(connect));
  std::vector<asio::io_context*> contexts;
  for (const std::unique_ptr<Loop>& loop : loops->all) {
    contexts.push_back(&loop->io.context());
  }
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::open(listener_options(options), std::move(contexts), loops->log);
  if (!listener.ok()) {
    return std::move(listener).status();
  }
  loops->listener = *std::move(listener);
  loops->listener->start({[loops = loops.get()](std::size_t loop, Listener::Client client) {
                            loops->take(*loops->all[loop], std::move(client));
                          },
                          [loops = loops.get()](std::size_t loop) { return loops->all[loop]->live.make_room(); }});
  for (const std::unique_ptr<Loop>& loop : loops->all) {
    asio::co_spawn(loop->io.context(), check_clocks(*loop), LogException(kName));
    loop->io.start();
  }
  return std::unique_ptr<Proxy>(new Proxy(std::move(loops)));  // NOLINT: private constructor
}

std::int32_t Proxy::port() const {
  return loops_->listener->port();
}
std::int64_t Proxy::connections() const {
  return loops_->listener->connections();
}
std::int64_t Proxy::streams() const {
  return loops_->context.streams.load();
}

absl::Status Proxy::set_certificate(const TlsIdentity& identity) {
  return loops_->listener->replace_tls(identity);
}

void Proxy::drain() {
  loops_->context.is_draining = true;  // the connections see it at their next check
  loops_->listener->close();
}

void Proxy::stop(std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  while (connections() > 0 && Clock::now() < deadline) {
    std::this_thread::sleep_for(kStopPoll);
  }
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    loop->io.stop();
  }
}

}  // namespace coppice::server
