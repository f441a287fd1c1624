// GrpcDoor: the gRPC side of the server: coppice.v1.Inference, standard health and reflection, over the same sessions,
// limits and keys as HTTP. gRPC's headers stay behind this interface.
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
  std::int32_t port = 0;        // 0 = any free port
  std::string tls_certificate;  // PEM text; empty = plain
  std::string tls_key;
  std::size_t message_bytes_max = 0;  // of one request
};

// Owner: the app. Thread: the main one; requests run on gRPC's threads and the door's own loop. The host outlives the
// door.
class GrpcDoor {
 public:
  // ERRORS: Unavailable when the port cannot be had; InvalidArgument for a certificate that cannot be used.
  static absl::StatusOr<std::unique_ptr<GrpcDoor>> open(const GrpcOptions& options, ServerState& state);
  virtual ~GrpcDoor() = default;  // cancels what still runs

  virtual std::int32_t port() const = 0;
  // What the health service says. Requests are refused by the state's phase, as on the HTTP door.
  virtual void set_serving(bool serving) = 0;
  // Answers not yet complete.
  virtual std::int64_t active_requests() const = 0;
  // Refuses new requests, waits for the running ones at most so long, cancels the rest.
  virtual void drain(std::chrono::milliseconds timeout) = 0;
};

}  // namespace coppice::server
