// Beast's request parser, fed by hand.
#include "server/http/request_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cctype>
#include <string>

namespace coppice::server {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

openai::ApiError syntax_error(std::string code, int status, std::string message) {
  openai::ApiError error = openai::bad_value("", std::move(message));
  error.code = std::move(code);
  error.status = status;
  return error;
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) {
      return value;
    }
  }
  return {};
}

struct RequestParser::Beast {
  http::request_parser<http::string_body> parser;
};

RequestParser::RequestParser(std::uint32_t header_bytes_max, std::size_t body_bytes_max)
    : beast_(std::make_unique<Beast>()) {
  beast_->parser.header_limit(header_bytes_max);
  beast_->parser.body_limit(body_bytes_max);
  beast_->parser.eager(true);
}

RequestParser::~RequestParser() = default;

std::size_t RequestParser::feed(std::string_view bytes) {
  beast::error_code code;
  const std::size_t used = beast_->parser.put(boost::asio::buffer(bytes.data(), bytes.size()), code);
  if (!code || code == http::error::need_more) {
    check_framing();
    return used;
  }
  if (code == http::error::body_limit) {
    error_ = openai::too_large("the request body is larger than this server takes");
  } else if (code == http::error::header_limit) {
    error_ = syntax_error("header_too_large", 431, "the request header is larger than this server takes");
  } else {
    error_ = syntax_error("bad_http", 400, fmt::format("not a valid HTTP/1.1 request: {}", code.message()));
  }
  return used;
}

// Refuses a body whose end a proxy in front might see in another place (request smuggling; RFC 9112, 6.3).
void RequestParser::check_framing() {
  if (!header_done() || error_) {
    return;
  }
  const bool has_coding = beast_->parser.get().count(http::field::transfer_encoding) > 0;
  if (has_coding && (!beast_->parser.chunked() || is_http_1_0())) {
    error_ = syntax_error("bad_http", 400, "not a valid HTTP/1.1 request: the only transfer-encoding taken is chunked");
  }
}

bool RequestParser::header_done() const {
  return beast_->parser.is_header_done();
}
bool RequestParser::done() const {
  return beast_->parser.is_done();
}
std::size_t RequestParser::body_bytes() const {
  return beast_->parser.get().body().size();
}
bool RequestParser::keep_alive() const {
  return beast_->parser.get().keep_alive();
}
bool RequestParser::is_http_1_0() const {
  return beast_->parser.get().version() < 11;
}

bool RequestParser::wants_continue() {
  if (was_asked_ || !header_done() || done()) {
    return false;
  }
  was_asked_ = true;
  return beast::iequals(beast_->parser.get()[http::field::expect], "100-continue");
}

HttpRequest RequestParser::take() {
  http::request<http::string_body> message = beast_->parser.release();
  HttpRequest request;
  request.method = view(message.method_string());
  request.target = view(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(lower(view(field.name_string())), view(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

}  // namespace coppice::server
