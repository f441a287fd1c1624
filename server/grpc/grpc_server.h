// GrpcServer: the gRPC front end: coppice.v1.Inference, standard health and reflection, over the same sessions, limits
// and keys as HTTP. gRPC's headers stay behind this interface.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

struct GrpcOptions {
  std::string host = "127.0.0.1";
  std::int32_t port = 0;        // 0: any free port
  std::string tls_certificate;  // PEM text; empty: no TLS
  std::string tls_key;
  std::size_t message_bytes_max = 0;  // of one request
};

// Owner: the app. Thread: the main one; requests run on gRPC's threads and the server's own loop.
class GrpcServer {
 public:
  // Listens and starts. `state` and its host outlive the server. ERRORS: Unavailable when the port is taken or the
  // certificate cannot be used.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> open(const GrpcOptions& options, ServerState& state);
  virtual ~GrpcServer() = default;  // cancels what still runs

  virtual std::int32_t port() const = 0;
  // What the health service reports. Requests are refused by the state's phase, as over HTTP.
  virtual void set_serving(bool serving) = 0;
  // Answers not yet complete.
  virtual std::int64_t active_requests() const = 0;
  // Refuses new requests, waits up to `timeout` for the running ones, cancels the rest.
  virtual void drain(std::chrono::milliseconds timeout) = 0;
};

}  // namespace coppice::server
