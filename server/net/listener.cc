// The accept loop ends when the listener is closed and never else: not by an error of the system, which may be the
// client's, and not by an exception.
#include "server/net/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>

#include "base/status_macros.h"
#include "server/net/io_loop.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);  // errors are returned, not thrown
constexpr std::chrono::milliseconds kErrorPause{100};         // after an error of the system: no busy loop
constexpr std::chrono::milliseconds kHandshakePause{2};       // for a handshake to end: two signatures' time
constexpr std::int64_t kExtraShare = 4;  // of connections: a quarter more, which the rest of the file handles bears
constexpr std::int64_t kExtraMin = 16;   // where the limit itself is a few
constexpr int kAnyPortTries = 16;        // for a port that is free on all addresses; one is mostly enough
constexpr int kShedMax = 1024;           // connections closed at a time: what may have queued meanwhile, and an end

// A file handle kept for the time when there are none left: with it, waiting connections can be taken and closed, so
// that their clients hear at once and the queue does not fill with the dead.
class SpareHandle {
 public:
  SpareHandle() { open(); }
  ~SpareHandle() { close(); }
  SpareHandle(const SpareHandle&) = delete;
  SpareHandle& operator=(const SpareHandle&) = delete;

  // Accepts and closes what waits on `listener`, a non-blocking listening socket; returns how many.
  int shed(int listener) {
    close();
    int count = 0;
    while (count < kShedMax) {
      const int handle = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (handle < 0) {
        break;
      }
      ::close(handle);
      ++count;
    }
    open();
    return count;
  }

 private:
  void open() { handle_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
  void close() {
    if (handle_ >= 0) {
      ::close(std::exchange(handle_, -1));
    }
  }

  int handle_ = -1;
};

// As many connections as file handles allow.
std::int64_t affordable(const ListenerOptions& options) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return options.connections_max;
  }
  const auto handles = static_cast<std::int64_t>(static_cast<double>(limit.rlim_cur) * options.handles_share);
  const std::int64_t most = std::max<std::int64_t>(handles / options.handles_each, 1);
  if (most < options.connections_max) {
    spdlog::warn("{}: {} connections at once instead of {}: the process may have {} open files", options.name, most,
                 options.connections_max, limit.rlim_cur);
  }
  return std::min(most, options.connections_max);
}

// Every address that the host names, in the system's order.
absl::StatusOr<std::vector<tcp::endpoint>> resolve(asio::io_context& io, const std::string& host, std::int32_t port) {
  boost::system::error_code error;
  const asio::ip::address address = asio::ip::make_address(host, error);
  std::vector<tcp::endpoint> endpoints;
  if (!error) {
    endpoints.emplace_back(address, static_cast<std::uint16_t>(port));
    return endpoints;
  }
  tcp::resolver resolver(io);
  const tcp::resolver::results_type found = resolver.resolve(host, fmt::format("{}", port), error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("--host {}: {}; give an address of this machine such as 127.0.0.1", host, error.message()));
  }
  for (const auto& entry : found) {
    if (std::find(endpoints.begin(), endpoints.end(), entry.endpoint()) == endpoints.end()) {
      endpoints.push_back(entry.endpoint());
    }
  }
  return endpoints;
}

boost::system::error_code listen(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  boost::system::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) {
    boost::system::error_code ignored;
    acceptor.set_option(tcp::acceptor::reuse_address(true), ignored);
    acceptor.bind(endpoint, error);
  }
  if (!error) {
    acceptor.listen(asio::socket_base::max_listen_connections, error);
  }
  if (!error) {
    acceptor.native_non_blocking(true, error);  // for SpareHandle
  }
  return error;
}

// The host's name has an address of a kind that this machine does not use.
bool is_no_address_here(const boost::system::error_code& error) {
  return error == boost::system::errc::address_not_available ||
         error == boost::system::errc::address_family_not_supported;
}

}  // namespace

std::string address_text(const std::string& host, std::int32_t port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

struct Listener::State : std::enable_shared_from_this<State> {
  State(const ListenerOptions& listener_options, std::vector<asio::io_context*> contexts, RefusalLog& refusals)
      : options(listener_options),
        loops(std::move(contexts)),
        log(refusals),
        connections(std::make_shared<Places>(affordable(options))),
        extra_max(std::max(connections->most() / kExtraShare, kExtraMin)),
        handshakes(std::make_shared<Places>(options.handshakes_max)) {}

  // One address that is listened on. Of the first loop's thread, once it runs.
  struct Address {
    explicit Address(asio::io_context& io) : acceptor(io), pause(io) {}
    tcp::acceptor acceptor;
    asio::steady_timer pause;
  };

  absl::Status listen_on(const std::vector<tcp::endpoint>& endpoints);
  boost::system::error_code try_to_listen(std::vector<tcp::endpoint> endpoints);
  asio::awaitable<void> accept_all(Address& address);
  asio::awaitable<void> accept_one(Address& address);
  static asio::awaitable<void> rest(Address& address, std::chrono::milliseconds duration);
  void admit(std::size_t loop, tcp::socket socket);
  void hand_over(std::size_t loop, std::shared_ptr<Client> client);
  void find_room(std::size_t loop, std::size_t asked, std::shared_ptr<Client> client);

  const ListenerOptions options;
  const std::vector<asio::io_context*> loops;
  RefusalLog& log;
  const std::shared_ptr<Places> connections;
  const std::int64_t extra_max;  // connections beyond, until it is decided what becomes of them
  const std::shared_ptr<Places> handshakes;
  Handlers handlers;
  std::int32_t port = 0;
  std::vector<std::unique_ptr<Address>> addresses;  // all with the same port
  // Of the first loop's thread, once it runs.
  std::shared_ptr<asio::ssl::context> tls;  // null: plain
  SpareHandle spare;
  std::size_t next = 0;
};

// Fills `addresses`. What stops one of them stops all, except that this machine does not use its kind.
boost::system::error_code Listener::State::try_to_listen(std::vector<tcp::endpoint> endpoints) {
  addresses.clear();
  boost::system::error_code problem;
  for (tcp::endpoint& endpoint : endpoints) {
    if (!addresses.empty()) {
      endpoint.port(addresses.front()->acceptor.local_endpoint().port());
    }
    auto address = std::make_unique<Address>(*loops.front());
    if (const boost::system::error_code error = listen(address->acceptor, endpoint); !error) {
      addresses.push_back(std::move(address));
    } else if (problem = error; !is_no_address_here(error)) {
      return error;
    }
  }
  return addresses.empty() ? problem : boost::system::error_code();
}

absl::Status Listener::State::listen_on(const std::vector<tcp::endpoint>& endpoints) {
  boost::system::error_code error = try_to_listen(endpoints);
  // A port that was free on the first address may be taken on the next.
  for (int again = 0; options.port == 0 && error && again < kAnyPortTries; ++again) {
    error = try_to_listen(endpoints);
  }
  if (error) {
    return absl::InvalidArgumentError(
        fmt::format("{} {}: cannot listen on {}: {}; choose another {} or --host", options.port_flag, options.port,
                    address_text(options.host, options.port), error.message(), options.port_flag));
  }
  port = addresses.front()->acceptor.local_endpoint().port();
  return absl::OkStatus();
}

asio::awaitable<void> Listener::State::accept_all(Address& address) {
  const auto self = shared_from_this();
  while (address.acceptor.is_open()) {
    bool has_failed = false;
    try {
      co_await accept_one(address);
    } catch (const std::exception& error) {  // out of memory at worst
      spdlog::error("{}: a connection could not be taken: {}", options.name, error.what());
      has_failed = true;
    }
    if (has_failed) {
      co_await rest(address, kErrorPause);
    }
  }
}

asio::awaitable<void> Listener::State::rest(Address& address, std::chrono::milliseconds duration) {
  address.pause.expires_after(duration);
  co_await address.pause.async_wait(kAwait);
}

asio::awaitable<void> Listener::State::accept_one(Address& address) {
  if (tls != nullptr && handshakes->is_full()) {  // who waits in the system's queue costs nothing
    co_await rest(address, kHandshakePause);
    co_return;
  }
  const std::size_t loop = next++ % loops.size();
  tcp::socket socket(*loops[loop]);
  const auto [error] = co_await address.acceptor.async_accept(socket, kAwait);
  if (!error) {
    admit(loop, std::move(socket));
    co_return;
  }
  if (error == asio::error::operation_aborted || !address.acceptor.is_open()) {
    co_return;
  }
  const bool is_out_of_handles =
      error == boost::system::errc::too_many_files_open || error == boost::system::errc::too_many_files_open_in_system;
  log.refuse("a client", is_out_of_handles ? kNoFileHandles : kNotAccepted, error.message());
  for (int shed = is_out_of_handles ? spare.shed(address.acceptor.native_handle()) : 0; shed > 1; --shed) {
    log.refuse("a client", kNoFileHandles);
  }
  co_await rest(address, kErrorPause);
}

void Listener::State::admit(std::size_t loop, tcp::socket socket) {
  boost::system::error_code error;
  Client client;
  client.peer = socket.remote_endpoint(error);
  if (error) {
    return;  // it has left
  }
  if (connections->taken() >= connections->most() + extra_max) {
    log.refuse(client.peer.address().to_string(), kTooManyConnections);
    return;
  }
  client.place = Places::take(connections);
  client.over = std::max<std::int64_t>(connections->taken() - connections->most(), 0);
  socket.set_option(tcp::no_delay(true), error);  // else every event of a stream waits for the one before
  socket.set_option(asio::socket_base::keep_alive(true), error);
  client.transport = tls == nullptr ? make_plain_transport(std::move(socket))
                                    : make_tls_transport(std::move(socket), *tls, Places::take(handshakes));
  if (client.over > 0) {
    find_room(loop, 0, std::make_shared<Client>(std::move(client)));
  } else {
    hand_over(loop, std::make_shared<Client>(std::move(client)));
  }
}

// The client is shared only because what is posted may be copied. No loop runs when the listener is gone.
void Listener::State::hand_over(std::size_t loop, std::shared_ptr<Client> client) {
  asio::post(*loops[loop], [this, loop, client = std::move(client)] { handlers.take(loop, std::move(*client)); });
}

// Asks the client's own loop and then the others.
void Listener::State::find_room(std::size_t loop, std::size_t asked, std::shared_ptr<Client> client) {
  const std::size_t other = (loop + asked) % loops.size();
  asio::post(*loops[other], [this, loop, asked, other, client = std::move(client)] {
    if (handlers.make_room(other)) {
      client->over = 0;
    }
    if (client->over == 0 || asked + 1 == loops.size()) {
      hand_over(loop, client);
    } else {
      find_room(loop, asked + 1, client);
    }
  });
}

Listener::Listener(std::shared_ptr<State> state) : state_(std::move(state)) {}

Listener::~Listener() = default;

absl::StatusOr<std::unique_ptr<Listener>> Listener::open(const ListenerOptions& options,
                                                         std::vector<asio::io_context*> loops, RefusalLog& log) {
  auto state = std::make_shared<State>(options, std::move(loops), log);
  absl::StatusOr<std::shared_ptr<asio::ssl::context>> tls = make_tls_context(options.tls, options.protocol);
  if (!tls.ok()) {
    return std::move(tls).status();
  }
  state->tls = *std::move(tls);
  COPPICE_ASSIGN_OR_RETURN(const std::vector<tcp::endpoint> endpoints,
                           resolve(*state->loops.front(), options.host, options.port));
  COPPICE_RETURN_IF_ERROR(state->listen_on(endpoints));
  return std::unique_ptr<Listener>(new Listener(std::move(state)));  // NOLINT: private constructor
}

void Listener::start(Handlers handlers) {
  state_->handlers = std::move(handlers);
  for (const std::unique_ptr<State::Address>& address : state_->addresses) {
    asio::co_spawn(*state_->loops.front(), state_->accept_all(*address), LogException(state_->options.name));
  }
}

std::int32_t Listener::port() const {
  return state_->port;
}
std::int64_t Listener::connections() const {
  return state_->connections->taken();
}

absl::Status Listener::replace_tls(const TlsIdentity& identity) {
  absl::StatusOr<std::shared_ptr<asio::ssl::context>> tls = make_tls_context(identity, state_->options.protocol);
  if (!tls.ok()) {
    return std::move(tls).status();
  }
  asio::post(*state_->loops.front(), [state = state_, tls = *std::move(tls)] { state->tls = tls; });
  return absl::OkStatus();
}

void Listener::close() {
  asio::post(*state_->loops.front(), [state = state_] {
    boost::system::error_code ignored;
    for (const std::unique_ptr<State::Address>& address : state->addresses) {
      address->acceptor.close(ignored);
      address->pause.cancel();
    }
  });
}

}  // namespace coppice::server
