// The gRPC server: service methods, keys, health, reflection, start and drain.
#include "server/grpc/grpc_door.h"

#include <atomic>
#include <utility>

#include "coppice/v1/inference.grpc.pb.h"
#include "fmt/format.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/grpc/convert.h"
#include "server/grpc/stream_reactor.h"

namespace coppice::server {
namespace {

constexpr const char* kServiceName = "coppice.v1.Inference";

std::string metadata_of(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end() ? std::string()
                                                  : std::string(found->second.data(), found->second.size());
}

// The service. Thread: gRPC's; what it touches is immutable, atomic or posted to the loop.
class Service final : public v1::Inference::CallbackService {
 public:
  Service(const GrpcOptions& options, const ModelHost& host)
      : options_(options), host_(host), hub_([this] { loop_.post([this] { hub_.dispatch(); }); }) {}

  void set_ready(bool ready) { is_ready_ = ready; }

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
    return unary(*context, "Tokenize", request->model(), [&]() -> openai::MaybeError {
      const text::EncodeOptions options = {
          .add_special = !request->has_add_special_tokens() || request->add_special_tokens(),
          .parse_special = request->parse_special()};
      const auto ids = host_.tokenizer->encode(request->text(), options);
      if (!ids.ok()) {
        return openai::bad_value("text", std::string(ids.status().message()));
      }
      for (const TokenId id : *ids) {
        response->add_token_ids(id);
        response->add_pieces(host_.tokenizer->piece(id));
      }
      response->set_max_model_len(host_.engine_limits.model_tokens_max);
      return std::nullopt;
    });
  }

  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override {
    return unary(*context, "Detokenize", request->model(), [&]() -> openai::MaybeError {
      const std::vector<TokenId> ids(request->token_ids().begin(), request->token_ids().end());
      for (const TokenId id : ids) {
        if (id < 0 || id >= host_.tokenizer->vocab_size()) {
          return openai::bad_value("token_ids", fmt::format("token_ids must be from 0 to {}; {} came",
                                                            host_.tokenizer->vocab_size() - 1, id));
        }
      }
      text::Detokenizer detokenizer(*host_.tokenizer, request->skip_special_tokens());
      std::string text;
      for (const TokenId id : ids) {
        text += detokenizer.push(id);
      }
      response->set_text(text + detokenizer.finish());
      return std::nullopt;
    });
  }

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* /*request*/,
                                       v1::ListModelsResponse* response) override {
    return unary(*context, "ListModels", "", [&]() -> openai::MaybeError {
      v1::Model& model = *response->add_models();
      model.set_id(host_.name);
      model.set_created(host_.created_s);
      model.set_max_model_len(host_.engine_limits.model_tokens_max);
      return std::nullopt;
    });
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context, const v1::GetLoadRequest* /*request*/,
                                    v1::GetLoadResponse* response) override {
    return unary(*context, "GetLoad", "", [&]() -> openai::MaybeError {
      const engine::EngineStats stats = host_.engine->stats();
      response->set_running(stats.running);
      response->set_waiting(stats.waiting);
      const std::int32_t used = stats.pages_total - stats.pages_free - stats.pages_cached;
      response->set_kv_usage(stats.pages_total > 0 ? static_cast<double>(used) / stats.pages_total : 0.0);
      response->set_generation_tokens(stats.generation_tokens);
      response->set_draining(!is_ready_);
      return std::nullopt;
    });
  }

 private:
  // The caller's tenant, or why it is turned away.
  openai::Result<std::string> admit(const grpc::CallbackServerContext& context) const {
    if (!is_ready_) {
      return openai::unavailable("not_ready", "the server is starting or draining", 1);
    }
    if (!options_.authenticate) {
      return std::string();
    }
    constexpr std::string_view kBearer = "Bearer ";
    const std::string header = metadata_of(context, "authorization");
    if (std::string_view(header).substr(0, kBearer.size()) == kBearer) {
      if (std::optional<std::string> tenant = options_.authenticate(std::string_view(header).substr(kBearer.size()))) {
        return *std::move(tenant);
      }
    }
    return openai::unauthorized("a valid API key is wanted in the metadata: authorization: Bearer KEY");
  }

  template <typename Request>
  grpc::ServerWriteReactor<v1::GenerateResponse>* stream(grpc::CallbackServerContext& context, const char* route,
                                                         const Request& request) {
    const StreamContext shared = {host_, loop_, hub_};
    openai::Result<std::string> tenant = admit(context);
    if (!tenant.ok()) {
      return new StreamReactor(shared, route, tenant.error());  // NOLINT: owns itself until OnDone
    }
    std::string id = request.request_id().empty() ? metadata_of(context, "x-request-id") : request.request_id();
    if (id.empty()) {
      id = fmt::format("grpc-{}", next_id_.fetch_add(1));
    }
    auto parse = [request, &limits = host_.request_limits] { return from_proto(request, limits); };
    return new StreamReactor(shared, route, std::move(tenant.value()), std::move(id), std::move(parse));  // NOLINT
  }

  template <typename Work>
  grpc::ServerUnaryReactor* unary(grpc::CallbackServerContext& context, const char* route, const std::string& model,
                                  Work work) {
    openai::MaybeError error;
    if (openai::Result<std::string> tenant = admit(context); !tenant.ok()) {
      error = tenant.error();
    } else if (!model.empty() && model != host_.name) {
      error = openai::not_found("model", "model_not_found",
                                fmt::format("no model \"{}\" here; \"{}\" is served", model, host_.name));
    } else {
      error = work();
    }
    host_.metrics->count_answer("grpc", route, error ? error->status : 200);
    grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
    reactor->Finish(error ? to_status(*error) : grpc::Status::OK);
    return reactor;
  }

  const GrpcOptions options_;
  const ModelHost& host_;
  std::atomic<bool> is_ready_{false};
  std::atomic<std::uint64_t> next_id_{1};
  SessionHub hub_;  // before the loop: tasks name it until the loop has joined
  TaskLoop loop_;
};

class Door final : public GrpcDoor {
 public:
  Door(const GrpcOptions& options, const ModelHost& host) : service_(options, host) {}
  ~Door() override { drain(std::chrono::milliseconds(0)); }

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
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16384);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(fmt::format(
          "gRPC cannot listen on {}: the port is taken, or the TLS key and certificate cannot be used", address));
    }
    set_ready(false);
    return absl::OkStatus();
  }

  std::int32_t port() const override { return port_; }

  void set_ready(bool ready) override {
    service_.set_ready(ready);
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus(ready);
    health->SetServingStatus(kServiceName, ready);
  }

  void drain(std::chrono::milliseconds timeout) override {
    if (server_ != nullptr) {
      set_ready(false);
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

absl::StatusOr<std::unique_ptr<GrpcDoor>> GrpcDoor::open(const GrpcOptions& options, const ModelHost& host) {
  auto door = std::make_unique<Door>(options, host);
  if (absl::Status status = door->start(options); !status.ok()) {
    return status;
  }
  return door;
}

}  // namespace coppice::server
