// RequestParser: bytes in, one HTTP/1.x request out. Boost.Beast's parser behind a plain interface, so that
// only one file compiles it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "server/http/exchange.h"

namespace coppice::server {

// Owner: a connection, for one request. Its memory is bounded by the limits.
class RequestParser {
 public:
  RequestParser(std::uint32_t header_bytes_max, std::size_t body_bytes_max);
  ~RequestParser();

  // Takes as many bytes as belong to this request and returns how many. REQUIRES: not done(), no error().
  std::size_t feed(std::string_view bytes);

  bool header_done() const;
  bool done() const;
  const openai::MaybeError& error() const { return error_; }

  // Once after header_done(): the client waits for "100 Continue" before it sends the body.
  bool wants_continue();

  // Bytes of the body so far.
  std::size_t body_bytes() const;

  // REQUIRES: done().
  bool keep_alive() const;
  bool is_http_1_0() const;
  HttpRequest take();

 private:
  void check_framing();

  struct Beast;
  const std::unique_ptr<Beast> beast_;
  openai::MaybeError error_;
  bool was_asked_ = false;
};

}  // namespace coppice::server
