// `coppice serve MODEL`: the flags that others rely on, their YAML twins, and the server.
#include <chrono>
#include <cmath>

#include "base/status_macros.h"
#include "server/app/app.h"
#include "server/commands/command.h"
#include "server/commands/compute_flags.h"
#include "server/commands/model_path.h"
#include "server/commands/speculation_flags.h"

namespace coppice::server {
namespace {

struct ServeArguments {
  ModelChoice model;
  ServeOptions options;
  SpeculationFlags speculation;
  std::string log_format = "text";
  std::uint64_t seed = 0;
  bool seed_given = false;
  std::int64_t stored_responses = static_cast<std::int64_t>(ResponseStoreLimits().tenant_responses);
  double stored_responses_s = static_cast<double>(ResponseStoreLimits().time_to_live.count());
};

// What the engine computes with, and how much of it.
void add_engine_rows(ServeArguments& arguments, OptionTable& table) {
  constexpr std::int32_t kMany = 1 << 30;  // the engine has its own bounds
  // Memory is taken at the start for these: many times what any device could use.
  constexpr std::int32_t kRowsMost = 1 << 20;
  constexpr std::int32_t kRunningMost = 1 << 16;
  constexpr std::int32_t kQueuedMost = 1 << 20;
  ServeOptions& options = arguments.options;
  table.begin_group("Device and sizes");
  add_compute_rows(table, options);
  table.add_integer("max-model-len", &options.engine.model_tokens_max, 0, kMany,
                    "tokens of prompt and answer; 0 = the model's");
  table.add_integer("max-batch-tokens", &options.engine.step_tokens_max, 0, kRowsMost,
                    "token rows in one step; 0 = choose");
  table.add_integer("max-running", &options.engine.running_max, 0, kRunningMost, "sequences in one step; 0 = choose");
  table.add_integer("max-queued", &options.engine.queued_max, 0, kQueuedMost,
                    "requests of an API key that may wait; more are refused; 0 = choose");
  table.add_switch("priority-across-tenants", &options.engine.priority_across_tenants,
                   "a request's priority goes before other tenants' requests too, not only its own tenant's");
  table.add_bytes("kv-memory", &options.engine.kv_bytes, "memory for the KV cache; 0 = choose");
  table.add_integer("page-size", &options.engine.page_size, 16, 128, "token positions in a KV page: 16, 32, 64 or 128");
  table.begin_group("Sharing");
  table.add_switch("prefix-cache", &options.engine.prefix_cache, "keep prefixes for later requests");
  table.add_number("keep-share", &options.engine.keep_share, 0, 1,
                   "share of the KV cache that one API key's kept prefixes may have (prompt_cache_options); 0 = none");
  table.add_switch("sharing", &options.engine.sharing, "compute attention over shared prefixes once");
  table.add_text("pin-file", &options.pin_file, "prompts that stay in the prefix cache: request bodies, one a line");
  table.begin_group("Tool calls and reasoning");
  table.add_text("tool-format", &options.formats.tools, "how the model writes tool calls; auto: as its template shows",
                 tool_format_names());
  table.add_text("reasoning-format", &options.formats.reasoning,
                 "how the model marks its reasoning; auto: as its template shows", reasoning_format_names());
  table.begin_group("Speculation");
  arguments.speculation.add_to(table, options.engine);
  table.add_text("speculation-corpus", &options.speculation_corpus,
                 "file of JSON lines, {\"text\": …} or {\"tokens\": […]}, that everyone drafts from");
  table.add_text("speculation-state", &options.speculation_state,
                 "folder that keeps past outputs and step costs between runs");
  table.add_number("speculation-save-every", &options.speculation_save_minutes, 0.01, 1e6,
                   "minutes between two saves of them");
}

// Where clients come in, and which.
void add_access_rows(ServeArguments& arguments, OptionTable& table) {
  ServeOptions& options = arguments.options;
  table.begin_group("Network");
  table.add_text("host", &options.host, "address to listen on");
  table.add_integer("port", &options.port, 0, 65535, "HTTP port; 0 = any free one");
  table.add_integer("grpc-port", &options.grpc_port, -1, 65535, "gRPC port; 0 = any free one, -1 = no gRPC");
  table.add_text("served-model-name", &options.served_model_name,
                 "name that clients use, or several: a,b; default: the folder's");
  table.add_text("kv-events", &options.kv_events.address,
                 "stream for routers of what the prefix cache holds, prompts included: tcp://HOST:PORT (ZeroMQ, with "
                 "replays on the next port; port 0 = any free ones), or grpc; docs/fleet.md");
  table.add_bytes("kv-events-memory", &options.kv_events.memory_bytes, "memory for past KV events, for replays");
  table.begin_group("Access");
  table.add_text("api-key-file", &options.api_key_file, "file of API keys, one a line; without it no key is asked for");
  table.add_text("tls-cert", &options.tls_cert, "PEM certificate chain; with --tls-key: HTTPS and gRPC over TLS");
  table.add_text("tls-key", &options.tls_key, "PEM private key");
  table.add_integer("admin-port", &options.admin_port, -1, 65535,
                    "port on 127.0.0.1 for the routes that administer the server; 0 = any free one, -1 = on --port");
  table.add_text(
      "allowed-hosts", &options.allowed_hosts,
      "names by which clients may call a server without keys on loopback, beside localhost; comma-separated");
  table.add_text("cors-origin", &options.cors_origins,
                 "sites whose pages may use the server: https://app.example; comma-separated, * for all");
}

// How long and how much clients may, and the server's own threads.
void add_server_rows(ServeArguments& arguments, OptionTable& table) {
  // A body of less holds no request; of more, no message of gRPC's.
  constexpr std::size_t kBodyBytesLeast = 1024;
  constexpr std::size_t kBodyBytesMost = std::size_t{1} << 30;
  ServeOptions& options = arguments.options;
  table.begin_group("Time");
  table.add_number("request-timeout", &options.request_timeout_s, 0, 1e6, "seconds a request may take; 0 = no limit");
  table.add_number("drain-timeout", &options.drain_timeout_s, 0, 1e6, "seconds that running requests get at shutdown");
  table.begin_group("Bounds of clients");
  table.add_integer("max-connections", &options.connections_max, 1, 1 << 20, "HTTP connections at once");
  table.add_integer("max-handshakes", &options.handshakes_max, 1, 1 << 20, "TLS handshakes at once on a port");
  table.add_bytes("max-body", &options.body_bytes_max, kBodyBytesLeast, kBodyBytesMost, "largest request body");
  table.add_integer("max-prompt-answer", &options.prompt_answer_bytes_max, 1, std::int64_t{1} << 40U,
                    "bytes that an answer may say about its prompts: logprobs, echoed text");
  table.add_bytes("memory-per-request", &options.memory.request_bytes, "memory that one request may hold");
  table.add_bytes("memory-per-tenant", &options.memory.tenant_bytes, "memory that one API key's requests may hold");
  table.add_bytes("memory-of-requests", &options.memory.server_bytes, "memory that all requests may hold");
  table.add_bytes("grammar-memory", &options.grammars.memory_bytes,
                  "memory for compiled grammars of structured output, kept for the next request");
  table.add_number("header-timeout", &options.header_timeout_s, 0.01, 1e6, "seconds for a request's header to arrive");
  table.add_number("idle-timeout", &options.idle_timeout_s, 0.01, 1e6, "seconds an open connection may stay silent");
  table.add_integer("grpc-max-connections", &options.grpc_connections_max, 1, 1 << 20, "gRPC connections at once");
  table.add_integer("grpc-max-streams", &options.grpc_streams_max, 1, 1 << 20, "calls at once on one gRPC connection");
  table.add_number("grpc-idle-timeout", &options.grpc_idle_timeout_s, 0.01, 1e6,
                   "seconds a gRPC connection may be without a call");
  table.begin_group("Stored responses (/v1/responses)");
  table.add_integer("stored-responses", &arguments.stored_responses, 0, 1 << 20,
                    "responses that an API key may store for later requests; 0 = none are stored");
  table.add_bytes("stored-responses-memory", &options.stored_responses.server_bytes,
                  "memory for stored responses; an API key gets half of it");
  table.add_number("stored-responses-ttl", &arguments.stored_responses_s, 1, 1e9,
                   "seconds that a stored response lives without being used");
  table.begin_group("Files and batches (/v1/files, /v1/batches)");
  table.add_text("files-folder", &options.files_folder,
                 "folder for clients' files and batches, made if it is not there; without it there are none");
  table.add_bytes("files-quota", &options.files.tenant_bytes, "bytes of files that one API key may keep");
  table.add_integer("files-max", &options.files.tenant_files, 1, 1 << 20, "files that one API key may keep");
  table.add_integer("batch-running", &options.batch_running_max, 0, 1 << 20,
                    "requests of batches in flight at once; 0 = choose");
  table.begin_group("Threads and log");
  table.add_text("log-format", &arguments.log_format, "log lines", {"text", "json"});
  table.add_seed("seed", &arguments.seed, &arguments.seed_given, "makes requests without a seed repeatable");
  table.add_integer("http-threads", &options.http_threads, 0, 1024, "threads for HTTP; 0 = choose");
  table.add_integer("work-threads", &options.work_threads, 0, 1024,
                    "threads that parse, render and tokenise; 0 = choose");
}

OptionTable serve_table(ServeArguments& arguments) {
  OptionTable table;
  table.begin_group("Model");
  arguments.model.add_to(table);
  add_access_rows(arguments, table);
  add_engine_rows(arguments, table);
  add_server_rows(arguments, table);
  return table;
}

absl::Status serve(ServeArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  ServeOptions& options = arguments.options;
  arguments.speculation.apply(options.engine);
  options.log_format = arguments.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  options.engine.seed = arguments.seed;
  options.engine.seed_given = arguments.seed_given;
  options.stored_responses.tenant_responses = static_cast<std::size_t>(arguments.stored_responses);
  options.stored_responses.tenant_bytes = options.stored_responses.server_bytes / 2;
  options.stored_responses.time_to_live = std::chrono::seconds(std::llround(arguments.stored_responses_s));
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
  return run_server(options, *package);
}

}  // namespace

void add_serve_command(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("serve", "HTTP and gRPC server");
  add_examples(*command,
               {"coppice serve demo", "coppice serve /models/Qwen3-0.6B --host 0.0.0.0 --api-key-file keys.txt",
                "coppice serve /models/Qwen3-0.6B --config configs/serve.yaml --kv-memory 8GiB"});
  auto arguments = std::make_shared<ServeArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp)->required();
  auto flags = std::make_shared<CommandOptions>(*command, serve_table(*arguments), /*with_config=*/true);
  command->callback([arguments, flags, &run] { run = [arguments, flags] { return serve(*arguments, *flags); }; });
}

}  // namespace coppice::server
