// GrpcServer: the gRPC front end: coppice.v1.Inference, standard health and reflection, over the same sessions, limits
// and keys as HTTP. gRPC's headers stay behind this interface.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/grpc/proxy/proxy.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

struct GrpcOptions {
  ProxyOptions proxy;                                    // where to listen, and bounds on connections
  std::int32_t loops = 2;                                // threads for sessions
  std::size_t message_bytes_max = 0;                     // of one request
  std::size_t memory_bytes_max = std::size_t{1} << 30U;  // what gRPC may buffer; it slows down, then refuses
};

// Owner: the app. Thread: the main one; requests run on gRPC's threads and the server's own loop.
class GrpcServer {
 public:
  // Listens and starts. `state` and its host outlive the server. ERRORS: InvalidArgument when the port is taken or the
  // certificate cannot be used.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> open(const GrpcOptions& options, ServerState& state);
  virtual ~GrpcServer() = default;  // cancels what still runs

  virtual std::int32_t port() const = 0;
  // What the health service reports. Requests are refused by the state's phase, as over HTTP.
  virtual void set_serving(bool serving) = 0;
  // Answers not yet complete.
  virtual std::int64_t active_requests() const = 0;
  // Of these, the ones that end by themselves: all but streams of KV events.
  virtual std::int64_t ending_requests() const = 0;
  // Ends calls whose clients read nothing. To be called some times a second.
  virtual void watch() = 0;
  // For connections from now on. ERRORS: InvalidArgument; then the old one stays.
  virtual absl::Status set_certificate(const TlsIdentity& identity) = 0;
  // Refuses new requests, waits up to `timeout` for the running ones that end by themselves, cancels the rest. Streams
  // of KV events should have been told to end: their clients have half a second to take that in.
  virtual void drain(std::chrono::milliseconds timeout) = 0;
};

}  // namespace coppice::server
