// I/O threads, taking clients, shutdown.
#include "server/http/http_server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <utility>
#include <vector>

#include "server/http/connection.h"
#include "server/net/connection_list.h"
#include "server/net/io_loop.h"
#include "server/net/listener.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;

constexpr const char* kName = "http";  // begins log lines
// Connections beyond the limit that get an answer, all or this share of the limit; more are just closed.
constexpr std::int64_t kAnsweredMax = 256;
constexpr std::int64_t kAnsweredShare = 8;
constexpr double kHandlesShare = 0.375;  // of the process's file handles: gRPC has half, an eighth is for files

// One I/O thread. Owner: the server.
struct Loop {
  Loop(const HttpOptions& options, HttpApplication& application, HttpCounts& counts, MemoryBudget& memory,
       RefusalLog& log)
      : hub([this] { asio::post(io.context(), [this] { hub.dispatch(); }); }), context{options, application, hub,
                                                                                       counts,  memory,      log} {}

  // `io` is declared after what its suspended coroutines use: it destroys them before these members.
  SessionHub hub;
  ConnectionContext context;
  ConnectionList<Connection> live;  // this thread only
  IoLoop io{kName};
};

ListenerOptions listener_options(const HttpOptions& options) {
  ListenerOptions listener;
  listener.name = kName;
  listener.port_flag = options.port_flag;
  listener.host = options.host;
  listener.port = options.port;
  listener.tls = options.tls;
  listener.connections_max = options.connections_max;
  listener.handles_share = kHandlesShare;
  listener.handshakes_max = options.handshakes_max;
  return listener;
}

}  // namespace

struct HttpServer::Loops {
  Loops(HttpOptions opts, HttpApplication& app, MemoryBudget& memory)
      : options(std::move(opts)), log(kName, options.count_refusal) {
    for (std::int32_t i = 0; i < std::max(options.threads, 1); ++i) {
      all.push_back(std::make_unique<Loop>(options, app, counts, memory, log));
    }
  }

  void take(Loop& loop, Listener::Client client);

  const HttpOptions options;
  HttpCounts counts;
  RefusalLog log;
  std::vector<std::unique_ptr<Loop>> all;
  std::unique_ptr<Listener> listener;
};

void HttpServer::Loops::take(Loop& loop, Listener::Client client) {
  const bool is_refused = client.over > 0;
  if (is_refused) {
    log.refuse(client.peer.address().to_string(), kTooManyConnections);
    if (client.over > std::min(kAnsweredMax, client.place->of().most() / kAnsweredShare + 1)) {
      return;
    }
  }
  const auto connection =
      std::make_shared<Connection>(loop.context, loop.io.context().get_executor(), std::move(client));
  loop.live.add(connection);
  asio::co_spawn(loop.io.context(), is_refused ? connection->run_refused() : connection->run(), LogException(kName));
}

HttpServer::HttpServer(std::unique_ptr<Loops> loops) : loops_(std::move(loops)) {}

HttpServer::~HttpServer() {
  stop();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options, HttpApplication& application,
                                                              MemoryBudget& memory) {
  auto loops = std::make_unique<Loops>(options, application, memory);
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
    loop->io.start();
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(loops)));  // NOLINT: private constructor
}

std::int32_t HttpServer::port() const {
  return loops_->listener->port();
}
std::int64_t HttpServer::connections() const {
  return loops_->listener->connections();
}
std::int64_t HttpServer::active_requests() const {
  return loops_->counts.active_requests.load();
}

absl::Status HttpServer::replace_tls(const TlsIdentity& identity) {
  return loops_->listener->replace_tls(identity);
}

void HttpServer::end_connections_with_answers() {
  loops_->counts.is_draining = true;
}

void HttpServer::stop_accepting() {
  loops_->counts.is_closing = true;
  loops_->listener->close();
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    asio::post(loop->io.context(), [loop = loop.get()] {
      loop->live.for_each([](Connection& connection) { connection.close_when_idle(); });
    });
  }
}

void HttpServer::abort_sessions(const openai::ApiError& error) {
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    asio::post(loop->io.context(), [loop = loop.get(), error] { loop->hub.abort_all(error); });
  }
}

void HttpServer::stop() {
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    loop->io.stop();
  }
}

}  // namespace coppice::server
