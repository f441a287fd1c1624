// Listening, I/O threads, shutdown.
#include "server/http/http_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "server/http/connection.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);  // errors are returned, not thrown
constexpr std::chrono::milliseconds kAcceptPause{10};         // when the system is out of file handles: no busy loop
constexpr std::chrono::seconds kReportPeriod{1};              // between two log lines about that
constexpr std::int64_t kRefusalsMax = 256;  // connections beyond the limit that get an answer; more are just closed
constexpr std::size_t kSweepMin = 64;       // connections of a thread before its list is first swept of dead ones

// Logs what a connection's coroutine threw, out of memory at worst: the connection ends, the server goes on.
void log_exception(const std::exception_ptr& exception) {
  if (exception == nullptr) {
    return;
  }
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    spdlog::error("http: a connection failed: {}", error.what());
  }
}

// Runs until stopped. What a handler throws, out of memory at worst, costs what it was about, not the thread.
void run_loop(asio::io_context& io) {
  while (true) {
    try {
      io.run();
      return;
    } catch (const std::exception& error) {
      spdlog::error("http: a handler failed: {}", error.what());
    }
  }
}

// A file handle in reserve: when the system gives no more, it is closed so that the client who waits can be taken and
// sent away; else the kernel holds it in its queue, and wakes the server for it, for ever.
class ReserveHandle {
 public:
  ReserveHandle() { open(); }
  ~ReserveHandle() { close(); }
  ReserveHandle(const ReserveHandle&) = delete;
  ReserveHandle& operator=(const ReserveHandle&) = delete;

  void open() { handle_ = handle_ >= 0 ? handle_ : ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
  void close() {
    if (handle_ >= 0) {
      ::close(std::exchange(handle_, -1));
    }
  }

 private:
  int handle_ = -1;
};

// One I/O thread. Owner: the server.
struct Loop {
  Loop(const HttpOptions& options, HttpApplication& application, std::atomic<std::int64_t>& connections,
       std::atomic<std::int64_t>& active_requests, std::atomic<bool>& is_closing, MemoryBudget& memory)
      : hub([this] { asio::post(io, [this] { hub.dispatch(); }); }), context{options,     application,     hub,
                                                                             connections, active_requests, is_closing,
                                                                             memory} {}

  // `io` is declared after what its suspended coroutines use: it destroys them before these members.
  SessionHub hub;
  ConnectionContext context;
  std::vector<std::weak_ptr<Connection>> live;  // this thread only; swept as it grows
  std::size_t sweep_at = kSweepMin;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> keeps_running{io.get_executor()};
  std::thread thread;
};

void remember(Loop& loop, const std::shared_ptr<Connection>& connection) {
  if (loop.live.size() >= loop.sweep_at) {
    std::erase_if(loop.live, [](const std::weak_ptr<Connection>& weak) { return weak.expired(); });
    loop.sweep_at = std::max(kSweepMin, loop.live.size() * 2);
  }
  loop.live.push_back(connection);
}

absl::StatusOr<tcp::endpoint> resolve(asio::io_context& io, const HttpOptions& options) {
  boost::system::error_code error;
  const auto port = static_cast<std::uint16_t>(options.port);
  const asio::ip::address address = asio::ip::make_address(options.host, error);
  if (!error) {
    return tcp::endpoint(address, port);
  }
  tcp::resolver resolver(io);
  const tcp::resolver::results_type found = resolver.resolve(options.host, fmt::format("{}", port), error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("--host {}: {}; give an address of this machine such as 127.0.0.1", options.host, error.message()));
  }
  return found.begin()->endpoint();
}

absl::Status listen(tcp::acceptor& acceptor, const tcp::endpoint& endpoint, const HttpOptions& options) {
  boost::system::error_code error;
  const auto failed = [&](const char* step) {
    return absl::InvalidArgumentError(fmt::format("cannot {} {}:{}: {}; choose another --host or --port", step,
                                                  options.host, options.port, error.message()));
  };
  acceptor.open(endpoint.protocol(), error);
  if (error) {
    return failed("open");
  }
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  acceptor.bind(endpoint, error);
  if (error) {
    return failed("listen on");
  }
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  return error ? failed("listen on") : absl::OkStatus();
}

// Null for an empty identity. REQUIRES: load_tls_identity() has checked it.
absl::StatusOr<std::unique_ptr<asio::ssl::context>> make_tls(const TlsIdentity& identity) {
  if (identity.is_empty()) {
    return nullptr;
  }
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression,
                   error);
  tls->use_certificate_chain(asio::buffer(identity.certificate), error);
  if (error) {
    return absl::InvalidArgumentError(fmt::format("--tls-cert cannot be used: {}", error.message()));
  }
  tls->use_private_key(asio::buffer(identity.key), asio::ssl::context::pem, error);
  if (error) {
    return absl::InvalidArgumentError(fmt::format("--tls-key cannot be used: {}", error.message()));
  }
  return tls;
}

}  // namespace

struct HttpServer::Loops {
  Loops(HttpOptions opts, HttpApplication& app, MemoryBudget& memory) : options(std::move(opts)), application(app) {
    for (std::int32_t i = 0; i < std::max(options.threads, 1); ++i) {
      all.push_back(std::make_unique<Loop>(options, application, connections, active_requests, is_closing, memory));
    }
    acceptor.emplace(all.front()->io);
  }

  asio::awaitable<void> accept_all();
  void admit(Loop& loop, tcp::socket socket);
  void report_refused(const boost::system::error_code& error);

  const HttpOptions options;
  HttpApplication& application;
  std::atomic<std::int64_t> connections{0};
  std::atomic<std::int64_t> active_requests{0};
  std::atomic<bool> is_closing{false};
  std::unique_ptr<asio::ssl::context> tls;  // on the first loop; a connection shares what it needs of it
  std::vector<std::unique_ptr<Loop>> all;
  std::optional<tcp::acceptor> acceptor;  // on the first loop
  ReserveHandle reserve;
  std::int64_t refused = 0;  // connections, since `reported`
  std::chrono::steady_clock::time_point reported{};
  std::size_t next = 0;
  std::int32_t port = 0;
};

asio::awaitable<void> HttpServer::Loops::accept_all() {
  asio::steady_timer pause(all.front()->io);
  while (true) {
    Loop& loop = *all[next++ % all.size()];
    tcp::socket socket(loop.io);
    const auto [error] = co_await acceptor->async_accept(socket, kAwait);
    if (error == asio::error::operation_aborted || !acceptor->is_open()) {
      co_return;
    }
    if (error) {
      report_refused(error);
      reserve.close();
      tcp::socket turned_away(loop.io);
      boost::system::error_code ignored;
      acceptor->non_blocking(true, ignored);
      acceptor->accept(turned_away, ignored);  // closed again at once: its client knows
      turned_away.close(ignored);
      reserve.open();
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kAwait);
      continue;
    }
    admit(loop, std::move(socket));
  }
}

// At most a line a second: a client that opens connections must not fill the log.
void HttpServer::Loops::report_refused(const boost::system::error_code& error) {
  ++refused;
  const auto now = std::chrono::steady_clock::now();
  if (now - reported < kReportPeriod) {
    return;
  }
  reported = now;
  spdlog::warn("http: cannot accept connections: {}; {} refused", error.message(), std::exchange(refused, 0));
}

void HttpServer::Loops::admit(Loop& loop, tcp::socket socket) {
  if (connections.load() >= options.connections_max + kRefusalsMax) {
    return;
  }
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);  // else every event of a stream waits 40 ms
  std::unique_ptr<Transport> transport =
      tls == nullptr ? make_plain_transport(std::move(socket)) : make_tls_transport(std::move(socket), *tls);
  const bool is_refused = connections.load() >= options.connections_max;
  const auto connection = std::make_shared<Connection>(loop.context, loop.io.get_executor(), std::move(transport));
  asio::post(loop.io, [&loop, connection, is_refused] {
    remember(loop, connection);
    asio::co_spawn(loop.io, is_refused ? connection->run_refused() : connection->run(), log_exception);
  });
}

HttpServer::HttpServer(std::unique_ptr<Loops> loops) : loops_(std::move(loops)) {}

HttpServer::~HttpServer() {
  stop();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options, HttpApplication& application,
                                                              MemoryBudget& memory) {
  auto loops = std::make_unique<Loops>(options, application, memory);
  absl::StatusOr<std::unique_ptr<asio::ssl::context>> tls = make_tls(options.tls);
  if (!tls.ok()) {
    return std::move(tls).status();
  }
  loops->tls = *std::move(tls);
  const absl::StatusOr<tcp::endpoint> endpoint = resolve(loops->all.front()->io, options);
  if (!endpoint.ok()) {
    return endpoint.status();
  }
  if (absl::Status status = listen(*loops->acceptor, *endpoint, options); !status.ok()) {
    return status;
  }
  loops->port = loops->acceptor->local_endpoint().port();
  asio::co_spawn(loops->all.front()->io, loops->accept_all(), log_exception);
  for (const std::unique_ptr<Loop>& loop : loops->all) {
    loop->thread = std::thread([&io = loop->io] { run_loop(io); });
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(loops)));  // NOLINT: private constructor
}

std::int32_t HttpServer::port() const {
  return loops_->port;
}
std::int64_t HttpServer::connections() const {
  return loops_->connections.load();
}
std::int64_t HttpServer::active_requests() const {
  return loops_->active_requests.load();
}

absl::Status HttpServer::replace_tls(const TlsIdentity& identity) {
  absl::StatusOr<std::unique_ptr<asio::ssl::context>> tls = make_tls(identity);
  if (!tls.ok()) {
    return std::move(tls).status();
  }
  asio::post(loops_->all.front()->io,
             [loops = loops_.get(), fresh = *std::move(tls)]() mutable { loops->tls = std::move(fresh); });
  return absl::OkStatus();
}

void HttpServer::stop_accepting() {
  loops_->is_closing = true;
  asio::post(loops_->all.front()->io, [loops = loops_.get()] {
    boost::system::error_code ignored;
    loops->acceptor->close(ignored);
  });
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    asio::post(loop->io, [loop = loop.get()] {
      for (const std::weak_ptr<Connection>& weak : loop->live) {
        if (const std::shared_ptr<Connection> connection = weak.lock()) {
          connection->close_when_idle();
        }
      }
    });
  }
}

void HttpServer::abort_sessions(const openai::ApiError& error) {
  for (const std::unique_ptr<Loop>& loop : loops_->all) {
    asio::post(loop->io, [loop = loop.get(), error] { loop->hub.abort_all(error); });
  }
}

void HttpServer::stop() {
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
