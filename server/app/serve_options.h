// ServeOptions: everything `coppice serve` may be told, one field a flag (and its YAML twin). Filled by the command
// line, read once by run_server; the numbers derived from it live in the limits of each part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/limits.h"
#include "server/files/file_store.h"
#include "server/kv_events/kv_events.h"
#include "server/model/compute_options.h"
#include "server/prompts/choose_formats.h"
#include "server/stored/response_store.h"
#include "server/structured/output_grammars.h"
#include "server/work/memory_budget.h"

namespace coppice::server {

enum class LogFormat : std::uint8_t { kText, kJson };

// Bounds of the HTTP front end and of requests, whichever front end they come by.
struct HttpBounds {
  std::int32_t http_threads = 0;
  std::int32_t connections_max = 4096;
  std::int32_t handshakes_max = 256;  // of TLS under way on a port
  std::size_t body_bytes_max = std::size_t{16} << 20U;
  std::int64_t prompt_answer_bytes_max = std::int64_t{16} << 20U;
  MemoryLimits memory;  // --memory-per-request --memory-per-tenant --memory-of-requests
  ResponseStoreLimits stored_responses;
  OutputGrammarsOptions grammars;  // --grammar-memory
  std::int32_t work_threads = 0;   // for parsing, rendering, tokenising; 0 = choose
  std::int32_t admin_port = -1;    // of the routes that administer the server, on 127.0.0.1; -1 = they are on `port`
  std::string allowed_hosts;       // names that clients may use for a keyless server on loopback; comma-separated
  std::string cors_origins;        // sites whose pages may use the server; comma-separated
  double header_timeout_s = 15;    // for a request's header to arrive; slower clients are sent away
  double idle_timeout_s = 75;      // for the next request on an open connection
};

// Bounds of the gRPC front end, beside those of bodies, headers and memory.
struct GrpcBounds {
  std::int32_t grpc_connections_max = 1024;
  std::int32_t grpc_streams_max = 1024;  // calls at once on one connection
  double grpc_idle_timeout_s = 600;      // for the next call; clients reconnect by themselves
};

// Clients' files and the batches made of them.
struct FileBounds {
  std::string files_folder;            // --files-folder; "" = there are none
  FileLimits files;                    // --files-quota --files-max
  std::int32_t batch_running_max = 0;  // --batch-running: requests of batches at once; 0 = choose
};

// A value; immutable once parsed. 0 and "" mean "choose" where no other default stands.
struct ServeOptions : HttpBounds, GrpcBounds, FileBounds, ComputeOptions {
  // --host --port --grpc-port: 0 = any free port; grpc_port -1 = no gRPC
  std::string host = "127.0.0.1";
  std::int32_t port = 8080;
  std::int32_t grpc_port = 8081;
  std::string served_model_name;  // as clients know it; "" = the package's name

  engine::EngineOptions engine;  // --max-model-len … --sharing, --speculation…, --seed

  FormatNames formats;  // --tool-format --reasoning-format

  std::string speculation_corpus;        // --speculation-corpus: a file that everyone drafts from
  std::string speculation_state;         // --speculation-state: a folder that outlives the process; "" = none
  double speculation_save_minutes = 10;  // --speculation-save-every

  KvEventsOptions kv_events;  // --kv-events --kv-events-memory

  std::string pin_file;  // prompts that stay in the prefix cache
  std::string api_key_file;
  std::string tls_cert;
  std::string tls_key;
  double request_timeout_s = 600;
  double drain_timeout_s = 30;
  LogFormat log_format = LogFormat::kText;
};

}  // namespace coppice::server
