// The gRPC server: service methods, keys, health, reflection, start and drain.
#include "server/grpc/grpc_server.h"

#include <atomic>
#include <thread>
#include <utility>

#include "coppice/v1/inference.grpc.pb.h"
#include "fmt/format.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "server/grpc/answer_writer.h"
#include "server/grpc/convert.h"
#include "server/grpc/library_logs.h"
#include "server/grpc/proxy/proxy.h"
#include "server/grpc/read_request.h"
#include "server/grpc/stream_reactor.h"

namespace coppice::server {
namespace {

constexpr const char* kServiceName = "coppice.v1.Inference";
// Bytes of one call's metadata: twice gRPC's default of 8 KiB, so that long tokens in `authorization` fit.
constexpr int kMetadataBytesMax = 16384;
// Bytes that a client may send of a request before the server has asked for them: a prompt of some ten thousand tokens
// arrives in one go.
constexpr int kWindowBytes = 65536;
// Milliseconds of silence after which a client is asked whether it is still there, and has to answer.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// A client may do the same, with or without calls: every 10 seconds, which is the least that gRPC's clients do.
constexpr int kPingIntervalMs = 10'000;
constexpr int kPingStrikes = 4;  // pings too many before the connection ends

constexpr std::chrono::milliseconds kDrainPoll{10};     // between two looks for running calls: delays the end unseen
constexpr std::chrono::milliseconds kLastAnswers{500};  // for last statuses to leave

std::string metadata_of(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end() ? std::string()
                                                  : std::string(found->second.data(), found->second.size());
}

// The service's methods. Thread: any of gRPC's; what they touch is immutable, atomic or posted to the loop.
class Service final : public v1::Inference::CallbackService {
 public:
  explicit Service(ServerState& state) : state_(state), hub_([this] { loop_.post([this] { hub_.dispatch(); }); }) {}

  std::int64_t active_requests() const { return active_; }

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext* context,
                                                           const v1::GenerateRequest* request) override {
    return stream(*context, "Generate", *request);
  }

  grpc::ServerWriteReactor<v1::GenerateResponse>* Chat(grpc::CallbackServerContext* context,
                                                       const v1::ChatRequest* request) override {
    return stream(*context, "Chat", *request);
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override {
    return unary(*context, "Tokenize", request->model(), [&](const ModelHost& host) -> openai::MaybeError {
      openai::TokenizeRequest tokenize;
      tokenize.prompt = request->text();
      if (request->has_add_special_tokens()) {
        tokenize.add_special_tokens = request->add_special_tokens();
      }
      tokenize.parse_special = request->parse_special();
      const openai::Result<TokenIds> ids = host.encoder().encode(tokenize);
      if (!ids.ok()) {
        return ids.error();
      }
      for (const TokenId id : ids.value()) {
        response->add_token_ids(id);
        response->add_pieces(utf8_only(host.tokenizer->piece(id)));
      }
      response->set_max_model_len(host.engine_limits.model_tokens_max);
      return std::nullopt;
    });
  }

  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override {
    return unary(*context, "Detokenize", request->model(), [&](const ModelHost& host) -> openai::MaybeError {
      const std::vector<TokenId> ids(request->token_ids().begin(), request->token_ids().end());
      for (const TokenId id : ids) {
        if (id < 0 || id >= host.tokenizer->vocab_size()) {
          return openai::bad_value(
              "token_ids", fmt::format("token_ids must be from 0 to {}; got {}", host.tokenizer->vocab_size() - 1, id));
        }
      }
      response->set_text(utf8_only(host.tokenizer->decode(ids, request->skip_special_tokens())));
      return std::nullopt;
    });
  }

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* /*request*/,
                                       v1::ListModelsResponse* response) override {
    return unary(*context, "ListModels", "", [&](const ModelHost& host) -> openai::MaybeError {
      v1::Model& model = *response->add_models();
      model.set_id(host.name);
      model.set_created(host.created_s);
      model.set_max_model_len(host.engine_limits.model_tokens_max);
      return std::nullopt;
    });
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context, const v1::GetLoadRequest* /*request*/,
                                    v1::GetLoadResponse* response) override {
    return unary(*context, "GetLoad", "", [&](const ModelHost& host) -> openai::MaybeError {
      const engine::EngineStats stats = host.engine->stats();
      response->set_running(stats.running);
      response->set_waiting(stats.waiting);
      const std::int32_t used = stats.pages.total - stats.pages.free - stats.pages.cached;
      response->set_kv_usage(stats.pages.total > 0 ? static_cast<double>(used) / stats.pages.total : 0.0);
      response->set_generation_tokens(stats.generation_tokens);
      response->set_draining(state_.phase == Phase::kDraining);
      return std::nullopt;
    });
  }

 private:
  // The caller's tenant. ERRORS: as ServerState::refusal(); 401 without a valid key where keys are required.
  openai::Result<std::string> admit(const grpc::CallbackServerContext& context) const {
    if (openai::MaybeError refusal = state_.refusal()) {
      return *std::move(refusal);
    }
    if (!state_.keys.required()) {
      return std::string();
    }
    if (std::optional<std::string> tenant = state_.keys.tenant_of_bearer(metadata_of(context, "authorization"))) {
      return *std::move(tenant);
    }
    return openai::unauthorized("an API key is required in the metadata: authorization: Bearer KEY");
  }

  template <typename Request>
  grpc::ServerWriteReactor<v1::GenerateResponse>* stream(grpc::CallbackServerContext& context, const char* route,
                                                         const Request& request) {
    const StreamContext shared = {state_, loop_, hub_, active_};
    openai::Result<std::string> tenant = admit(context);
    if (!tenant.ok()) {
      return new StreamReactor(shared, route, tenant.error());  // NOLINT: owns itself until OnDone
    }
    std::string id = request.request_id().empty() ? metadata_of(context, "x-request-id") : request.request_id();
    if (id.empty()) {
      id = fmt::format("grpc-{}", next_id_.fetch_add(1));
    }
    auto parse = [request](const openai::RequestLimits& limits) { return from_proto(request, limits); };
    return new StreamReactor(shared, route, std::move(tenant.value()), std::move(id), std::move(parse));  // NOLINT
  }

  template <typename Work>
  grpc::ServerUnaryReactor* unary(grpc::CallbackServerContext& context, const char* route, const std::string& model,
                                  Work work) {
    openai::MaybeError error;
    if (openai::Result<std::string> tenant = admit(context); !tenant.ok()) {
      error = tenant.error();
    } else {
      const ModelHost& host = *state_.host.load();  // set while the phase is kServing, which admit() has seen
      error = host.check_model(model);
      if (!error) {
        error = work(host);
      }
    }
    state_.metrics.count_answer("grpc", route, error ? error->status : 200);
    grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
    reactor->Finish(error ? to_status(*error) : grpc::Status::OK);
    return reactor;
  }

  ServerState& state_;
  std::atomic<std::uint64_t> next_id_{1};
  std::atomic<std::int64_t> active_{0};
  SessionHub hub_;  // declared before the loop: its tasks use the hub until the loop has joined
  TaskLoop loop_;
};

class Server final : public GrpcServer {
 public:
  explicit Server(ServerState& state) : service_(state) {}
  ~Server() override { drain(std::chrono::milliseconds(0)); }

  absl::Status start(const GrpcOptions& options) {
    redirect_library_logs();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    // Connections come from the proxy alone, plain ones: TLS ends there.
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    set_limits(options, builder);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) {
      return absl::InternalError("gRPC cannot start");
    }
    absl::StatusOr<std::unique_ptr<Proxy>> proxy = Proxy::start(options.proxy, [this](int handle) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
      connection.fd = handle;
      acceptor_->HandleNewConnection(&connection);
    });
    if (!proxy.ok()) {
      return std::move(proxy).status();
    }
    proxy_ = *std::move(proxy);
    set_serving(false);
    return absl::OkStatus();
  }

  std::int32_t port() const override { return proxy_->port(); }
  std::int64_t active_requests() const override { return service_.active_requests(); }

  void set_serving(bool serving) override {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus(serving);
    health->SetServingStatus(kServiceName, serving);
  }

  absl::Status set_certificate(const std::string& certificate, const std::string& key) override {
    return proxy_->set_certificate(certificate, key);
  }

  void drain(std::chrono::milliseconds timeout) override {
    if (server_ == nullptr) {
      return;
    }
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    if (proxy_ != nullptr) {
      set_serving(false);
      proxy_->drain();
    }
    // Not gRPC's own wait: that is for every call and every connection, a silent client's too.
    while (active_requests() > 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kDrainPoll);
    }
    server_->Shutdown(std::chrono::system_clock::now() + kLastAnswers);  // cancels what is left
    server_->Wait();
    server_.reset();  // closes its ends of the connections
    if (proxy_ != nullptr) {
      proxy_->stop(kLastAnswers);
    }
  }

 private:
  static void set_limits(const GrpcOptions& options, grpc::ServerBuilder& builder) {
    builder.SetMaxReceiveMessageSize(static_cast<int>(options.message_bytes_max));
    builder.SetResourceQuota(grpc::ResourceQuota("coppice").Resize(options.memory_bytes_max));
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(options.proxy.guard.streams_max));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // it may allow frames of 16 MiB
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kPingStrikes);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  }

  Service service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Proxy> proxy_;  // dies first: it hands connections to the server
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::open(const GrpcOptions& options, ServerState& state) {
  auto server = std::make_unique<Server>(state);
  if (absl::Status status = server->start(options); !status.ok()) {
    return status;
  }
  return server;
}

}  // namespace coppice::server
