// GrpcDoor: the gRPC side of the server: coppice.v1.Inference, standard health and reflection, over the same sessions,
// limits and keys as HTTP. gRPC's headers stay behind this interface.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/model_host.h"

namespace coppice::server {

struct GrpcOptions {
  std::string host = "127.0.0.1";
  std::int32_t port = 0;        // 0 = any free port
  std::string tls_certificate;  // PEM text; empty = plain
  std::string tls_key;
  std::size_t message_bytes_max = 0;  // of one request
  // The tenant a bearer token stands for, or nothing when it is wrong; empty function: no keys are asked for.
  std::function<std::optional<std::string>(std::string_view)> authenticate;
};

// Owner: the app. Thread: the main one; requests run on gRPC's threads and the door's own loop. The host outlives the
// door.
class GrpcDoor {
 public:
  // ERRORS: Unavailable when the port cannot be had; InvalidArgument for a certificate that cannot be used.
  static absl::StatusOr<std::unique_ptr<GrpcDoor>> open(const GrpcOptions& options, const ModelHost& host);
  virtual ~GrpcDoor() = default;  // cancels what still runs

  virtual std::int32_t port() const = 0;
  // What the health service says; requests that come while not ready are refused with UNAVAILABLE.
  virtual void set_ready(bool ready) = 0;
  // Refuses new requests, waits for the running ones at most so long, cancels the rest.
  virtual void drain(std::chrono::milliseconds timeout) = 0;
};

}  // namespace coppice::server
