// `coppice bench front`: what the front ends cost and add. The real HTTP or gRPC front end serves streams of an engine
// that computes nothing: once a period it emits one token of every stream, as a step of a batch does. Clients in a
// second process receive them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/front_bench/front_board.h"
#include "server/model/model_package.h"

namespace coppice::server {

struct FrontBenchOptions {
  std::string api = "http";      // or "grpc"; both chats
  std::int32_t streams = 200;    // at once
  std::int32_t tokens = 400;     // of each
  double step_ms = 20;           // between two tokens of a stream
  double ramp_s = 2;             // over which the streams begin, evenly
  std::int32_t threads = 2;      // of the front end, as --http-threads
  std::int32_t connections = 0;  // of gRPC, which the streams share; 0 = one for every hundred. HTTP has one a stream
};

// Times in milliseconds. "Added" is what the front end and the client add to the engine's own time.
struct FrontBenchResult {
  std::int64_t tokens = 0;          // received while all streams ran
  double offered_tokens_per_s = 0;  // what the engine emitted meanwhile
  double tokens_per_s = 0;          // what was received
  double added_p50 = 0;             // from a token's emission to its receipt
  double added_p99 = 0;
  double added_max = 0;
  double first_added_p50 = 0;  // from the request's first byte to the engine, and from the first token's emission on
  double first_added_p99 = 0;
  double server_us_per_token = 0;  // CPU time of the server's process, starts and ends of streams included
  double client_us_per_token = 0;
  std::int64_t failures = 0;
};

// Forks before it starts threads of its own. ERRORS: as the package's; Internal when a stream fails.
absl::StatusOr<FrontBenchResult> run_front_bench(const FrontBenchOptions& options, const ModelPackage& package);

// The clients: each asks for all streams and fills the board. Blocks until all have ended or `deadline`, on the board's
// clock.
void run_http_streams(const FrontBenchOptions& options, FrontBoard& board, std::int64_t deadline);
void run_grpc_streams(const FrontBenchOptions& options, FrontBoard& board, std::int64_t deadline);

}  // namespace coppice::server
