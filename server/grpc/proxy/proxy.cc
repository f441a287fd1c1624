// Accepting, threads, shutdown.
#include "server/grpc/proxy/proxy.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "server/grpc/proxy/listener.h"
#include "server/grpc/proxy/proxy_connection.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);  // errors are returned, not thrown
constexpr std::chrono::milliseconds kAcceptPause{100};        // when the process is out of file handles: no busy loop
constexpr std::chrono::milliseconds kCheckPeriod{100};        // between two looks at the connections' clocks
constexpr std::chrono::milliseconds kStopPoll{5};             // delays the end of the process unseen
constexpr std::int64_t kOverMax = 64;                         // connections beyond the limit while room is being made
constexpr std::int64_t kHandlesPerConnection = 3;             // the client's socket and both ends of the pair
constexpr std::int64_t kHandlesShare = 2;                     // half of the process's handles stay for HTTP and files

// As many connections as file handles allow.
std::int64_t connections_max(std::int64_t asked) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return asked;
  }
  const auto affordable = static_cast<std::int64_t>(limit.rlim_cur) / kHandlesShare / kHandlesPerConnection;
  if (affordable < asked) {
    spdlog::warn("grpc: {} connections at once instead of {}: the process may have {} open files", affordable, asked,
                 limit.rlim_cur);
  }
  return std::max<std::int64_t>(1, std::min(asked, affordable));
}

ProxyOptions affordable(ProxyOptions options) {
  options.connections_max = connections_max(options.connections_max);
  return options;
}

void log_exception(const std::exception_ptr& exception) {
  if (exception == nullptr) {
    return;
  }
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    spdlog::error("grpc: a connection failed: {}", error.what());
  }
}

// One thread. Owner: the proxy.
struct Loop {
  std::vector<std::weak_ptr<ProxyConnection>> live;  // this thread only
  asio::io_context io{1};
  asio::steady_timer timer{io};
  asio::executor_work_guard<asio::io_context::executor_type> keeps_running{io.get_executor()};
  std::thread thread;
};

asio::awaitable<void> check_clocks(Loop& loop) {
  while (true) {
    loop.timer.expires_after(kCheckPeriod);
    co_await loop.timer.async_wait(kAwait);
    const Clock::time_point now = Clock::now();
    std::erase_if(loop.live, [now](const std::weak_ptr<ProxyConnection>& weak) {
      const std::shared_ptr<ProxyConnection> connection = weak.lock();
      if (connection != nullptr) {
        connection->check(now);
      }
      return connection == nullptr;
    });
  }
}

// Ends the connection that has been without a stream for longest.
void make_room(Loop& loop) {
  const Clock::time_point now = Clock::now();
  std::shared_ptr<ProxyConnection> quietest;
  Clock::duration longest{};
  for (const std::weak_ptr<ProxyConnection>& weak : loop.live) {
    std::shared_ptr<ProxyConnection> connection = weak.lock();
    if (connection != nullptr && connection->quiet_for(now) > longest) {
      longest = connection->quiet_for(now);
      quietest = std::move(connection);
    }
  }
  if (quietest != nullptr) {
    quietest->make_room();
  }
}

}  // namespace

struct Proxy::Loops {
  Loops(const ProxyOptions& asked, Connect connect_to)
      : options(affordable(asked)),
        connect(std::move(connect_to)),
        context{.options = options, .connect = connect, .peers = {}, .log = {}} {
    for (std::int32_t i = 0; i < std::max(options.threads, 1); ++i) {
      all.push_back(std::make_unique<Loop>());
    }
  }

  asio::awaitable<void> accept_all();
  void admit(Loop& loop, tcp::socket socket);
  std::unique_ptr<Transport> make_transport(tcp::socket socket);

  const ProxyOptions options;
  const Connect connect;
  ProxyContext context;
  std::mutex tls_mutex;
  std::shared_ptr<asio::ssl::context> tls;  // under tls_mutex; null: plain
  SpareHandle spare;
  std::vector<std::unique_ptr<Loop>> all;
  std::optional<tcp::acceptor> acceptor;  // on the first loop
  std::size_t next = 0;
  std::int32_t port = 0;
};

asio::awaitable<void> Proxy::Loops::accept_all() {
  asio::steady_timer pause(all.front()->io);
  while (true) {
    Loop& loop = *all[next++ % all.size()];
    tcp::socket socket(loop.io);
    const auto [error] = co_await acceptor->async_accept(socket, kAwait);
    if (error == asio::error::operation_aborted || !acceptor->is_open()) {
      co_return;
    }
    if (!error) {
      admit(loop, std::move(socket));
      continue;
    }
    if (error == boost::system::errc::too_many_files_open ||
        error == boost::system::errc::too_many_files_open_in_system) {
      spare.shed(acceptor->native_handle());
    }
    context.log.closed("a client", error.message());
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(kAwait);
  }
}

std::unique_ptr<Transport> Proxy::Loops::make_transport(tcp::socket socket) {
  const std::lock_guard lock(tls_mutex);
  return tls == nullptr ? make_plain_transport(std::move(socket)) : make_tls_transport(std::move(socket), *tls);
}

void Proxy::Loops::admit(Loop& loop, tcp::socket socket) {
  boost::system::error_code error;
  const asio::ip::address peer = socket.remote_endpoint(error).address();
  if (error) {
    return;  // it has left
  }
  const std::int64_t count = context.connections.load();
  if (count >= options.connections_max + std::min(kOverMax, options.connections_max / 2)) {
    asio::post(loop.io, [&loop] { make_room(loop); });
    context.log.closed(peer.to_string(), "too many connections");
    return;
  }
  if (!context.peers.admits(peer, Clock::now())) {
    context.log.closed(peer.to_string(), "its address has reset too many streams");
    return;
  }
  socket.set_option(tcp::no_delay(true), error);  // else every piece of a stream waits for the one before
  socket.set_option(asio::socket_base::keep_alive(true), error);
  const auto connection =
      std::make_shared<ProxyConnection>(context, loop.io.get_executor(), make_transport(std::move(socket)), peer);
  const bool is_full = count >= options.connections_max;
  asio::post(loop.io, [&loop, connection, is_full] {
    if (is_full) {
      make_room(loop);
    }
    loop.live.push_back(connection);
    asio::co_spawn(loop.io, connection->run(), log_exception);
  });
}

Proxy::Proxy(std::unique_ptr<Loops> loops) : loops_(std::move(loops)) {}

Proxy::~Proxy() {
  stop(std::chrono::milliseconds(0));
}

absl::StatusOr<std::unique_ptr<Proxy>> Proxy::start(const ProxyOptions& options, Connect connect) {
  auto loops = std::make_unique<Loops>(options, std::move(connect));
  if (!options.tls_certificate.empty()) {
    absl::StatusOr<std::shared_ptr<asio::ssl::context>> tls = make_h2_tls(options.tls_certificate, options.tls_key);
    if (!tls.ok()) {
      return std::move(tls).status();
    }
    loops->tls = *std::move(tls);
  }
  absl::StatusOr<tcp::acceptor> acceptor = listen_on(loops->all.front()->io, options.host, options.port);
  if (!acceptor.ok()) {
    return std::move(acceptor).status();
  }
  loops->acceptor.emplace(*std::move(acceptor));
  loops->port = loops->acceptor->local_endpoint().port();
  asio::co_spawn(loops->all.front()->io, loops->accept_all(), log_exception);
  for (const std::unique_ptr<Loop>& loop : loops->all) {
    asio::co_spawn(loop->io, check_clocks(*loop), log_exception);
    loop->thread = std::thread([&io = loop->io] { io.run(); });
  }
  return std::unique_ptr<Proxy>(new Proxy(std::move(loops)));  // NOLINT: private constructor
}

std::int32_t Proxy::port() const {
  return loops_->port;
}
std::int64_t Proxy::connections() const {
  return loops_->context.connections.load();
}
std::int64_t Proxy::streams() const {
  return loops_->context.streams.load();
}

absl::Status Proxy::set_certificate(const std::string& certificate, const std::string& key) {
  absl::StatusOr<std::shared_ptr<asio::ssl::context>> tls = make_h2_tls(certificate, key);
  if (!tls.ok()) {
    return std::move(tls).status();
  }
  const std::lock_guard lock(loops_->tls_mutex);
  loops_->tls = *std::move(tls);
  return absl::OkStatus();
}

void Proxy::drain() {
  loops_->context.is_draining = true;  // the connections see it at their next check
  asio::post(loops_->all.front()->io, [loops = loops_.get()] {
    boost::system::error_code ignored;
    loops->acceptor->close(ignored);
  });
}

void Proxy::stop(std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  while (connections() > 0 && Clock::now() < deadline) {
    std::this_thread::sleep_for(kStopPoll);
  }
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    loop->keeps_running.reset();
    loop->io.stop();
  }
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    if (loop->thread.joinable()) {
      loop->thread.join();
    }
  }
}

}  // namespace coppice::server
