// Boost.Beast and OpenSSL; slow to compile, so it stays inside this file.
#include "server/hub/https_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <cctype>
#include <charconv>
#include <exception>
#include <memory>

#include "fmt/format.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

constexpr std::uint32_t kHeadBytesMost = 64 << 10;  // of an answer; those of object stores have some 3,000
constexpr std::size_t kPartBytes = 64 << 10;        // of a body at once; with the timeout, the least rate
constexpr int kInterimMost = 8;                     // answers before the answer (100 to 199); servers send one or two

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

bool ends_with_domain(const std::string& host, std::string domain) {
  domain = lower(domain);
  if (domain == "*" || domain == host) {
    return true;
  }
  if (!domain.starts_with('.')) {
    domain.insert(domain.begin(), '.');
  }
  return host.ends_with(domain);
}

// One exchange. Owner: exchange()'s stack. Thread: its caller's.
class Exchange {
 public:
  Exchange(const HttpsOptions& options, const HttpsRequest& request, const HttpsClient::OnHead& on_head,
           const HttpsClient::OnBody& on_body)
      : options_(options), request_(request), on_head_(on_head), on_body_(on_body) {}

  absl::StatusOr<HttpsReply> run() {
    std::exception_ptr thrown;
    asio::co_spawn(io_, whole(), [&thrown](std::exception_ptr error) { thrown = std::move(error); });
    io_.run();
    if (thrown != nullptr) {
      std::rethrow_exception(thrown);
    }
    if (!status_.ok()) {
      return status_;
    }
    return std::move(reply_);
  }

 private:
  // A beast::error_code of the last operation, and what it was about.
  absl::Status failed(const beast::error_code& error, const char* doing, absl::StatusCode code) const {
    const bool is_slow = error == beast::error::timeout;
    const double seconds = std::chrono::duration<double>(options_.timeout).count();
    const std::string reason =
        is_slow ? fmt::format("nothing, or next to nothing, came in {:.3g} s", seconds) : printable_reason(error);
    return absl::Status(is_slow ? absl::StatusCode::kDeadlineExceeded : code,
                        fmt::format("{} {}: {}", request_.url.host_header(), doing, reason));
  }

  static std::string printable_reason(const beast::error_code& error) {
    if (error == http::error::end_of_stream || error == asio::error::eof || error == http::error::partial_message ||
        error == asio::ssl::error::stream_truncated) {
      return "the connection was cut";
    }
    return error.message();
  }

  bool uses_proxy() const {
    const std::string& host = request_.url.host;
    return request_.url.is_tls && options_.proxy.has_value() &&
           std::none_of(options_.no_proxy.begin(), options_.no_proxy.end(),
                        [&host](const std::string& domain) { return ends_with_domain(host, domain); });
  }

  asio::awaitable<void> whole() {
    beast::tcp_stream stream(io_);
    co_await connect(stream);
    if (status_.ok() && uses_proxy()) {
      co_await open_tunnel(stream);
    }
    if (!status_.ok()) {
      co_return;
    }
    if (!request_.url.is_tls) {
      co_await talk(stream);
      co_return;
    }
    asio::ssl::context context(asio::ssl::context::tls_client);
    context.set_default_verify_paths();
    context.set_verify_mode(asio::ssl::verify_peer);
    context.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
    beast::ssl_stream<beast::tcp_stream> secure(std::move(stream), context);
    co_await shake_hands(secure);
    if (status_.ok()) {
      co_await talk(secure);
    }
  }

  asio::awaitable<void> connect(beast::tcp_stream& stream) {
    const Url& to = uses_proxy() ? *options_.proxy : request_.url;
    beast::error_code error;
    tcp::resolver resolver(io_);
    const auto endpoints =
        co_await resolver.async_resolve(to.host, to.port, asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      status_ = absl::UnavailableError(fmt::format("the name {} is not known ({})", to.host, error.message()));
      co_return;
    }
    stream.expires_after(options_.timeout);
    co_await stream.async_connect(endpoints, asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      status_ = absl::UnavailableError(fmt::format("{}{} cannot be reached: {}", uses_proxy() ? "the proxy " : "",
                                                   to.host_header(), printable_reason(error)));
    }
  }

  asio::awaitable<void> open_tunnel(beast::tcp_stream& stream) {
    const std::string target =
        fmt::format(fmt::runtime(request_.url.host.find(':') == std::string::npos ? "{}:{}" : "[{}]:{}"),
                    request_.url.host, request_.url.port);
    http::request<http::empty_body> ask(http::verb::connect, target, 11);
    ask.set(http::field::host, target);
    ask.set(http::field::user_agent, options_.user_agent);
    beast::error_code error;
    stream.expires_after(options_.timeout);
    co_await http::async_write(stream, ask, asio::redirect_error(asio::use_awaitable, error));
    beast::flat_buffer buffer;
    http::response_parser<http::empty_body> parser;
    parser.skip(true);
    parser.header_limit(kHeadBytesMost);
    if (!error) {
      co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    }
    if (error) {
      status_ = failed(error, "cannot be reached through the proxy", absl::StatusCode::kUnavailable);
    } else if (parser.get().result_int() != 200 || buffer.size() != 0) {
      status_ = absl::UnavailableError(fmt::format("the proxy {} refuses to connect to {}: HTTP status {}",
                                                   options_.proxy->host_header(), target, parser.get().result_int()));
    }
  }

  asio::awaitable<void> shake_hands(beast::ssl_stream<beast::tcp_stream>& stream) {
    const std::string& host = request_.url.host;
    beast::error_code error;
    (void)asio::ip::make_address(host, error);
    if (error && SSL_set_tlsext_host_name(stream.native_handle(), host.c_str()) != 1) {  // addresses are not sent
      status_ = absl::InvalidArgumentError(fmt::format("{}: no name of a host", host));
      co_return;
    }
    error.clear();
    stream.set_verify_callback(asio::ssl::host_name_verification(host));
    beast::get_lowest_layer(stream).expires_after(options_.timeout);
    co_await stream.async_handshake(asio::ssl::stream_base::client, asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      co_return;
    }
    const long verified = SSL_get_verify_result(stream.native_handle());
    if (verified != X509_V_OK || error.message().find("verify failed") != std::string::npos) {
      status_ = absl::FailedPreconditionError(
          fmt::format("the certificate of {} is refused ({}); SSL_CERT_FILE names another file of trusted certificates",
                      request_.url.host_header(),
                      verified != X509_V_OK ? X509_verify_cert_error_string(verified) : "it is for another name"));
    } else {
      status_ = failed(error, "does not speak TLS as it should", absl::StatusCode::kUnavailable);
    }
  }

  // A coroutine per kind of stream.
  template <typename Stream>
  asio::awaitable<void> talk(Stream& stream) {
    http::request<http::empty_body> ask(request_.is_head ? http::verb::head : http::verb::get, request_.url.target, 11);
    ask.set(http::field::host, request_.url.host_header());
    ask.set(http::field::user_agent, options_.user_agent);
    ask.set(http::field::accept_encoding, "identity");  // sizes and hashes are of the file itself
    ask.set(http::field::connection, "close");
    for (const auto& [name, value] : request_.headers) {
      ask.set(name, value);
    }
    beast::error_code error;
    beast::get_lowest_layer(stream).expires_after(options_.timeout);
    co_await http::async_write(stream, ask, asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      status_ = failed(error, "does not take the request", absl::StatusCode::kDataLoss);
      co_return;
    }
    beast::flat_buffer buffer(kHeadBytesMost + kPartBytes);
    // Interim answers (100 Continue, 103 Early Hints) come before the one that counts; 101 would end HTTP.
    for (int interim = 0; interim <= kInterimMost; ++interim) {
      http::response_parser<http::buffer_body> parser;
      parser.header_limit(kHeadBytesMost);
      parser.body_limit(boost::none);  // the caller counts
      parser.skip(request_.is_head);
      co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        status_ = failed(error, "does not answer as a web server", absl::StatusCode::kDataLoss);
        co_return;
      }
      const unsigned status = parser.get().result_int();
      if (status / 100 == 1 && status != 101) {
        continue;
      }
      take_head(parser.get());
      if (status_.ok() && !request_.is_head && (reply_.status == 200 || reply_.status == 206)) {
        co_await read_body(stream, buffer, parser);
      }
      co_return;
    }
    status_ = absl::DataLossError(
        fmt::format("{} sends more than {} answers that only announce one", request_.url.host_header(), kInterimMost));
  }

  void take_head(const http::response<http::buffer_body>& head) {
    reply_.status = static_cast<int>(head.result_int());
    for (const auto& field : head) {
      reply_.headers.emplace(lower(field.name_string()), field.value());
    }
    status_ = on_head_(reply_);
  }

  template <typename Stream, typename Parser>
  asio::awaitable<void> read_body(Stream& stream, beast::flat_buffer& buffer, Parser& parser) {
    const auto part = std::make_unique<std::array<char, kPartBytes>>();
    while (status_.ok() && !parser.is_done()) {
      parser.get().body().data = part->data();
      parser.get().body().size = part->size();
      beast::error_code error;
      beast::get_lowest_layer(stream).expires_after(options_.timeout);
      co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      const std::size_t count = part->size() - parser.get().body().size;
      if (count > 0) {  // what came before an error counts
        status_ = on_body_(std::string_view(part->data(), count));
      }
      if (status_.ok() && error && error != http::error::need_buffer) {
        status_ = failed(error, "does not send all it promised", absl::StatusCode::kDataLoss);
      }
    }
  }

  const HttpsOptions& options_;
  const HttpsRequest& request_;
  const HttpsClient::OnHead& on_head_;
  const HttpsClient::OnBody& on_body_;
  asio::io_context io_{1};
  HttpsReply reply_;
  absl::Status status_;
};

}  // namespace

const std::string& HttpsReply::header(const std::string& name) const {
  static const std::string none;
  const auto found = headers.find(name);
  return found == headers.end() ? none : found->second;
}

std::optional<std::uint64_t> HttpsReply::number(const std::string& name) const {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;  // bytes: a sum of two does not overflow
  const std::string& text = header(name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kMost) {
    return std::nullopt;
  }
  return value;
}

absl::StatusOr<HttpsReply> HttpsClient::exchange(const HttpsRequest& request, const OnHead& on_head,
                                                 const OnBody& on_body) const {
  try {
    return Exchange(options_, request, on_head, on_body).run();
  } catch (const std::exception& error) {
    return absl::UnavailableError(fmt::format("{}: {}", request.url.host_header(), error.what()));
  }
}

}  // namespace coppice::server
