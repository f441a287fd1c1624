// One connection's coroutines.
#include "server/http/connection.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <iterator>
#include <utility>

namespace coppice::server {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kReadBytesMin = std::size_t{4} << 10U;   // of one read: the header of an ordinary request
constexpr std::size_t kReadBytesMax = std::size_t{64} << 10U;  // of one read of a large body: few system calls
constexpr std::size_t kReadAheadMax = std::size_t{64} << 10U;  // pipelined bytes held while an answer is made
constexpr std::size_t kWriteBytes = std::size_t{256} << 10U;   // the write timeout applies to each piece of this size
constexpr std::chrono::milliseconds kLingerTime{1000};         // for the client to read a refusal: some round trips
constexpr std::chrono::hours kForever{24 * 365};               // a timer that only a cancel ends
constexpr int kRetryAfterSeconds = 1;  // connections and bodies come and go within a request's time

constexpr const char* kTooManyBodies =
    "the server is receiving as many bytes of request bodies as it may (--max-bodies); try again later";

const char* reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Payload Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Unknown";
  }
}

}  // namespace

Connection::Connection(ConnectionContext& context, const asio::any_io_executor& executor,
                       std::unique_ptr<Transport> transport)
    : context_(context),
      transport_(std::move(transport)),
      signal_(executor),
      space_(executor),
      stall_(executor),
      read_buffer_(kReadBytesMin) {
  context_.connections.fetch_add(1);
}

Connection::~Connection() {
  context_.connections.fetch_sub(1);
}

asio::awaitable<void> Connection::run() {
  const std::shared_ptr<Connection> self = shared_from_this();
  const bool is_open = co_await handshake();
  if (is_open) {
    asio::co_spawn(signal_.get_executor(), read_ahead(), asio::detached);
    bool goes_on = true;
    while (goes_on) {
      goes_on = co_await serve_one();
    }
  }
  end();
}

asio::awaitable<void> Connection::run_refused() {
  const std::shared_ptr<Connection> self = shared_from_this();
  const bool is_open = co_await handshake();
  if (is_open) {
    asio::co_spawn(signal_.get_executor(), read_ahead(), asio::detached);
    co_await refuse(
        openai::unavailable("too_many_connections", "too many connections; try again later", kRetryAfterSeconds));
  }
  end();
}

void Connection::close_when_idle() {
  if (is_idle_) {
    transport_->close();
  }
}

asio::awaitable<bool> Connection::handshake() {
  start_stall_clock(context_.options.header_timeout);
  const bool is_open = co_await transport_->handshake();
  stall_.cancel();
  co_return is_open;
}

void Connection::start_stall_clock(std::chrono::milliseconds timeout) {
  stall_.expires_after(timeout);
  stall_.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    const std::shared_ptr<Connection> self = weak.lock();
    if (!cancelled && self != nullptr) {
      self->transport_->close();
    }
  });
}

asio::awaitable<void> Connection::wait_until(Clock::time_point deadline) {
  signal_.expires_at(deadline);
  boost::system::error_code woken;
  co_await signal_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
}

asio::awaitable<void> Connection::read_ahead() {
  const std::shared_ptr<Connection> self = shared_from_this();
  while (!is_over_) {
    if (inbox_.size() >= kReadAheadMax) {
      space_.expires_after(kForever);
      boost::system::error_code woken;
      co_await space_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
      continue;
    }
    const std::size_t count = co_await transport_->read_some(asio::buffer(read_buffer_));
    if (count == 0) {
      break;
    }
    inbox_.append(read_buffer_.data(), count);
    if (count == read_buffer_.size() && count < kReadBytesMax) {
      read_buffer_.resize(count * 2);  // a large body is coming
    }
    wake();
  }
  peer_closed_ = true;
  wake();
}

void Connection::end() {
  is_over_ = true;
  transport_->close();
  space_.cancel();
}

// True: a whole request is in the parser. False: the connection must end; a bad request has been answered.
asio::awaitable<bool> Connection::read_request(RequestParser& parser, BodyBudget::Part& body) {
  is_idle_ = inbox_.empty();
  Clock::time_point deadline =
      Clock::now() + (is_idle_ ? context_.options.idle_timeout : context_.options.header_timeout);
  bool had_header = false;
  while (true) {
    if (!inbox_.empty()) {
      if (is_idle_) {
        is_idle_ = false;
        deadline = Clock::now() + context_.options.header_timeout;
      }
      inbox_.erase(0, parser.feed(inbox_));
      space_.cancel();
    }
    if (parser.error()) {
      co_await refuse(*parser.error());
      co_return false;
    }
    if (!body.grow_to(parser.body_bytes())) {
      co_await refuse(openai::unavailable("too_many_bodies", kTooManyBodies, kRetryAfterSeconds));
      co_return false;
    }
    if (parser.done()) {
      read_buffer_.resize(kReadBytesMin);
      co_return true;
    }
    if (parser.header_done() && !had_header) {
      had_header = true;
      deadline = Clock::now() + context_.options.body_timeout;
      if (parser.wants_continue()) {
        const bool sent = co_await send("HTTP/1.1 100 Continue\r\n\r\n");
        if (!sent) {
          co_return false;
        }
      }
    }
    if (peer_closed_ || (is_idle_ && context_.is_closing)) {
      co_return false;
    }
    if (Clock::now() >= deadline) {
      if (!is_idle_) {
        co_await refuse(openai::deadline_exceeded("the request did not arrive in time"));
      }
      co_return false;
    }
    co_await wait_until(deadline);
  }
}

asio::awaitable<bool> Connection::serve_one() {
  RequestParser parser(context_.options.header_bytes_max, context_.options.body_bytes_max);
  BodyBudget::Part body(context_.bodies);
  const bool has_request = co_await read_request(parser, body);
  if (!has_request) {
    co_return false;
  }
  begin_answer();
  keep_alive_ = parser.keep_alive();
  is_http_1_0_ = parser.is_http_1_0();
  HttpRequest request = parser.take();
  is_head_ = request.method == "HEAD";
  context_.active_requests.fetch_add(1);
  std::unique_ptr<RequestHandler> handler = context_.application.handle(std::move(request), *this, context_.hub);
  body.release();
  const bool sent = co_await send_answer();
  handler.reset();
  context_.active_requests.fetch_sub(1);
  co_return sent&& keep_alive_;
}

void Connection::begin_answer() {
  out_.clear();
  answer_done_ = false;
  is_overfull_ = false;
  is_chunked_ = false;
}

asio::awaitable<bool> Connection::send_answer() {
  while (true) {
    if (is_overfull_) {
      spdlog::warn("a client reads too slowly: {} bytes wait for it; its stream is cut", out_.size());
      co_return false;
    }
    if (peer_closed_ && !answer_done_) {
      co_return false;  // the client has left
    }
    if (!out_.empty()) {
      const std::string batch = std::exchange(out_, {});
      const bool sent = co_await send(batch);
      if (!sent) {
        co_return false;
      }
      continue;
    }
    if (answer_done_) {
      co_return true;
    }
    co_await wait_until(Clock::now() + kForever);
  }
}

asio::awaitable<bool> Connection::send(std::string_view bytes) {
  bool sent = true;
  while (sent && !bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kWriteBytes);
    bytes.remove_prefix(piece.size());
    start_stall_clock(context_.options.write_timeout);
    sent = co_await transport_->write_all(asio::buffer(piece.data(), piece.size()));
  }
  stall_.cancel();
  co_return sent;
}

asio::awaitable<void> Connection::refuse(const openai::ApiError& error) {
  begin_answer();
  keep_alive_ = false;
  respond(context_.application.refuse(error));
  const bool sent = co_await send(std::exchange(out_, {}));
  if (sent) {
    co_await linger();
  }
}

// Closing with unread bytes would make the kernel drop the answer that is still on its way: read them, briefly.
asio::awaitable<void> Connection::linger() {
  transport_->finish_writing();
  const Clock::time_point deadline = Clock::now() + kLingerTime;
  while (!peer_closed_ && Clock::now() < deadline) {
    inbox_.clear();
    space_.cancel();
    co_await wait_until(deadline);
  }
}

void Connection::append_head(const HttpResponse& response, bool is_stream) {
  keep_alive_ = keep_alive_ && !context_.is_closing && !(is_stream && is_http_1_0_);
  is_chunked_ = is_stream && !is_http_1_0_;
  auto out = std::back_inserter(out_);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  fmt::format_to(out, "date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(std::time(nullptr)));
  fmt::format_to(out, "content-type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) {
    fmt::format_to(out, "{}: {}\r\n", name, value);
  }
  if (is_chunked_) {
    out_ += "transfer-encoding: chunked\r\n";
  } else if (!is_stream) {
    fmt::format_to(out, "content-length: {}\r\n", response.body.size());
  }
  out_ += keep_alive_ ? "connection: keep-alive\r\n\r\n" : "connection: close\r\n\r\n";
}

void Connection::respond(HttpResponse response) {
  append_head(response, false);
  if (!is_head_) {
    out_ += response.body;
  }
  answer_done_ = true;
  wake();
}

void Connection::begin_stream(const HttpResponse& head) {
  append_head(head, true);
}

void Connection::write(std::string_view bytes) {
  if (bytes.empty() || is_overfull_) {
    return;
  }
  if (is_chunked_) {
    fmt::format_to(std::back_inserter(out_), "{:x}\r\n", bytes.size());
  }
  out_ += bytes;
  if (is_chunked_) {
    out_ += "\r\n";
  }
  is_overfull_ = out_.size() > context_.options.output_bytes_max;
  wake();
}

void Connection::end_stream() {
  if (is_chunked_) {
    out_ += "0\r\n\r\n";
  }
  answer_done_ = true;
  wake();
}

}  // namespace coppice::server
