// The gRPC server: service methods, keys, health, reflection, start and drain.
#include "server/grpc/grpc_server.h"

#include <atomic>
#include <utility>

#include "coppice/v1/inference.grpc.pb.h"
#include "fmt/format.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/grpc/answer_writer.h"
#include "server/grpc/convert.h"
#include "server/grpc/read_request.h"
#include "server/grpc/stream_reactor.h"

namespace coppice::server {
namespace {

constexpr const char* kServiceName = "coppice.v1.Inference";
// Bytes of one call's metadata: twice gRPC's default of 8 KiB, so that long tokens in `authorization` fit.
constexpr int kMetadataBytesMax = 16384;

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
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
    if (!options.tls_certificate.empty()) {
      grpc::SslServerCredentialsOptions tls;
      tls.pem_key_cert_pairs.push_back({options.tls_key, options.tls_certificate});
      credentials = grpc::SslServerCredentials(tls);
    }
    const std::string address = fmt::format("{}:{}", options.host, options.port);
    builder.AddListeningPort(address, credentials, &port_);
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(options.message_bytes_max));
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(fmt::format(
          "--grpc-port {}: cannot listen on {}: the port is taken, or the TLS key and certificate cannot be used",
          options.port, address));
    }
    set_serving(false);
    return absl::OkStatus();
  }

  std::int32_t port() const override { return port_; }
  std::int64_t active_requests() const override { return service_.active_requests(); }

  void set_serving(bool serving) override {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus(serving);
    health->SetServingStatus(kServiceName, serving);
  }

  void drain(std::chrono::milliseconds timeout) override {
    if (server_ != nullptr) {
      set_serving(false);
      server_->Shutdown(std::chrono::system_clock::now() + timeout);
      server_->Wait();
      server_.reset();
    }
  }

 private:
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
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
