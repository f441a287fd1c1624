// Asio's sockets and TLS streams behind Transport.
#include "server/net/transport.h"

#include <poll.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);  // errors are returned, not thrown

// For a handshake whose place others wait for: a round trip or two, across half the world.
constexpr std::chrono::milliseconds kHandshakePatience{500};

void close_socket(tcp::socket& socket) {
  boost::system::error_code ignored;
  socket.shutdown(tcp::socket::shutdown_both, ignored);
  socket.close(ignored);
}

// Errors are seen although bytes wait to be read, of which there may be more than the server wants to hold.
Transport::Peer poll_peer(tcp::socket& socket) {
  pollfd place = {socket.native_handle(), POLLRDHUP, 0};
  if (!socket.is_open() || ::poll(&place, 1, 0) < 0 || (place.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
    return Transport::Peer::kGone;
  }
  return (place.revents & POLLRDHUP) != 0 ? Transport::Peer::kInputEnded : Transport::Peer::kOpen;
}

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<bool> handshake() override { co_return true; }

  asio::awaitable<std::size_t> read_some(asio::mutable_buffer buffer) override {
    const auto [error, count] = co_await socket_.async_read_some(buffer, kAwait);
    co_return error ? 0 : count;
  }

  asio::awaitable<bool> write_all(asio::const_buffer buffer) override {
    const auto [error, count] = co_await asio::async_write(socket_, buffer, kAwait);
    co_return !error && count == buffer.size();
  }

  Peer peer() override { return poll_peer(socket_); }

  void finish_writing() override {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void close() override { close_socket(socket_); }

 private:
  tcp::socket socket_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, asio::ssl::context& context, std::unique_ptr<Places::Place> place)
      : place_(std::move(place)), stream_(std::move(socket), context), patience_(stream_.get_executor()) {}

  asio::awaitable<bool> handshake() override {
    watch();
    const auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kAwait);
    place_.reset();
    patience_.cancel();
    co_return !error;
  }

  asio::awaitable<std::size_t> read_some(asio::mutable_buffer buffer) override {
    const auto [error, count] = co_await stream_.async_read_some(buffer, kAwait);
    co_return error ? 0 : count;
  }

  asio::awaitable<bool> write_all(asio::const_buffer buffer) override {
    const auto [error, count] = co_await asio::async_write(stream_, buffer, kAwait);
    co_return !error && count == buffer.size();
  }

  // TLS ends in both directions at once.
  Peer peer() override { return poll_peer(stream_.next_layer()) == Peer::kOpen ? Peer::kOpen : Peer::kGone; }

  // Answers carry their own length, so a client needs no close_notify to know that it has all of one.
  void finish_writing() override {
    boost::system::error_code ignored;
    stream_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
  }

  void close() override { close_socket(stream_.next_layer()); }

 private:
  // Looks again and again until the handshake has ended.
  void watch() {
    patience_.expires_after(kHandshakePatience);
    patience_.async_wait([this, weak = std::weak_ptr<Places::Place>(place_)](const boost::system::error_code& error) {
      const std::shared_ptr<Places::Place> place = weak.lock();
      if (error || place == nullptr) {
        return;  // it has ended; this transport may be gone too
      }
      if (place->of().is_full()) {
        close();
      } else {
        watch();
      }
    });
  }

  std::shared_ptr<Places::Place> place_;  // until the handshake has ended
  asio::ssl::stream<tcp::socket> stream_;
  asio::steady_timer patience_;
};

}  // namespace

std::unique_ptr<Transport> make_plain_transport(tcp::socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

std::unique_ptr<Transport> make_tls_transport(tcp::socket socket, asio::ssl::context& context,
                                              std::unique_ptr<Places::Place> place) {
  return std::make_unique<TlsTransport>(std::move(socket), context, std::move(place));
}

}  // namespace coppice::server
