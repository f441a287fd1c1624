// One connection's coroutines.
#include "server/http/connection.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <exception>
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
constexpr int kNoContent = 204;                                // has no body and no length
constexpr int kRetryAfterSeconds = 1;  // connections and bodies come and go within a request's time

constexpr std::chrono::milliseconds kPeerPoll{50};       // between two looks at a client that sends nothing more
constexpr std::chrono::milliseconds kProbePeriod{1000};  // between two questions whether it is still there
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Counts an answer that is not complete; the destructor ends it, however the answer ends.
class ActiveRequest {
 public:
  explicit ActiveRequest(std::atomic<std::int64_t>& count) : count_(count) { count_.fetch_add(1); }
  ~ActiveRequest() { count_.fetch_sub(1); }
  ActiveRequest(const ActiveRequest&) = delete;
  ActiveRequest& operator=(const ActiveRequest&) = delete;

 private:
  std::atomic<std::int64_t>& count_;
};

const char* reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
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
    bool has_failed = false;
    while (goes_on) {
      try {
        goes_on = co_await serve_one();
      } catch (const std::exception& error) {  // out of memory at worst
        spdlog::error("http: a connection failed: {}", error.what());
        goes_on = false;
        has_failed = true;
      }
    }
    if (has_failed && !answer_.has_begun) {
      co_await refuse_quietly();
    }
  }
  end();
}

// A 500 where even that may fail.
asio::awaitable<void> Connection::refuse_quietly() {
  try {
    co_await refuse(openai::internal_error("the request could not be served"));
  } catch (const std::exception& error) {
    spdlog::error("http: a connection failed again: {}", error.what());
  }
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
  try {
    while (!is_over_) {
      if (inbox_.size() >= kReadAheadMax) {
        is_paused_ = true;
        wake();  // from now on the client's leaving is not read
        space_.expires_after(kForever);
        boost::system::error_code woken;
        co_await space_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
        is_paused_ = false;
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
  } catch (const std::exception& error) {
    spdlog::error("http: reading failed: {}", error.what());
    transport_->close();
  }
  input_ended_ = true;
  wake();
}

void Connection::end() {
  is_over_ = true;
  transport_->close();
  space_.cancel();
}

// The body's bytes so far, and, before much of it is held, whether it is welcome at all.
openai::MaybeError Connection::count_body(const RequestParser& parser) {
  if (parser.body_bytes() > MemoryBudget::kFreeBytes && !answer_.is_admitted) {
    answer_.is_admitted = true;
    openai::Result<std::string> tenant = context_.application.admit_body(parser.head());
    if (!tenant.ok()) {
      return std::move(tenant.error());
    }
    answer_.memory->set_tenant(std::move(tenant.value()));
  }
  return answer_.memory->set(MemoryPart::kBody, parser.body_bytes());
}

// True: a whole request is in the parser. False: the connection must end; a bad request has been answered.
asio::awaitable<bool> Connection::read_request(RequestParser& parser) {
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
    openai::MaybeError error = parser.error() ? parser.error() : count_body(parser);
    if (error) {
      co_await refuse(*error, &parser.head());
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
        const bool sent = co_await send(kContinue);
        if (!sent) {
          co_return false;
        }
      }
    }
    if (input_ended_ || (is_idle_ && context_.is_closing)) {
      co_return false;
    }
    if (Clock::now() >= deadline) {
      if (!is_idle_) {
        co_await refuse(openai::deadline_exceeded("the request did not arrive in time"), &parser.head());
      }
      co_return false;
    }
    co_await wait_until(deadline);
  }
}

asio::awaitable<bool> Connection::serve_one() {
  answer_ = {};
  answer_.memory = std::make_shared<MemoryBudget::Lease>(context_.memory);
  RequestParser parser(context_.options.parser);
  const bool has_request = co_await read_request(parser);
  if (!has_request) {
    co_return false;
  }
  const ActiveRequest active(context_.active_requests);
  keep_alive_ = parser.keep_alive();
  answer_.is_http_1_0 = parser.is_http_1_0();
  HttpRequest request = parser.take();
  request.memory = answer_.memory;
  answer_.is_head = request.method == "HEAD";
  const std::unique_ptr<RequestHandler> handler = handle(std::move(request));
  const bool sent = co_await send_answer(handler.get());
  answer_.memory.reset();  // while the connection is idle it holds nothing
  co_return sent&& keep_alive_;
}

// An exception of the application, out of memory at worst, is the answer to this request alone.
std::unique_ptr<RequestHandler> Connection::handle(HttpRequest request) {
  try {
    return context_.application.handle(std::move(request), *this, context_.hub);
  } catch (const std::exception& error) {
    spdlog::error("http: a request failed: {}", error.what());
    if (!answer_.has_begun) {
      respond(context_.application.refuse(openai::internal_error("the request could not be served"), nullptr));
    }
    return nullptr;
  }
}

// Whether no client waits for the answer. One that has ended its input may still read, and what one has sent ahead may
// hide its end: the system cannot tell before something is sent. An interim answer is what may be sent (RFC 9110, 15.2:
// clients skip it); a client that is gone answers with a reset.
asio::awaitable<bool> Connection::client_has_left() {
  const Transport::Peer peer = transport_->peer();
  if (peer == Transport::Peer::kGone || (peer == Transport::Peer::kOpen && input_ended_)) {
    co_return true;
  }
  if (answer_.is_http_1_0) {  // knows no interim answers; ending the input is how it leaves
    co_return peer == Transport::Peer::kInputEnded;
  }
  if (!answer_.has_begun && Clock::now() >= answer_.probe_at) {
    answer_.probe_at = Clock::now() + kProbePeriod;
    const bool sent = co_await send(kContinue);
    co_return !sent;
  }
  co_return false;
}

// A handler's own exception is its answer's end, as in handle().
void Connection::report_quiet(RequestHandler* handler) {
  answer_.quiet_at = Clock::now() + context_.options.quiet_period;
  if (handler == nullptr) {
    return;
  }
  try {
    handler->on_quiet();
  } catch (const std::exception& error) {
    spdlog::error("http: a sign of life could not be sent: {}", error.what());
  }
}

asio::awaitable<bool> Connection::send_answer(RequestHandler* handler) {
  answer_.quiet_at = Clock::now() + context_.options.quiet_period;
  while (true) {
    if (answer_.is_overfull) {
      spdlog::warn("a client reads too slowly: {} bytes wait for it; its stream is cut", answer_.out.size());
      co_return false;
    }
    if (!answer_.out.empty()) {
      const std::string batch = std::exchange(answer_.out, {});
      answer_.writing = batch.size();
      const bool sent = co_await send(batch);
      answer_.writing = 0;
      if (!sent) {
        co_return false;
      }
      count_output();
      answer_.quiet_at = Clock::now() + context_.options.quiet_period;
      continue;
    }
    if (answer_.is_done) {
      co_return true;
    }
    if (Clock::now() >= answer_.quiet_at) {
      report_quiet(handler);
      continue;
    }
    const bool is_watched = input_ended_ || is_paused_;
    if (is_watched) {
      const bool has_left = co_await client_has_left();
      if (has_left) {
        co_return false;
      }
      if (!answer_.out.empty() || answer_.is_done) {
        continue;  // came while the client was asked
      }
    }
    co_await wait_until(is_watched ? std::min(answer_.quiet_at, Clock::now() + kPeerPoll) : answer_.quiet_at);
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

asio::awaitable<void> Connection::refuse(const openai::ApiError& error, const HttpRequest* head) {
  answer_.out.clear();
  keep_alive_ = false;
  respond(context_.application.refuse(error, head));
  const std::string answer = std::exchange(answer_.out, {});
  const bool sent = co_await send(answer);
  if (sent) {
    co_await linger();
  }
}

// Closing with unread bytes would make the kernel drop the answer that is still on its way: read them, briefly.
asio::awaitable<void> Connection::linger() {
  transport_->finish_writing();
  const Clock::time_point deadline = Clock::now() + kLingerTime;
  while (!input_ended_ && Clock::now() < deadline) {
    inbox_.clear();
    space_.cancel();
    co_await wait_until(deadline);
  }
}

void Connection::append_head(const HttpResponse& response, bool is_stream) {
  answer_.has_begun = true;
  keep_alive_ = keep_alive_ && !context_.is_closing && !(is_stream && answer_.is_http_1_0);
  answer_.is_chunked = is_stream && !answer_.is_http_1_0;
  auto out = std::back_inserter(answer_.out);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  fmt::format_to(out, "date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(std::time(nullptr)));
  fmt::format_to(out, "content-type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) {
    fmt::format_to(out, "{}: {}\r\n", name, value);
  }
  answer_.out += answer_.headers;
  if (answer_.is_chunked) {
    answer_.out += "transfer-encoding: chunked\r\n";
  } else if (!is_stream && response.status != kNoContent) {
    fmt::format_to(out, "content-length: {}\r\n", response.body.size());
  }
  answer_.out += keep_alive_ ? "connection: keep-alive\r\n\r\n" : "connection: close\r\n\r\n";
}

void Connection::respond(HttpResponse response) {
  append_head(response, false);
  if (!answer_.is_head) {
    answer_.out += response.body;
  }
  answer_.is_done = true;
  wake();
}

void Connection::begin_stream(const HttpResponse& head) {
  append_head(head, true);
}

void Connection::write(std::string_view bytes) {
  if (bytes.empty() || answer_.is_overfull) {
    return;
  }
  if (answer_.is_chunked) {
    fmt::format_to(std::back_inserter(answer_.out), "{:x}\r\n", bytes.size());
  }
  answer_.out += bytes;
  if (answer_.is_chunked) {
    answer_.out += "\r\n";
  }
  answer_.is_overfull = answer_.out.size() > context_.options.output_bytes_max;
  count_output();
  wake();
}

// What a slow reader leaves unread is part of its request's memory: over the bound the stream is cut.
void Connection::count_output() {
  const std::size_t bytes = answer_.out.size() + answer_.writing;
  const std::size_t unread = bytes > MemoryBudget::kFreeBytes ? bytes : 0;  // mostly nothing
  if (unread != answer_.counted) {
    answer_.counted = unread;
    answer_.is_overfull = answer_.memory->set(MemoryPart::kOutput, unread).has_value() || answer_.is_overfull;
  }
}

void Connection::add_header(std::string name, std::string value) {
  fmt::format_to(std::back_inserter(answer_.headers), "{}: {}\r\n", name, value);
}

Exchange::Poster Connection::poster() {
  return [executor = signal_.get_executor()](std::function<void()> task) { asio::post(executor, std::move(task)); };
}

void Connection::end_stream() {
  if (answer_.is_chunked) {
    answer_.out += "0\r\n\r\n";
  }
  answer_.is_done = true;
  wake();
}

}  // namespace coppice::server
