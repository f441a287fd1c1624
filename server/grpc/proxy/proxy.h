// Proxy: the socket in front of gRPC. It accepts TCP connections, ends TLS, lets only HTTP/2 with gRPC's manners
// through (ClientGuard), and relays the bytes to a server that is handed one end of a socket pair for each connection.
// gRPC itself listens nowhere: what its version cannot bound is bounded here (docs/security.md).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/grpc/proxy/client_guard.h"
#include "server/net/tls_identity.h"

namespace coppice::server {

struct ProxyOptions {
  std::string host = "127.0.0.1";
  std::int32_t port = 0;                                     // 0: any free port
  std::int32_t threads = 1;                                  // one relays several GB/s of plain bytes
  TlsIdentity tls;                                           // empty: plain
  std::int64_t connections_max = 1024;                       // clients put hundreds of calls on one
  std::int64_t handshakes_max = 256;                         // of TLS under way
  std::int64_t streams_max = 16384;                          // open at once, of all connections: some 300 MB in gRPC
  std::size_t requests_bytes_max = std::size_t{512} << 20U;  // of requests that have not come whole, all together
  std::chrono::milliseconds handshake_timeout{15'000};       // TLS and the first frame
  std::chrono::milliseconds request_timeout{120'000};        // for a request to come whole
  std::chrono::milliseconds idle_timeout{600'000};           // without a stream; clients reconnect by themselves
  std::chrono::milliseconds write_timeout{30'000};           // a client that reads nothing for this time has left
  GuardLimits guard;
  RefusalLog::Count count_refusal;  // of connections; may be empty
};

// Owner: the gRPC front end. Thread: all methods from its owner's; the counters from any.
class Proxy {
 public:
  // Hands the server its end of a connection: a non-blocking socket that now belongs to the callee. Called on the
  // proxy's threads, until stop(). The name of the other end holds the client's
  // address (client_of_name()).
  using Connect = std::function<void(int handle)>;

  // Listens and starts the threads. ERRORS: InvalidArgument naming the flag for an address, a port or a certificate
  // that cannot be used.
  static absl::StatusOr<std::unique_ptr<Proxy>> start(const ProxyOptions& options, Connect connect);
  ~Proxy();  // stop() without patience
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  std::int32_t port() const;
  std::int64_t connections() const;
  std::int64_t streams() const;  // open, of all connections

  // New connections use this certificate. ERRORS: InvalidArgument; then the old one stays.
  absl::Status set_certificate(const TlsIdentity& identity);

  // First step of a shutdown: no new connections; each open one ends as soon as no whole request runs on it.
  void drain();
  // Last step: waits up to `patience` for the connections to end, then closes them and joins the threads. REQUIRES: the
  // server has closed its ends, or the rest is cut off.
  void stop(std::chrono::milliseconds patience);

 private:
  struct Loops;
  explicit Proxy(std::unique_ptr<Loops> loops);
  std::unique_ptr<Loops> loops_;
};

}  // namespace coppice::server
