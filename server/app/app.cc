// Wiring: from options to a running server, and down again. What each part does is in its own file; here is the order.
// Up: HTTP answers "starting" before the model is loaded. Down: front ends, sessions, engine, and then memory.
#include "server/app/app.h"

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "engine/engine_thread.h"
#include "models/transformer.h"
#include "server/app/device_options.h"
#include "server/app/engine_watch.h"
#include "server/app/front_options.h"
#include "server/app/host_setup.h"
#include "server/app/log_setup.h"
#include "server/app/progress_bar.h"
#include "server/app/signal_watch.h"
#include "server/batch/batch_runner.h"
#include "server/batch/batch_store.h"
#include "server/corpora/learned_keeper.h"
#include "server/files/file_store.h"
#include "server/grpc/grpc_server.h"
#include "server/http/browser_guard.h"
#include "server/http/http_server.h"
#include "server/http/router.h"
#include "server/kv_events/kv_events.h"
#include "server/model/model_loader.h"
#include "server/net/listener.h"
#include "server/net/tls_identity.h"
#include "server/sessions/pinned_prompts.h"
#include "server/sessions/server_state.h"

namespace coppice::server {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kWatchPeriod{250};          // between two looks at the engine's progress
constexpr milliseconds kDrainPoll{10};             // between two looks for running requests: delays the end unseen
constexpr milliseconds kAbortedAnswersTime{2000};  // for the last error messages to leave
constexpr std::size_t kCorpusBytesPerToken = 200;  // at most half of the memory for past outputs goes to corpora
constexpr milliseconds kLastSavePatience{2000};    // the engine answers between two steps
// Beyond --drain-timeout for the last messages, saving and closing. After that the process ends whatever is stuck.
constexpr milliseconds kEndMargin{5000};

// Blocks from this size on are mapped and given back one by one, and as much may stay free at the end of an arena.
// Unset, both grow with the largest block that was ever freed, to 32 and 64 MiB: after one large body every arena keeps
// tens of MiB, which malloc_trim() leaves to all arenas but the first.
constexpr int kLargeBlockBytes = 1 << 20;

void bound_allocator() {
  mallopt(M_MMAP_THRESHOLD, kLargeBlockBytes);
  mallopt(M_TRIM_THRESHOLD, kLargeBlockBytes);
}

// 1024 file handles, the usual soft limit, are fewer than --max-connections.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// Of names with commas between.
std::string first_of(const std::string& names) {
  return names.substr(0, names.find(','));
}

// The running server. Members die bottom up: the engine's thread before the front ends it wakes, those before the
// engine.
class App {
 public:
  App(const ServeOptions& options, const ModelPackage& package, ApiKeys keys, TlsIdentity tls)
      : options_(options),
        package_(package),
        tls_(std::move(tls)),
        name_(options.served_model_name.empty() ? package.name() : first_of(options.served_model_name)),
        state_(name_, std::move(keys), options.memory),
        router_(state_, router_options(options, options.admin_port < 0 ? RouteSet::kAll : RouteSet::kInference)),
        admin_router_(state_, router_options(options, RouteSet::kAdministration)) {}

  absl::Status start(SignalWatch& signals);
  void serve(SignalWatch& signals);
  void drain();

 private:
  void reload();
  void reload_keys();
  void reload_tls();
  RefusalLog::Count count_refusals(const char* listener);
  absl::Status open_corpora();
  absl::Status open_learned();
  absl::Status open_grpc();
  absl::Status open_files();
  absl::Status open_kv_events();
  void watch();
  void watch_engine();
  std::int64_t running_answers() const;
  void wait_for_answers(Clock::time_point end);
  void print_ready() const;

  const ServeOptions& options_;
  const ModelPackage& package_;
  const TlsIdentity tls_;   // as of the start
  const std::string name_;  // of the model, as clients know it
  ServerState state_;
  Router router_;
  Router admin_router_;
  std::unique_ptr<KvEvents> kv_events_;  // null: without --kv-events
  LoadedModel model_;
  ModelHost host_;
  std::unique_ptr<FileStore> files_;  // null: without --files-folder, as batches_ and batch_runner_
  std::unique_ptr<BatchStore> batches_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<HttpServer> admin_http_;  // null: without --admin-port
  std::unique_ptr<GrpcServer> grpc_;
  std::unique_ptr<LearnedKeeper> learned_;  // null: nothing is kept
  std::unique_ptr<BatchRunner> batch_runner_;
  std::unique_ptr<engine::EngineThread> engine_thread_;
  EngineWatch engine_watch_;
};

absl::Status App::start(SignalWatch& signals) {
  host_.name = name_;
  if (!options_.served_model_name.empty()) {
    COPPICE_RETURN_IF_ERROR(host_.set_names(options_.served_model_name));
  }
  state_.work = std::make_unique<WorkPool>(work_options(options_));
  if (options_.stored_responses.tenant_responses > 0) {
    state_.responses = std::make_unique<ResponseStore>(options_.stored_responses);
  }
  HttpOptions http = http_options(options_, tls_);
  http.count_refusal = count_refusals("http");
  COPPICE_ASSIGN_OR_RETURN(http_, HttpServer::start(http, router_, state_.memory));
  if (options_.admin_port >= 0) {
    HttpOptions admin = admin_http_options(options_);
    admin.count_refusal = count_refusals("admin");
    COPPICE_ASSIGN_OR_RETURN(admin_http_, HttpServer::start(admin, admin_router_, state_.memory));
    spdlog::info("administration: http://127.0.0.1:{}", admin_http_->port());
  }
  if (!options_.kv_events.address.empty()) {
    KvEventsOptions events = options_.kv_events;
    events.is_local = is_loopback_host(options_.host);
    events.epoch = state_.instance_id;
    COPPICE_ASSIGN_OR_RETURN(kv_events_, KvEvents::open(events, state_.keys));
  }
  COPPICE_RETURN_IF_ERROR(load_text(package_, host_, options_.formats));
  {
    ProgressBar bar("loading " + name_);
    LoadModelOptions load;
    static_cast<ComputeOptions&>(load) = options_;
    load.cuda = cuda_options_from_environment();
    load.engine = options_.engine;
    load.engine.cache_changes = kv_events_ == nullptr ? nullptr : kv_events_->queue();
    load.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
    COPPICE_ASSIGN_OR_RETURN(model_, load_model(package_, load));
  }
  spdlog::info("limits: {}", model_.limits.to_string());
  host_.created_s = static_cast<std::int64_t>(std::time(nullptr));
  host_.engine = model_.engine.get();
  host_.engine_limits = model_.limits;
  host_.metrics = &state_.metrics;
  host_.request_timeout = to_milliseconds(options_.request_timeout_s);
  derive_request_limits(options_.body_bytes_max, model_.config, host_);
  open_grammars(model_.config, options_.grammars, host_);
  host_.request_limits.prompt_answer_bytes_max = options_.prompt_answer_bytes_max;
  COPPICE_RETURN_IF_ERROR(open_files());
  COPPICE_RETURN_IF_ERROR(open_kv_events());
  COPPICE_RETURN_IF_ERROR(open_corpora());
  COPPICE_RETURN_IF_ERROR(open_learned());
  if (!options_.pin_file.empty()) {
    COPPICE_RETURN_IF_ERROR(pin_prompts(options_.pin_file, host_, state_.keys));
  }
  engine_thread_ = std::make_unique<engine::EngineThread>(*model_.engine);
  COPPICE_RETURN_IF_ERROR(open_grpc());
  state_.host = &host_;
  if (batches_ != nullptr) {
    batch_runner_ =
        std::make_unique<BatchRunner>(state_, *files_, *batches_, BatchRunnerOptions{options_.batch_running_max});
    batch_runner_->start();
  }
  // Before the server says that it serves: from then on a client may ask it to end.
  signals.expect_orderly_end(to_milliseconds(options_.drain_timeout_s) + kEndMargin);
  state_.phase = Phase::kServing;
  if (grpc_ != nullptr) {
    grpc_->set_serving(true);
  }
  print_ready();
  return absl::OkStatus();
}

RefusalLog::Count App::count_refusals(const char* listener) {
  return [this, listener](const char* label) { state_.metrics.count_refusal(listener, label); };
}

absl::Status App::open_corpora() {
  if (!options_.engine.speculation) {
    return absl::OkStatus();
  }
  CorporaLimits limits;
  limits.tokens_max = static_cast<std::int64_t>(options_.engine.suffix.memory_bytes / kCorpusBytesPerToken);
  host_.corpora = std::make_unique<Corpora>(*model_.engine, host_.encoder(), state_.keys, limits);
  if (!options_.speculation_corpus.empty()) {
    COPPICE_ASSIGN_OR_RETURN(const std::int64_t tokens,
                             host_.corpora->preload(options_.speculation_corpus, host_.request_limits));
    spdlog::info("{} tokens to draft from: {}", tokens, options_.speculation_corpus);
    while (model_.engine->step()) {  // it learns them before anybody asks
    }
  }
  return absl::OkStatus();
}

absl::Status App::open_files() {
  if (options_.files_folder.empty()) {
    return absl::OkStatus();
  }
  COPPICE_ASSIGN_OR_RETURN(files_, FileStore::open(options_.files_folder, options_.files,
                                                   [] { return static_cast<std::int64_t>(std::time(nullptr)); }));
  batches_ = std::make_unique<BatchStore>(*files_);
  state_.files = files_.get();
  state_.batches = batches_.get();
  return absl::OkStatus();
}

absl::Status App::open_kv_events() {
  if (kv_events_ == nullptr) {
    return absl::OkStatus();
  }
  COPPICE_RETURN_IF_ERROR(kv_events_->start(model_.limits.page_size));
  state_.kv_events = kv_events_.get();
  if (const ZmqFeed* feed = kv_events_->feed()) {
    spdlog::info("KV events: {}, replays {}", feed->endpoint(), feed->replay_endpoint());
  }
  return absl::OkStatus();
}

// What the costs of steps depend on: the model, the formats of its weights and KV cache, and the machine.
std::string step_costs_key(const std::string& name, const models::Transformer& transformer, kernels::Backend& backend) {
  const models::ModelConfig& config = transformer.config();
  const kernels::ModelFormats& formats = transformer.formats();
  return fmt::format("{}, {} layers of {}, {} weights {} ({} bytes a step), kv {}, {}", name, config.layers,
                     config.hidden, kernels::format_name(formats.compute), kernels::storage_name(formats.storage),
                     transformer.bytes_per_step(), kernels::format_name(formats.kv), backend.device().description());
}

absl::Status App::open_learned() {
  if (!options_.engine.speculation || options_.speculation_state.empty()) {
    return absl::OkStatus();
  }
  LearnedFingerprints fingerprints;
  fingerprints.vocabulary = vocabulary_fingerprint(*host_.tokenizer);
  fingerprints.machine = step_costs_key(host_.name, *model_.transformer, *model_.backend);
  learned_ =
      std::make_unique<LearnedKeeper>(*model_.engine, options_.speculation_state, std::move(fingerprints),
                                      LearnedTenants{&state_.keys, options_.engine.suffix.shared_between_tenants});
  COPPICE_RETURN_IF_ERROR(learned_->restore());
  learned_->start(to_milliseconds(options_.speculation_save_minutes * 60));
  return absl::OkStatus();
}

absl::Status App::open_grpc() {
  if (options_.grpc_port < 0) {
    return absl::OkStatus();
  }
  GrpcOptions grpc = grpc_options(options_);
  grpc.proxy.tls = tls_;
  grpc.proxy.count_refusal = count_refusals("grpc");
  COPPICE_ASSIGN_OR_RETURN(grpc_, GrpcServer::open(grpc, state_));
  return absl::OkStatus();
}

void App::print_ready() const {
  const bool is_tls = !options_.tls_cert.empty();
  const std::string grpc = grpc_ == nullptr ? "grpc off" : "grpc " + address_text(options_.host, grpc_->port());
  const auto passed = std::chrono::duration_cast<milliseconds>(Clock::now() - state_.started);
  print_line(fmt::format("ready: {}://{} ({}) model {} in {} ms", is_tls ? "https" : "http",
                         address_text(options_.host, http_->port()), grpc, host_.name, passed.count()));
}

void App::serve(SignalWatch& signals) {
  for (SignalAsk ask = SignalAsk::kNothing; ask != SignalAsk::kEnd; ask = signals.wait_for(kWatchPeriod)) {
    if (ask == SignalAsk::kReload) {
      reload();
    }
    watch();
  }
}

void App::reload() {
  if (options_.api_key_file.empty() && options_.tls_cert.empty()) {
    spdlog::info("SIGHUP: there are no API keys and no certificate to read again");
  }
  if (!options_.api_key_file.empty()) {
    reload_keys();
  }
  if (!options_.tls_cert.empty()) {
    reload_tls();
  }
}

// Calls that were let in go on, except streams of KV events, which have no end of their own; a key that is gone opens
// nothing any more, and what was kept for it goes.
void App::reload_keys() {
  absl::StatusOr<ApiKeys> keys = ApiKeys::load(options_.api_key_file);
  if (!keys.ok()) {
    spdlog::error("SIGHUP: {}; the old keys stay", std::string(keys.status().message()));
    return;
  }
  const std::vector<std::string> gone = state_.keys.replace(*std::move(keys));
  if (host_.corpora != nullptr) {
    host_.corpora->drop_keys(gone);
  }
  if (state_.responses != nullptr) {
    state_.responses->drop_tenants(gone);
  }
  if (kv_events_ != nullptr) {
    kv_events_->keys_changed();
  }
  spdlog::info("SIGHUP: {} API keys; {} that were there are gone", state_.keys.shares(), gone.size());
}

void App::reload_tls() {
  const absl::StatusOr<TlsIdentity> identity = load_tls_identity(options_.tls_cert, options_.tls_key);
  absl::Status status = identity.status();
  if (status.ok()) {
    status = http_->replace_tls(*identity);
  }
  if (status.ok() && grpc_ != nullptr) {
    status = grpc_->set_certificate(*identity);
  }
  if (!status.ok()) {
    spdlog::error("SIGHUP: {}; the old certificate stays", std::string(status.message()));
    return;
  }
  spdlog::info("SIGHUP: new connections are shown the certificate of {}", options_.tls_cert);
}

void App::watch_engine() {
  const bool is_stuck = engine_watch_.is_stuck(model_.engine->pulse(), Clock::now());
  if (is_stuck != state_.engine_is_stuck) {
    if (is_stuck) {
      spdlog::error("the engine has work and has made no progress for {} ms: not ready",
                    engine_watch_.silence().count());
    } else {
      spdlog::info("the engine makes progress again");
    }
    state_.engine_is_stuck = is_stuck;
    if (grpc_ != nullptr) {
      grpc_->set_serving(!is_stuck && state_.phase == Phase::kServing);
    }
  }
}

void App::watch() {
  watch_engine();
  if (grpc_ != nullptr) {
    grpc_->watch();
  }
  state_.http_connections = http_->connections();
  state_.memory.trim();
  if (state_.responses != nullptr) {
    state_.responses->expire();
  }
}

// What a device that records steps made of it.
void log_steps(kernels::Backend& backend) {
  const kernels::StepCounts counts = backend.steps().counts();
  if (counts.direct + counts.played > 0) {
    spdlog::info("steps on {}: {} played, of {} recordings; {} launch by launch; memory grew {} times",
                 backend.device().name(), counts.played, counts.recorded, counts.direct, counts.grown);
  }
  if (!counts.trouble.empty()) {
    spdlog::warn("{}", counts.trouble);
  }
}

// Answers that are under way; streams of KV events, which never end by themselves, are none.
std::int64_t App::running_answers() const {
  return http_->active_requests() + (grpc_ == nullptr ? 0 : grpc_->ending_requests());
}

void App::wait_for_answers(Clock::time_point end) {
  while (running_answers() > 0 && Clock::now() < end) {
    watch_engine();  // an engine that stands still lets no answer end
    if (grpc_ != nullptr) {
      grpc_->watch();
    }
    std::this_thread::sleep_for(kDrainPoll);
  }
}

// New requests are turned away in words while others run. The ports close when the last answer is out.
void App::drain() {
  state_.phase = Phase::kDraining;
  http_->end_connections_with_answers();
  if (grpc_ != nullptr) {
    grpc_->set_serving(false);
  }
  if (batch_runner_ != nullptr) {
    batch_runner_->stop();  // what it was doing is done by the next run: the time is for clients who wait
  }
  const Clock::time_point deadline = Clock::now() + to_milliseconds(options_.drain_timeout_s);
  spdlog::info("draining: {} requests run; they have {} s", running_answers(), options_.drain_timeout_s);
  wait_for_answers(deadline);
  http_->stop_accepting();
  host_.grammars->close();  // no call waits for one any more
  if (kv_events_ != nullptr) {
    kv_events_->close();  // its streams would go on for ever
  }
  if (grpc_ != nullptr) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    grpc_->drain(std::max(left, milliseconds(0)));
  }
  if (http_->active_requests() > 0) {
    spdlog::warn("{} requests did not end in time: they are cut off", http_->active_requests());
    http_->abort_sessions(openai::unavailable("draining", "the server is shutting down; the answer was cut off", 1));
    wait_for_answers(Clock::now() + kAbortedAnswersTime);
  }
  if (learned_ != nullptr) {
    if (const absl::Status status = learned_->save(kLastSavePatience); !status.ok()) {
      spdlog::warn("what speculation has learned was not saved: {}", std::string(status.message()));
    }
    learned_.reset();
  }
  engine_thread_.reset();
  log_steps(*model_.backend);
  grpc_.reset();
  state_.work->close();  // its jobs post to connections
  admin_http_.reset();
  http_.reset();
}

}  // namespace

absl::Status run_server(const ServeOptions& options, const ModelPackage& package) {
  SignalWatch signals;  // first: every thread inherits its mask
  set_log_format(options.log_format);
  bound_allocator();
  raise_file_limit();
  if (options.memory.request_bytes < options.body_bytes_max) {
    return absl::InvalidArgumentError(
        fmt::format("--memory-per-request {} is less than its body may have (--max-body {})",
                    options.memory.request_bytes, options.body_bytes_max));
  }
  ApiKeys keys;
  if (!options.api_key_file.empty()) {
    COPPICE_ASSIGN_OR_RETURN(keys, ApiKeys::load(options.api_key_file));
  }
  COPPICE_ASSIGN_OR_RETURN(TlsIdentity tls, load_tls_identity(options.tls_cert, options.tls_key));
  App app(options, package, std::move(keys), std::move(tls));
  COPPICE_RETURN_IF_ERROR(app.start(signals));
  app.serve(signals);
  app.drain();
  return absl::OkStatus();
}

}  // namespace coppice::server
