// RequestParser: bytes in, one HTTP/1.x request out. Boost.Beast reads the header, behind a plain interface, so that
// only one file compiles it; what the header says about the body, and the body itself, is ours to judge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/chunked_body.h"
#include "server/http/exchange.h"

namespace coppice::server {

struct ParserLimits {
  std::uint32_t header_bytes_max = 32U << 10U;  // and of all trailers together
  std::size_t header_fields_max = 100;          // browsers send some twenty, proxies add some
  std::size_t body_bytes_max = std::size_t{16} << 20U;
};

// Owner: a connection, for one request. Its memory is bounded by the limits.
class RequestParser {
 public:
  explicit RequestParser(const ParserLimits& limits);
  ~RequestParser();

  // Takes as many bytes as belong to this request and returns how many. REQUIRES: not done(), no error().
  std::size_t feed(std::string_view bytes);

  bool header_done() const { return is_header_done_; }
  bool done() const { return is_done_; }
  const openai::MaybeError& error() const { return error_; }

  // Once after header_done(): the client waits for "100 Continue" before it sends the body.
  bool wants_continue();

  // Bytes of the body so far.
  std::size_t body_bytes() const { return request_.body.size(); }

  // REQUIRES: header_done(). Without the body until done().
  const HttpRequest& head() const { return request_; }
  bool keep_alive() const;
  bool is_http_1_0() const;
  // REQUIRES: done().
  HttpRequest take() { return std::move(request_); }

 private:
  struct Beast;

  std::size_t feed_header(std::string_view bytes);
  std::size_t feed_body(std::string_view bytes);
  void end_header();
  void check_header();
  void check_host();
  void check_target();
  void set_host(std::string_view authority);

  const ParserLimits limits_;
  const std::unique_ptr<Beast> beast_;
  HttpRequest request_;
  std::optional<ChunkedBody> chunks_;
  std::size_t header_bytes_ = 0;
  std::size_t body_left_ = 0;  // of a body with a content-length
  openai::MaybeError error_;
  bool is_header_done_ = false;
  bool is_done_ = false;
  bool was_asked_ = false;
};

}  // namespace coppice::server
