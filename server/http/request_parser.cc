// Beast's header parser, fed by hand, and the rules of RFC 9112 that it leaves to its users.
#include "server/http/request_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cctype>
#include <string>

namespace coppice::server {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr const char* kHeaderTooLarge = "the request header is larger than this server takes";

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

openai::ApiError bad_http(std::string_view why) {
  return syntax_error("bad_http", 400, fmt::format("not a valid HTTP/1.1 request: {}", why));
}

openai::ApiError body_too_large() {
  return openai::too_large("the request body is larger than this server takes");
}

openai::ApiError header_too_large(std::string message) {
  return syntax_error("header_too_large", 431, std::move(message));
}

// Letters of a host and port (RFC 3986, 3.2.2 and 3.2.3).
bool is_authority(std::string_view text) {
  static constexpr std::string_view kMarks = "-._~!$&'()*+,;=%:[]";
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

std::size_t count(const HttpRequest& request, std::string_view name) {
  return static_cast<std::size_t>(std::count_if(request.headers.begin(), request.headers.end(),
                                                [&](const auto& field) { return field.first == name; }));
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
  http::request_parser<http::empty_body> parser;
};

RequestParser::RequestParser(const ParserLimits& limits) : limits_(limits), beast_(std::make_unique<Beast>()) {
  // Beast's own bound depends on the pieces that a header comes in. Ours, in end_header(), does not; this one ends a
  // header that never ends.
  beast_->parser.header_limit(limits.header_bytes_max + limits.header_bytes_max / 2);
  beast_->parser.body_limit(boost::none);  // ours, too: a refusal needs the route
  beast_->parser.skip(true);               // the body is ours
}

RequestParser::~RequestParser() = default;

std::size_t RequestParser::feed(std::string_view bytes) {
  std::size_t used = 0;
  if (!is_header_done_) {
    used = feed_header(bytes);
  }
  if (is_header_done_ && !is_done_ && !error_) {
    used += feed_body(bytes.substr(used));
  }
  return used;
}

std::size_t RequestParser::feed_header(std::string_view bytes) {
  beast::error_code code;
  const std::size_t used = beast_->parser.put(boost::asio::buffer(bytes.data(), bytes.size()), code);
  header_bytes_ += used;
  if (code == http::error::header_limit) {
    error_ = header_too_large(kHeaderTooLarge);
  } else if (code && code != http::error::need_more) {
    error_ = bad_http(code.message());
  } else if (beast_->parser.is_header_done()) {
    end_header();
  }
  return used;
}

void RequestParser::end_header() {
  is_header_done_ = true;
  if (header_bytes_ > limits_.header_bytes_max) {
    error_ = header_too_large(kHeaderTooLarge);
    return;
  }
  const auto& message = beast_->parser.get();
  request_.method = view(message.method_string());
  request_.target = view(message.target());
  for (const auto& field : message) {
    if (request_.headers.size() == limits_.header_fields_max) {
      error_ = header_too_large(fmt::format("the request has more than {} header fields", limits_.header_fields_max));
      return;
    }
    request_.headers.emplace_back(lower(view(field.name_string())), view(field.value()));
  }
  check_header();
  if (error_) {
    return;
  }
  if (beast_->parser.chunked()) {
    chunks_.emplace(limits_.body_bytes_max, limits_.header_bytes_max);
    return;
  }
  const auto length = beast_->parser.content_length();
  if (length.value_or(0) > limits_.body_bytes_max) {
    error_ = body_too_large();
    return;
  }
  body_left_ = static_cast<std::size_t>(length.value_or(0));
  is_done_ = body_left_ == 0;
}

std::size_t RequestParser::feed_body(std::string_view bytes) {
  if (!chunks_) {
    const std::size_t taken = std::min(body_left_, bytes.size());
    request_.body.append(bytes.data(), taken);
    body_left_ -= taken;
    is_done_ = body_left_ == 0;
    return taken;
  }
  const std::size_t used = chunks_->feed(bytes, request_.body);
  is_done_ = chunks_->done();
  switch (chunks_->problem()) {
    case ChunkedBody::Problem::kNone:
      break;
    case ChunkedBody::Problem::kSyntax:
      error_ = bad_http("a chunk or a trailer is malformed");
      break;
    case ChunkedBody::Problem::kBodyTooLarge:
      error_ = body_too_large();
      break;
    case ChunkedBody::Problem::kTrailerTooLarge:
      error_ = header_too_large("the request's trailers are larger than this server takes");
      break;
  }
  return used;
}

// Refuses a body whose end a proxy in front might see in another place (request smuggling; RFC 9112, 6.3), and a body
// that would be read as what it is not.
void RequestParser::check_header() {
  const std::size_t codings = count(request_, "transfer-encoding");
  const bool is_chunked = codings == 1 && lower(request_.header("transfer-encoding")) == "chunked";
  if (codings > 0 && (!is_chunked || is_http_1_0() || !beast_->parser.chunked())) {
    error_ = bad_http("the only transfer-encoding taken is chunked");
    return;
  }
  if (codings > 0 && count(request_, "content-length") > 0) {
    error_ = bad_http("content-length and transfer-encoding exclude each other");
    return;
  }
  const std::string_view coding = request_.header("content-encoding");
  if (!coding.empty() && lower(coding) != "identity") {
    error_ = syntax_error("unsupported_encoding", 415,
                          "bodies with a content-encoding are not taken: send it as it is, without that header");
    return;
  }
  check_host();
  if (!error_) {
    check_target();
  }
}

void RequestParser::check_host() {
  const std::size_t hosts = count(request_, "host");
  if (hosts > 1 || (hosts == 0 && !is_http_1_0())) {
    error_ = bad_http(hosts == 0 ? "the header 'host' is missing" : "more than one header 'host'");
  } else if (!is_authority(request_.header("host"))) {
    error_ = bad_http("the header 'host' is no host");
  }
}

// "http://host/path", as clients of a proxy send it, is "/path" at that host, whatever the header says (RFC
// 9112, 3.2.2).
void RequestParser::check_target() {
  const std::size_t mark = request_.target.find("://");
  const std::string scheme = lower(std::string_view(request_.target).substr(0, mark));
  if (mark == std::string::npos || (scheme != "http" && scheme != "https")) {
    return;
  }
  const std::string rest = request_.target.substr(scheme.size() + std::string_view("://").size());
  const std::string authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.empty() || !is_authority(authority)) {
    error_ = bad_http("the target names no host");
    return;
  }
  set_host(authority);
  request_.target = rest.substr(authority.size());
  if (!request_.target.starts_with('/')) {
    request_.target.insert(0, "/");
  }
}

void RequestParser::set_host(std::string_view authority) {
  for (auto& [name, value] : request_.headers) {
    if (name == "host") {
      value = authority;
      return;
    }
  }
  request_.headers.emplace_back("host", authority);
}

bool RequestParser::keep_alive() const {
  return beast_->parser.get().keep_alive();
}

bool RequestParser::is_http_1_0() const {
  return beast_->parser.get().version() < 11;
}

bool RequestParser::wants_continue() {
  if (was_asked_ || !is_header_done_ || is_done_ || error_) {
    return false;
  }
  was_asked_ = true;
  return lower(request_.header("expect")) == "100-continue";
}

}  // namespace coppice::server
