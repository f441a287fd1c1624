// Greeting, relaying, ending.
#include "server/grpc/proxy/proxy_connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "server/grpc/proxy/client_name.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using http2::ErrorCode;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);  // errors are returned, not thrown

constexpr std::size_t kToServerBytes = 16384;      // one frame of the largest size
constexpr std::size_t kToClientBytes = 32768;      // a write of gRPC with many small answers
constexpr std::chrono::milliseconds kLinger{250};  // for the last frame to reach the client before the socket closes
constexpr std::size_t kStaleMax = 16;  // requests that hang while others on the connection run: a stuck upload or two

// Bytes of requests that a connection may send though all connections together have sent too many: ordinary prompts go
// on while large ones fill the bound.
constexpr std::size_t kFreeBytes = std::size_t{64} << 10U;

// Streams that a connection may open though all connections together have too many: its share, but at least as many as
// a client needs to go on.
constexpr std::int64_t kFairStreamsMin = 4;

constexpr Refusal kNotHttp2 = {"not_http2", "it does not speak HTTP/2"};
constexpr Refusal kLate = {"handshake", "no handshake in time"};
constexpr Refusal kSlowRequest = {"slow_request", "a request did not come whole in time"};
constexpr Refusal kStreamsOfAll = {"streams_of_all", "too many streams of all clients; this one has most to spare"};
constexpr Refusal kRequestsOfAll = {"requests_of_all", "the requests of all clients together are too large now"};
constexpr Refusal kResetsOfAddress = {"resets_of_address", "too many streams reset by this address"};
// Ends that are in order: not counted.
constexpr Refusal kIdle = {"", "idle"};
constexpr Refusal kShuttingDown = {"", "the server is shutting down"};

}  // namespace

ProxyConnection::ProxyConnection(ProxyContext& context, const asio::any_io_executor& executor, Listener::Client client)
    : context_(context),
      executor_(executor),
      place_(std::move(client.place)),
      client_(std::move(client.transport)),
      peer_(client.peer),
      server_(executor),
      guard_(context.options.guard) {}

ProxyConnection::~ProxyConnection() {
  give_back();
}

void ProxyConnection::give_back() {
  context_.streams -= std::exchange(counted_streams_, 0);
  context_.request_bytes -= std::exchange(counted_bytes_, 0);
}

asio::awaitable<void> ProxyConnection::run() {
  const auto self = shared_from_this();
  if (!co_await greet()) {
    close();
    co_return;
  }
  if (!connect_to_server()) {
    close_with(kNoFileHandles);
    co_return;
  }
  asio::co_spawn(
      executor_, [self]() { return self->relay_to_client(); }, asio::detached);
  co_await relay_to_server();
}

// Reads the preface and the beginning of SETTINGS. A connection that never says them costs the server nothing but this
// object.
asio::awaitable<bool> ProxyConnection::greet() {
  if (!co_await client_->handshake()) {
    if (state_ == State::kGreeting) {
      close_with(kHandshakeFailed);
    }
    co_return false;
  }
  std::array<char, 4096> buffer;  // the preface, SETTINGS and often the first requests
  while (greeting_.size() < http2::kPreface.size() + http2::kFrameHeaderBytes) {
    const std::size_t count = co_await client_->read_some(asio::buffer(buffer));
    if (count == 0) {
      co_return false;
    }
    greeting_.append(buffer.data(), count);
    const std::size_t common = std::min(greeting_.size(), http2::kPreface.size());
    if (greeting_.compare(0, common, http2::kPreface, 0, common) != 0) {
      close_with(kNotHttp2);
      co_return false;
    }
  }
  co_return state_ == State::kGreeting;
}

bool ProxyConnection::connect_to_server() {
  std::array<int, 2> pair{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0) {
    return false;
  }
  name_after_client(pair[0], peer_);
  boost::system::error_code error;
  server_.assign(asio::local::stream_protocol(), pair[0], error);
  if (error) {
    ::close(pair[0]);
    ::close(pair[1]);
    return false;
  }
  to_server_.resize(kToServerBytes);
  to_client_.resize(kToClientBytes);
  state_ = State::kRelaying;
  context_.connect(pair[1]);
  return true;
}

asio::awaitable<void> ProxyConnection::relay_to_server() {
  const auto self = shared_from_this();
  std::string_view bytes = greeting_;
  std::string_view frames = bytes.substr(http2::kPreface.size());
  while (true) {
    if (const std::optional<GuardVerdict> verdict = look_at(frames)) {
      co_await end_with(*verdict);
    }
    if (state_ == State::kRelaying) {
      const auto [error, count] = co_await asio::async_write(server_, asio::buffer(bytes), kAwait);
      if (error && state_ == State::kRelaying) {
        break;
      }
    }
    const std::size_t count = co_await client_->read_some(asio::buffer(to_server_));
    if (count == 0) {
      break;
    }
    frames = bytes = std::string_view(to_server_.data(), count);
  }
  if (state_ == State::kRelaying) {
    // The server ends its streams and closes its end; the other direction relays what is left and ends.
    boost::system::error_code ignored;
    server_.shutdown(asio::socket_base::shutdown_send, ignored);
  } else {
    close();
  }
}

// The verdict on bytes of the client; none when they may go on, or when nothing goes on any more.
std::optional<GuardVerdict> ProxyConnection::look_at(std::string_view bytes) {
  if (state_ != State::kRelaying) {
    return std::nullopt;
  }
  const Clock::time_point now = Clock::now();
  if (std::optional<GuardVerdict> verdict = guard_.from_client(bytes, now)) {
    return verdict;
  }
  return account(now);
}

// Updates what all connections share.
std::optional<GuardVerdict> ProxyConnection::account(Clock::time_point now) {
  const auto streams = static_cast<std::int64_t>(guard_.open_streams());
  const std::int64_t more = streams - std::exchange(counted_streams_, streams);
  const std::int64_t share = context_.options.streams_max / std::max<std::int64_t>(place_->of().taken(), 1);
  if (context_.streams.fetch_add(more) + more > context_.options.streams_max && more > 0 &&
      streams > std::max(share, kFairStreamsMin)) {
    return GuardVerdict{ErrorCode::kEnhanceYourCalm, kStreamsOfAll};
  }
  const std::size_t bytes = guard_.partial_bytes();
  const std::size_t before = std::exchange(counted_bytes_, bytes);
  const std::size_t all = context_.request_bytes.fetch_add(bytes - before) + (bytes - before);  // wraps both ways
  if (all > context_.options.requests_bytes_max && bytes > std::max(before, kFreeBytes)) {
    return GuardVerdict{ErrorCode::kEnhanceYourCalm, kRequestsOfAll};
  }
  const std::uint64_t resets = guard_.resets() - std::exchange(counted_resets_, guard_.resets());
  if (resets > 0 && !context_.peers.take_resets(peer_.address(), static_cast<double>(resets), now)) {
    return GuardVerdict{ErrorCode::kEnhanceYourCalm, kResetsOfAddress};
  }
  return std::nullopt;
}

asio::awaitable<void> ProxyConnection::relay_to_client() {
  const auto self = shared_from_this();
  while (state_ == State::kRelaying) {
    const auto [error, count] = co_await server_.async_read_some(asio::buffer(to_client_), kAwait);
    if (error || state_ != State::kRelaying) {
      break;
    }
    guard_.from_server({to_client_.data(), count}, Clock::now());
    writing_since_ = Clock::now();
    const bool is_written = co_await client_->write_all(asio::buffer(to_client_.data(), count));
    writing_since_ = {};
    if (!is_written) {
      break;
    }
    std::optional<GuardVerdict> verdict = guard_.verdict();
    if (!verdict) {
      verdict = account(Clock::now());
    }
    if (verdict) {
      co_await end_with(*verdict);
    }
  }
  if (state_ == State::kRelaying) {
    client_->finish_writing();
    close();
  }
}

// Sends GOAWAY where it fits between two frames, then closes. The server's end closes at once: its streams are
// cancelled.
asio::awaitable<void> ProxyConnection::end_with(GuardVerdict verdict) {
  const auto self = shared_from_this();
  if (state_ != State::kRelaying) {
    co_return;
  }
  state_ = State::kEnding;
  close_at_ = Clock::now() + kLinger;
  if (verdict.refusal.label[0] != '\0') {
    context_.log.refuse(peer_.address().to_string(), verdict.refusal);
  }
  boost::system::error_code ignored;
  server_.close(ignored);
  give_back();
  if (writing_since_ == Clock::time_point{} && guard_.server_at_boundary()) {
    const std::string frame = http2::write_go_away(guard_.last_stream(), verdict.code, verdict.refusal.words);
    co_await client_->write_all(asio::buffer(frame));
    client_->finish_writing();
  }
  if (verdict.code == ErrorCode::kNone) {
    close();  // it sends nothing: the frame is not lost
  }
}

void ProxyConnection::spawn_end(GuardVerdict verdict) {
  asio::co_spawn(
      executor_, [self = shared_from_this(), verdict] { return self->end_with(verdict); }, asio::detached);
}

ProxyConnection::Clock::duration ProxyConnection::quiet_for(Clock::time_point now) const {
  if (is_leaving_) {
    return Clock::duration{};
  }
  if (state_ == State::kGreeting) {
    return now - accepted_;
  }
  return state_ == State::kRelaying && guard_.open_streams() == 0 ? now - guard_.quiet_since() : Clock::duration{};
}

void ProxyConnection::make_room() {
  is_leaving_ = true;
  if (state_ == State::kGreeting) {
    close_with(kMadeRoom);
  } else {
    spawn_end({ErrorCode::kNone, kMadeRoom});
  }
}

void ProxyConnection::check(Clock::time_point now) {
  const ProxyOptions& options = context_.options;
  switch (state_) {
    case State::kGreeting:
      if (context_.is_draining) {
        close();
      } else if (now - accepted_ > options.handshake_timeout) {
        close_with(kLate);
      }
      return;
    case State::kEnding:
      if (now >= close_at_) {
        close();
      }
      return;
    case State::kClosed:
      return;
    case State::kRelaying:
      break;
  }
  if (writing_since_ != Clock::time_point{}) {
    if (now - writing_since_ > options.write_timeout) {
      close_with(kReadsNothing);
    }
    return;
  }
  if (context_.is_draining && guard_.running_streams() == 0) {
    spawn_end({ErrorCode::kNone, kShuttingDown});
    return;
  }
  if (quiet_for(now) > options.idle_timeout) {
    spawn_end({ErrorCode::kNone, kIdle});
    return;
  }
  if (guard_.open_streams() > guard_.running_streams()) {
    const std::size_t stale = guard_.partial_streams_before(now - options.request_timeout);
    if (stale > kStaleMax || (stale > 0 && guard_.running_streams() == 0)) {
      spawn_end({ErrorCode::kEnhanceYourCalm, kSlowRequest});
    }
  }
}

void ProxyConnection::close_with(const Refusal& refusal) {
  context_.log.refuse(peer_.address().to_string(), refusal);
  close();
}

void ProxyConnection::close() {
  if (state_ == State::kClosed) {
    return;
  }
  state_ = State::kClosed;
  client_->close();
  boost::system::error_code ignored;
  server_.close(ignored);
  give_back();
}

}  // namespace coppice::server
