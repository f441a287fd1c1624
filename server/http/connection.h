// Connection: one client's TCP connection through all its requests, on one I/O thread. Internal to the HTTP front end.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "server/http/exchange.h"
#include "server/http/http_server.h"
#include "server/http/request_parser.h"
#include "server/net/listener.h"
#include "server/net/refusal.h"

namespace coppice::server {

// Of the whole server. Thread: any.
struct HttpCounts {
  std::atomic<std::int64_t> active_requests{0};  // answers not yet complete
  std::atomic<bool> is_draining{false};          // connections end with their next answer
  std::atomic<bool> is_closing{false};           // no request after the current one
};

// What connections of one I/O thread share. Owner: the loop, which outlives its connections.
struct ConnectionContext {
  const HttpOptions& options;
  HttpApplication& application;
  SessionHub& hub;
  HttpCounts& counts;
  MemoryBudget& memory;  // of the whole server, as the log
  RefusalLog& log;
};

// Owner: shared by its two coroutines (run and the reader); dies with the last. Thread: its I/O thread.
//
// The reader also reads while an answer is being made, so that a client that leaves is noticed at once; what it reads
// ahead is kept, bounded, for the next request.
class Connection final : public Exchange, public std::enable_shared_from_this<Connection> {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(ConnectionContext& context, const boost::asio::any_io_executor& executor, Listener::Client client);
  ~Connection() override;

  // Serves requests until the connection ends.
  boost::asio::awaitable<void> run();
  // Refuses a connection beyond the limit: one answer, then the end.
  boost::asio::awaitable<void> run_refused();
  // Closes the connection if no request has begun; otherwise it closes after the current one.
  void close_when_idle();
  // How long the client has sent nothing of a request that is not whole, or taken nothing of its answer; zero while
  // that is no time, and while it waits for the server.
  Clock::duration quiet_for(Clock::time_point now) const;
  // Ends the connection for a newer one.
  void make_room();

  void respond(HttpResponse response) override;
  void begin_stream(const HttpResponse& head) override;
  void write(std::string_view bytes) override;
  void end_stream(StreamEnd end) override;
  void add_header(std::string name, std::string value) override;
  Poster poster() override;
  std::string_view client() const override { return peer_; }

 private:
  boost::asio::awaitable<void> read_ahead();
  boost::asio::awaitable<bool> read_request(RequestParser& parser);
  openai::MaybeError count_body(const RequestParser& parser);
  std::unique_ptr<RequestHandler> handle(HttpRequest request);
  boost::asio::awaitable<bool> client_has_left();
  boost::asio::awaitable<bool> serve_one();
  boost::asio::awaitable<bool> send_answer(RequestHandler* handler);
  boost::asio::awaitable<bool> send(std::string_view bytes);
  boost::asio::awaitable<bool> handshake();
  boost::asio::awaitable<void> refuse(const openai::ApiError& error, const HttpRequest* head = nullptr);
  boost::asio::awaitable<void> linger();
  void start_stall_clock(std::chrono::milliseconds timeout);
  void wake() { signal_.cancel(); }
  void count_output();
  void append_head(const HttpResponse& response, bool is_stream);
  void close();

  ConnectionContext& context_;
  const std::unique_ptr<Places::Place> place_;
  const std::string peer_;  // the client's address
  const std::unique_ptr<Transport> transport_;
  boost::asio::steady_timer signal_;  // cancelled: something changed for run()
  boost::asio::steady_timer space_;   // cancelled: the reader may go on
  boost::asio::steady_timer stall_;   // closes the transport when a write takes nothing for too long

  std::string inbox_;         // read, not yet parsed
  bool input_ended_ = false;  // nothing more will be read
  bool is_paused_ = false;    // the reader waits for space
  bool is_over_ = false;      // run() has ended
  bool is_leaving_ = false;   // it has made room for another
  bool is_idle_ = true;
  bool is_reading_ = true;                    // a request, or the handshake: the client's turn
  Clock::time_point came_at_ = Clock::now();  // when bytes last came
  Clock::time_point writing_since_{};         // a write is under way; else zero

  // Of the request being read or answered.
  struct Answer {
    std::shared_ptr<MemoryBudget::Lease> memory;
    std::string headers;           // of add_header()
    std::string out;               // bytes not yet being written
    std::size_t writing = 0;       // bytes being written
    std::size_t counted = 0;       // bytes of output that the lease knows of
    Clock::time_point probe_at{};  // when to ask again whether the client is still there
    Clock::time_point quiet_at{};  // when the handler hears that nothing was sent
    bool is_admitted = false;      // a large body: the application has agreed to it
    bool has_begun = false;        // its head is in `out` or written
    bool is_done = false;
    bool is_overfull = false;
    bool is_torn = false;  // ended before it was whole
    bool is_chunked = false;
    bool is_head = false;  // the request's method is HEAD: no body
    bool is_http_1_0 = false;
  };
  Answer answer_;
  bool keep_alive_ = true;
};

}  // namespace coppice::server
