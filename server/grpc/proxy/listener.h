// Where the proxy listens: addresses, sockets, TLS, and what to do when the process is out of file handles.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace coppice::server {

// An open, listening socket. ERRORS: InvalidArgument naming the flag and the reason.
absl::StatusOr<boost::asio::ip::tcp::acceptor> listen_on(boost::asio::io_context& io, const std::string& host,
                                                         std::int32_t port);

// TLS 1.2 and 1.3 for clients that offer HTTP/2 by ALPN. `certificate` and `key` are PEM text. ERRORS: InvalidArgument.
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> make_h2_tls(const std::string& certificate,
                                                                       const std::string& key);

// A file handle kept for the time when there are none left: with it, waiting connections can be taken and closed, so
// that their clients hear at once and the queue does not fill with the dead.
// Owner: the accepting thread. Thread: its owner's.
class SpareHandle {
 public:
  SpareHandle();
  ~SpareHandle();
  SpareHandle(const SpareHandle&) = delete;
  SpareHandle& operator=(const SpareHandle&) = delete;

  // Accepts and closes what waits on `listener`, a non-blocking listening socket; returns how many.
  int shed(int listener);

 private:
  void open();
  int handle_ = -1;
};

}  // namespace coppice::server
