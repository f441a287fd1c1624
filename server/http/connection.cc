// One connection's coroutines.
#include "server/http/connection.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <iterator>
#include <utility>
#include <vector>

#include "base/release.h"
#include "server/http/response_head.h"

namespace coppice::server {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kReadBytesMin = std::size_t{4} << 10U;   // of one read: the header of an ordinary request
constexpr std::size_t kReadBytesMax = std::size_t{64} << 10U;  // of one read of a large body: few system calls
constexpr std::size_t kConnectionBytes = 10'000;               // of memory that a silent one takes; measured
constexpr std::size_t kKeptBytes = std::size_t{8} << 10U;      // of a buffer that an idle connection may keep
constexpr std::size_t kReadAheadMax = std::size_t{64} << 10U;  // pipelined bytes held while an answer is made
constexpr std::size_t kWriteBytes = std::size_t{256} << 10U;   // the write timeout applies to each piece of this size
constexpr std::chrono::milliseconds kLingerTime{1000};         // for the client to read a refusal: some round trips
constexpr std::chrono::hours kForever{24 * 365};               // a timer that only a cancel ends
constexpr int kRetryAfterSeconds = 1;  // connections and bodies come and go within a request's time

constexpr std::chrono::milliseconds kPeerPoll{50};       // between two looks at a client that sends nothing more
constexpr std::chrono::milliseconds kProbePeriod{1000};  // between two questions whether it is still there
// After which a connection may have to go for another: several round trips for a request, a stalled reader.
constexpr std::chrono::milliseconds kQuietReading{250};
constexpr std::chrono::milliseconds kQuietWriting{2000};
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Until `deadline`, or until the timer is cancelled.
asio::awaitable<void> wait(asio::steady_timer& timer, std::chrono::steady_clock::time_point deadline) {
  timer.expires_at(deadline);
  boost::system::error_code woken;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
}

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

// Calls one of a handler's functions; false when it throws. Null: there is no handler.
bool tell(RequestHandler* handler, void (RequestHandler::*what)()) {
  if (handler == nullptr) {
    return true;
  }
  try {
    (handler->*what)();
    return true;
  } catch (const std::exception& error) {
    spdlog::error("http: an answer could not go on: {}", error.what());
    return false;
  }
}

}  // namespace

Connection::Connection(ConnectionContext& context, const asio::any_io_executor& executor, Listener::Client client)
    : context_(context),
      place_(std::move(client.place)),
      peer_(client.peer.address().to_string()),
      transport_(std::move(client.transport)),
      signal_(executor),
      space_(executor),
      stall_(executor) {}

Connection::~Connection() {
  context_.memory.give_back(kConnectionBytes);
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
      try {
        co_await refuse(openai::internal_error("the request could not be served"));
      } catch (const std::exception& error) {
        spdlog::error("http: a connection failed again: {}", error.what());
      }
    }
  }
  close();
}

asio::awaitable<void> Connection::run_refused() {
  const std::shared_ptr<Connection> self = shared_from_this();
  const bool is_open = co_await handshake();
  if (is_open) {
    asio::co_spawn(signal_.get_executor(), read_ahead(), asio::detached);
    co_await refuse(
        openai::unavailable("too_many_connections", "too many connections; try again later", kRetryAfterSeconds));
  }
  close();
}

void Connection::close_when_idle() {
  if (is_idle_) {
    transport_->close();
  }
}

Connection::Clock::duration Connection::quiet_for(Clock::time_point now) const {
  if (is_leaving_) {
    return Clock::duration();
  }
  const bool is_writing = writing_since_ != Clock::time_point();
  const Clock::duration quiet = is_writing ? now - writing_since_ : is_reading_ ? now - came_at_ : Clock::duration();
  return quiet >= (is_writing ? kQuietWriting : kQuietReading) ? quiet : Clock::duration();
}

void Connection::make_room() {
  context_.log.refuse(peer_, kMadeRoom);
  is_leaving_ = true;
  transport_->close();
}

asio::awaitable<bool> Connection::handshake() {
  start_stall_clock(context_.options.header_timeout);
  const bool is_open = co_await transport_->handshake();
  stall_.cancel();
  if (!is_open) {
    context_.log.refuse(peer_, kHandshakeFailed);
  }
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

asio::awaitable<void> Connection::read_ahead() {
  const std::shared_ptr<Connection> self = shared_from_this();
  try {
    std::vector<char> buffer(kReadBytesMin);  // grows while more comes than it holds
    while (!is_over_) {
      if (inbox_.size() >= kReadAheadMax) {
        is_paused_ = true;
        wake();  // from now on the client's leaving is not read
        co_await wait(space_, Clock::now() + kForever);
        is_paused_ = false;
        continue;
      }
      const std::size_t count = co_await transport_->read_some(asio::buffer(buffer));
      if (count == 0) {
        break;
      }
      came_at_ = Clock::now();
      inbox_.append(buffer.data(), count);
      if (count == buffer.size() && count < kReadBytesMax) {
        buffer = std::vector<char>(count * 2);
      } else if (count < buffer.size() && buffer.size() > kReadBytesMin) {
        buffer = std::vector<char>(kReadBytesMin);
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

void Connection::close() {
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
  return answer_.memory->receive(parser.body_bytes());
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
      if (inbox_.empty() && inbox_.capacity() > kKeptBytes) {
        base::release(inbox_);  // an idle connection holds as little as one that has sent nothing
      }
      space_.cancel();
    }
    openai::MaybeError error = parser.error() ? parser.error() : count_body(parser);
    if (error) {
      co_await refuse(*error, &parser.head());
      co_return false;
    }
    if (parser.done()) {
      answer_.memory->received();
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
    if (input_ended_ || (is_idle_ && context_.counts.is_closing)) {
      co_return false;
    }
    if (Clock::now() >= deadline) {
      if (!is_idle_) {
        co_await refuse(openai::deadline_exceeded("the request did not arrive in time"), &parser.head());
      }
      co_return false;
    }
    co_await wait(signal_, deadline);
  }
}

asio::awaitable<bool> Connection::serve_one() {
  answer_ = {};
  answer_.memory = std::make_shared<MemoryBudget::Lease>(context_.memory);
  RequestParser parser(context_.options.parser);
  is_reading_ = true;
  const bool has_request = co_await read_request(parser);
  is_reading_ = false;
  if (!has_request) {
    co_return false;
  }
  const ActiveRequest active(context_.counts.active_requests);
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

// `handler` is null when the answer is complete already.
asio::awaitable<bool> Connection::send_answer(RequestHandler* handler) {
  answer_.quiet_at = Clock::now() + context_.options.quiet_period;
  while (true) {
    if (answer_.is_torn) {
      co_return false;
    }
    if (answer_.is_overfull) {
      context_.log.refuse(peer_, kReadsNothing, fmt::format("{} bytes wait for it", answer_.out.size()));
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
      const bool is_drained = answer_.has_begun && !answer_.is_done && answer_.out.empty();
      if (is_drained && !tell(handler, &RequestHandler::on_drained)) {
        co_return false;
      }
      continue;
    }
    if (answer_.is_done) {
      co_return true;
    }
    if (Clock::now() >= answer_.quiet_at) {
      answer_.quiet_at = Clock::now() + context_.options.quiet_period;
      (void)tell(handler, &RequestHandler::on_quiet);
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
    co_await wait(signal_, is_watched ? std::min(answer_.quiet_at, Clock::now() + kPeerPoll) : answer_.quiet_at);
  }
}

asio::awaitable<bool> Connection::send(std::string_view bytes) {
  bool sent = true;
  while (sent && !bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kWriteBytes);
    bytes.remove_prefix(piece.size());
    writing_since_ = Clock::now();
    start_stall_clock(context_.options.write_timeout);
    sent = co_await transport_->write_all(asio::buffer(piece.data(), piece.size()));
  }
  stall_.cancel();
  if (!sent && Clock::now() - writing_since_ >= context_.options.write_timeout) {
    context_.log.refuse(peer_, kReadsNothing);
  }
  writing_since_ = {};
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
    co_await wait(signal_, deadline);
  }
}

void Connection::append_head(const HttpResponse& response, bool is_stream) {
  answer_.has_begun = true;
  keep_alive_ =
      keep_alive_ && !context_.counts.is_draining && !context_.counts.is_closing && !(is_stream && answer_.is_http_1_0);
  answer_.is_chunked = is_stream && !answer_.is_http_1_0;
  const Framing framing = answer_.is_chunked ? Framing::kChunks : is_stream ? Framing::kUntilClose : Framing::kLength;
  write_response_head(response, answer_.headers, framing, keep_alive_, answer_.out);
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
  if (bytes.empty() || answer_.is_overfull || answer_.is_head) {
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

void Connection::end_stream(StreamEnd end) {
  answer_.is_torn = end == StreamEnd::kTorn;
  if (answer_.is_chunked && !answer_.is_head) {
    answer_.out += "0\r\n\r\n";
  }
  answer_.is_done = true;
  wake();
}

}  // namespace coppice::server
