// Transport: bytes to and from one client, plain or TLS. Virtual so that the connection's code is compiled once; the
// cost is one virtual call per read or write.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "server/net/places.h"

namespace coppice::server {

// Owner: a connection. Thread: the connection's. At most one read and one write at a time; close() ends both.
class Transport {
 public:
  virtual ~Transport() = default;
  // False when the client and the server do not agree, or the place is needed (make_tls_transport()).
  virtual boost::asio::awaitable<bool> handshake() = 0;
  // Bytes read; 0 when the client has closed or the connection is broken.
  virtual boost::asio::awaitable<std::size_t> read_some(boost::asio::mutable_buffer buffer) = 0;
  // False when the connection is broken.
  virtual boost::asio::awaitable<bool> write_all(boost::asio::const_buffer buffer) = 0;
  // What is known of the client beside what it has sent. Does not block.
  enum class Peer : std::uint8_t {
    kOpen,
    kInputEnded,  // it sends nothing more; it may still read
    kGone,        // the connection is broken
  };
  virtual Peer peer() = 0;
  virtual void finish_writing() = 0;  // the client reads end of file; read_some() goes on
  virtual void close() = 0;
};

std::unique_ptr<Transport> make_plain_transport(boost::asio::ip::tcp::socket socket);
// The handshake holds `place` until it has ended. One that waits for its client ends when all places are taken: those
// who answer at once come first.
std::unique_ptr<Transport> make_tls_transport(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& context,
                                              std::unique_ptr<Places::Place> place);

}  // namespace coppice::server
