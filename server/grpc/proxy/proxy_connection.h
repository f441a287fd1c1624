// ProxyConnection: one client's connection and its pair to the server, on one of the proxy's threads. Internal to the
// proxy.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/grpc/proxy/client_guard.h"
#include "server/grpc/proxy/peer_table.h"
#include "server/grpc/proxy/proxy.h"
#include "server/net/listener.h"
#include "server/net/refusal.h"

namespace coppice::server {

// What all connections share. Owner: the proxy, which outlives them. Thread: any.
struct ProxyContext {
  const ProxyOptions& options;
  const Proxy::Connect& connect;
  RefusalLog& log;
  PeerTable peers{};
  std::atomic<std::int64_t> streams{0};
  std::atomic<std::size_t> request_bytes{0};  // of requests that have not come whole
  std::atomic<bool> is_draining{false};
};

// Owner: shared by its two coroutines, one a direction; dies with the last. Thread: its thread of the proxy.
//
// Each direction reads a piece, looks at its frames, writes it, and only then reads again: what does not flow on one
// side is not read on the other, and no buffer grows.
class ProxyConnection final : public std::enable_shared_from_this<ProxyConnection> {
 public:
  using Clock = std::chrono::steady_clock;

  ProxyConnection(ProxyContext& context, const boost::asio::any_io_executor& executor, Listener::Client client);
  ~ProxyConnection();

  // Serves until the connection ends.
  boost::asio::awaitable<void> run();
  // Ends the connection if its time is over. Called a few times a second.
  void check(Clock::time_point now);
  // How long it has said nothing, or no stream has been open; zero while one is.
  Clock::duration quiet_for(Clock::time_point now) const;
  // Ends the connection for a newer one.
  void make_room();

 private:
  enum class State : std::uint8_t { kGreeting, kRelaying, kEnding, kClosed };

  boost::asio::awaitable<bool> greet();
  bool connect_to_server();
  boost::asio::awaitable<void> relay_to_server();
  boost::asio::awaitable<void> relay_to_client();
  std::optional<GuardVerdict> look_at(std::string_view bytes);
  void give_back();
  std::optional<GuardVerdict> account(Clock::time_point now);
  boost::asio::awaitable<void> end_with(GuardVerdict verdict);
  void spawn_end(GuardVerdict verdict);
  void close_with(const Refusal& refusal);
  void close();

  ProxyContext& context_;
  const boost::asio::any_io_executor executor_;
  const std::unique_ptr<Places::Place> place_;
  const std::unique_ptr<Transport> client_;
  const boost::asio::ip::tcp::endpoint peer_;
  boost::asio::local::stream_protocol::socket server_;
  ClientGuard guard_;
  std::string greeting_;  // read, not yet relayed
  std::vector<char> to_server_;
  std::vector<char> to_client_;
  std::int64_t counted_streams_ = 0;  // of ProxyContext::streams
  std::size_t counted_bytes_ = 0;     // of ProxyContext::request_bytes
  std::uint64_t counted_resets_ = 0;  // of ProxyContext::peers
  State state_ = State::kGreeting;
  bool is_leaving_ = false;  // it makes room for another
  const Clock::time_point accepted_ = Clock::now();
  Clock::time_point writing_since_{};  // a write to the client is under way; else zero
  Clock::time_point close_at_{};       // kEnding
};

}  // namespace coppice::server
