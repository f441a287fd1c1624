// The interface between the HTTP server and what it serves: a parsed request, an answer, and how a handler sends it.
// Nothing here knows Asio or Beast, so routes and handlers compile fast and are tested without a socket.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/openai/api_error.h"
#include "server/sessions/session_hub.h"
#include "server/work/memory_budget.h"

namespace coppice::server {

struct HttpRequest {
  std::string method;                                        // "GET"
  std::string target;                                        // as sent, begins with '/'
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::shared_ptr<MemoryBudget::Lease> memory;  // pays for what the request becomes; null in tests

  // The value of the first header of that (lower-case) name; "" when there is none.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // the connection adds those of framing and date
};

// kTorn: the connection ends too, so that the client sees that the stream is not whole.
enum class StreamEnd : std::uint8_t { kWhole, kTorn };

// Takes one request's answer. Owner: the connection. Thread: the connection's. Calls only queue bytes.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // Either one respond(), ...
  virtual void respond(HttpResponse response) = 0;
  // ... or begin_stream(), any number of write(), end_stream(). `head.body` is not used.
  virtual void begin_stream(const HttpResponse& head) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual void end_stream(StreamEnd end) = 0;

  // A header that every answer to this request has. REQUIRES: before respond() and begin_stream().
  virtual void add_header(std::string name, std::string value) = 0;

  // Runs tasks on the connection's thread, in order. The poster may be used on any thread, and outlive the exchange: a
  // task must know by itself whether its request is still there.
  using Poster = std::function<void(std::function<void()>)>;
  virtual Poster poster() = 0;

  // The client's address, for the log: of the other end of its connection, whatever a header says.
  virtual std::string_view client() const = 0;
};

// Work that goes on after handle() has returned. The connection destroys it when the answer is complete or the client
// has left; destroying it early cancels the work.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;

  // Nothing has been sent to the client for HttpOptions::quiet_period. On the connection's thread.
  virtual void on_quiet() {}
  // The client has taken all of the stream that was written, and it has not ended: for handlers that write more only
  // then. On the connection's thread.
  virtual void on_drained() {}
};

// What an HTTP server serves. Thread: any; each call comes on the thread of its connection.
class HttpApplication {
 public:
  virtual ~HttpApplication() = default;

  // Answers through `exchange` before returning, or returns the handler that will. `exchange` and `hub` outlive it.
  virtual std::unique_ptr<RequestHandler> handle(HttpRequest request, Exchange& exchange, SessionHub& hub) = 0;
  // The answer to what never became a request: bad syntax, too large, too slow, too many connections. `head`: as much
  // of it as was understood, without the body; null: nothing.
  virtual HttpResponse refuse(const openai::ApiError& error, const HttpRequest* head) = 0;
  // Asked once about a request with a large body before the body is read: why it will not be taken, or which tenant's
  // it is.
  virtual openai::Result<std::string> admit_body(const HttpRequest& /*head*/) { return std::string(); }
};

}  // namespace coppice::server
