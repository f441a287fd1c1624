// HttpServer: the HTTP/1.1 front end. N I/O threads, each with its own event loop, connections and SessionHub; a
// connection and its sessions never leave their thread, so they need no locks. Plain or TLS.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/openai/api_error.h"
#include "server/http/exchange.h"
#include "server/http/request_parser.h"
#include "server/net/refusal.h"
#include "server/net/tls_identity.h"

namespace coppice::server {

// Bounds on the memory and time that clients can take.
struct HttpOptions {
  std::string host = "127.0.0.1";
  std::int32_t port = 0;             // 0: any free port
  const char* port_flag = "--port";  // names it in errors
  std::int32_t threads = 1;
  TlsIdentity tls;  // empty: plain HTTP
  std::int32_t connections_max = 4096;
  std::int32_t handshakes_max = 256;  // of TLS under way
  RefusalLog::Count count_refusal;    // of connections; may be empty
  ParserLimits parser;
  std::size_t output_bytes_max = std::size_t{8} << 20U;  // waiting for one slow reader; beyond it the stream is cut
  std::chrono::milliseconds header_timeout{15'000};      // first byte of a request to the end of its header
  std::chrono::milliseconds body_timeout{120'000};
  std::chrono::milliseconds idle_timeout{75'000};   // between requests
  std::chrono::milliseconds write_timeout{30'000};  // a client that reads nothing for this time has left
  // Without a byte to a client before its handler may give a sign of life: proxies cut what is silent for a minute.
  std::chrono::milliseconds quiet_period{10'000};
};

// Owner: the app. Thread: all methods from the app's; the counters from any.
class HttpServer {
 public:
  // Listens and starts the threads. ERRORS: InvalidArgument naming the flag for an address or a certificate that does
  // not work. REQUIRES: `application` and `memory` outlive the server; no job of the application's posts to a
  // connection after stop().
  static absl::StatusOr<std::unique_ptr<HttpServer>> start(const HttpOptions& options, HttpApplication& application,
                                                           MemoryBudget& memory);
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::int32_t port() const;
  std::int64_t connections() const;
  std::int64_t active_requests() const;  // answers not yet complete

  // Connections from now on are shown this identity; those that are open keep theirs. REQUIRES: the server was started
  // with one. ERRORS: InvalidArgument; the old one stays.
  absl::Status replace_tls(const TlsIdentity& identity);

  // First step of a shutdown: connections, new ones too, are answered once more and then close, so that clients find
  // another server. What they are answered is the application's affair.
  void end_connections_with_answers();
  // Second step: no new connections, idle ones close, the others close after their answer.
  void stop_accepting();
  // Third step: sessions still running end with `error`.
  void abort_sessions(const openai::ApiError& error);
  // Last step: closes everything and joins the threads. REQUIRES: the engine is alive, or wakes hubs no more.
  void stop();

 private:
  struct Loops;
  explicit HttpServer(std::unique_ptr<Loops> loops);
  std::unique_ptr<Loops> loops_;
};

}  // namespace coppice::server
