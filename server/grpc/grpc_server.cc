// The gRPC server: service methods, keys, health, reflection, start and drain.
#include "server/grpc/grpc_server.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "coppice/v1/inference.grpc.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "server/grpc/call.h"
#include "server/grpc/convert.h"
#include "server/grpc/kv_events_reactor.h"
#include "server/grpc/library_logs.h"
#include "server/grpc/message_bytes.h"
#include "server/grpc/proxy/client_name.h"
#include "server/grpc/proxy/proxy.h"
#include "server/grpc/read_request.h"
#include "server/grpc/stream_reactor.h"
#include "server/grpc/unary_answers.h"
#include "server/grpc/unary_reactor.h"
#include "server/sessions/request_id.h"

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
constexpr int kNotImplementedStatus = 501;  // RFC 9110, 15.6.2
constexpr int kPingStrikes = 4;             // pings too many before the connection ends

constexpr std::chrono::milliseconds kDrainPoll{10};     // between two looks for running calls: delays the end unseen
constexpr std::chrono::milliseconds kLastAnswers{500};  // for last statuses to leave

using std::chrono::steady_clock;
using std::chrono::system_clock;

std::string_view metadata_of(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end() ? std::string_view()
                                                  : std::string_view(found->second.data(), found->second.size());
}

// The client's deadline on our clock, if there is one.
std::optional<steady_clock::time_point> deadline_of(const grpc::CallbackServerContext& context) {
  constexpr std::chrono::hours kFar{24 * 365};  // later is none
  const auto left = context.deadline() - system_clock::now();
  if (left > kFar) {
    return std::nullopt;
  }
  return steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(left);
}

// Whether a stream of KV events cannot begin now; if it can, KvEvents::leave() is owed.
openai::MaybeError refuse_events(const ServerState& state) {
  if (state.kv_events == nullptr) {
    openai::ApiError error = openai::not_supported("", "the server has no KV events: start it with --kv-events");
    error.status = kNotImplementedStatus;
    return error;
  }
  if (!state.keys.required() && !state.kv_events->serves_anyone_over_grpc()) {
    return openai::unauthorized(
        "KV events hold all prompts: a server without API keys that listens beyond this machine gives them over gRPC "
        "only "
        "with --kv-events grpc");
  }
  if (!state.kv_events->enter()) {
    return openai::overloaded("too many streams of KV events at once; try again later", 1);
  }
  return std::nullopt;
}

// Decodes and reads a streaming request. Runs on the work pool.
template <typename Request>
openai::Result<openai::GenerationRequest> read_bytes(const grpc::ByteBuffer& bytes, const openai::RequestLimits& limits,
                                                     std::string& request_id) {
  Request request;
  if (openai::MaybeError error = decode(bytes, request)) {
    return *std::move(error);
  }
  request_id = request.request_id();
  return from_proto(request, limits);
}

// gRPC keeps the request as long as the call lives, though nothing needs it once it is read: the call empties it. The
// buffer itself is not const, gRPC only shows it so.
grpc::ByteBuffer& mutable_buffer(const grpc::ByteBuffer* buffer) {
  return const_cast<grpc::ByteBuffer&>(*buffer);
}

using RawService = v1::Inference::WithRawCallbackMethod_Generate<v1::Inference::WithRawCallbackMethod_Chat<
    v1::Inference::WithRawCallbackMethod_Tokenize<v1::Inference::WithRawCallbackMethod_Detokenize<
        v1::Inference::WithRawCallbackMethod_ListModels<v1::Inference::WithRawCallbackMethod_GetLoad<
            v1::Inference::WithRawCallbackMethod_SubscribeKvEvents<v1::Inference::Service>>>>>>>;

// The service's methods, on bytes: what cannot be decoded gets a status with words, which gRPC's own code does not
// give. Thread: any of gRPC's; what they touch is immutable, atomic or posted.
class Service final : public RawService {
 public:
  Service(ServerState& state, const GrpcOptions& options)
      : context_{state, CallTable(options.proxy.streams_max)}, unread_max_(options.proxy.write_timeout) {
    for (std::int32_t i = 0; i < std::max(options.loops, 1); ++i) {
      loops_.push_back(std::make_unique<SessionLoop>());
    }
  }

  std::int64_t active_requests() const { return context_.calls.alive(); }
  std::int64_t ending_requests() const { return context_.calls.ending(); }
  void watch() { context_.calls.cancel_unread(unread_max_); }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override {
    return stream(*context, "Generate", mutable_buffer(request), read_bytes<v1::GenerateRequest>);
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Chat(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request) override {
    return stream(*context, "Chat", mutable_buffer(request), read_bytes<v1::ChatRequest>, /*renders=*/true);
  }
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override {
    return unary(*context, "Tokenize", mutable_buffer(request), *response, tokenize);
  }
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    return unary(*context, "Detokenize", mutable_buffer(request), *response, detokenize);
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    return unary(*context, "ListModels", mutable_buffer(request), *response, list_models);
  }
  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override {
    return unary(*context, "GetLoad", mutable_buffer(request), *response, get_load, Availability::kWithModel);
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* SubscribeKvEvents(grpc::CallbackServerContext* context,
                                                                const grpc::ByteBuffer* request) override {
    openai::Result<Call> call = admit(*context, "SubscribeKvEvents");
    v1::SubscribeKvEventsRequest asked;
    openai::MaybeError error = call.ok() ? decode(*request, asked) : openai::MaybeError(call.error());
    if (!error) {
      error = refuse_events(context_.state);
    }
    if (error) {
      context_.state.metrics.count_answer("grpc", "SubscribeKvEvents", error->status);
      return new RefusedStream(to_status(*error));  // NOLINT: owns itself until OnDone
    }
    call.value().place->goes_on_for_ever();
    return new KvEventsReactor(context_, *context_.state.kv_events, next_loop(),  // NOLINT: as above
                               std::move(call.value()), asked);
  }

 private:
  enum class Availability { kWhileServing, kWithModel };  // kWithModel: also while draining

  // ERRORS: as ServerState::refusal(); 401 without a valid key where keys are required; 429 when too many calls are
  // alive: connections are bounded too, but clients that reset calls leave them behind for a moment.
  openai::Result<Call> admit(grpc::CallbackServerContext& context, const char* route,
                             Availability availability = Availability::kWhileServing) {
    const bool answers_now = availability == Availability::kWithModel && context_.state.host != nullptr;
    if (openai::MaybeError refusal = answers_now ? std::nullopt : context_.state.turn_away()) {
      return *std::move(refusal);
    }
    std::optional<std::string> tenant = tenant_of_call(context);
    if (!tenant) {
      return openai::unauthorized(
          "an API key is required in the metadata: authorization: Bearer KEY, or x-api-key: KEY");
    }
    std::unique_ptr<CallTable::Place> place = context_.calls.enter(*tenant, context);
    if (place == nullptr) {
      return openai::overloaded("too many calls at once; try again later", 1);
    }
    Call call;
    call.route = route;
    call.tenant = *std::move(tenant);
    call.place = std::move(place);
    call.client = client_of_name(context.peer());
    call.request_id = choose_request_id(metadata_of(context, "x-request-id"));
    call.deadline = deadline_of(context);
    return call;
  }

  // By either name of the key, as HTTP has them. Nothing: a key is required, and none that is known came.
  std::optional<std::string> tenant_of_call(const grpc::CallbackServerContext& context) const {
    const ApiKeys& keys = context_.state.keys;
    if (!keys.required()) {
      return std::string();
    }
    std::optional<std::string> tenant = keys.tenant_of_bearer(metadata_of(context, "authorization"));
    return tenant ? tenant : keys.tenant(metadata_of(context, "x-api-key"));
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* stream(grpc::CallbackServerContext& context, const char* route,
                                                     grpc::ByteBuffer& request, StreamReactor::Read read,
                                                     bool renders = false) {
    openai::Result<Call> call = admit(context, route);
    if (!call.ok()) {
      context_.state.metrics.count_answer("grpc", route, call.error().status);
      return new RefusedStream(to_status(call.error()));  // NOLINT: owns itself until OnDone
    }
    SessionLoop& home = next_loop();
    call.value().renders = renders;
    // NOLINTNEXTLINE: owns itself until OnDone
    return new StreamReactor(context_, context, home, std::move(call.value()), request, read);
  }

  SessionLoop& next_loop() { return *loops_[next_loop_++ % loops_.size()]; }

  // Makes an answer of one message. Runs on the work pool.
  using Work = openai::Result<grpc::ByteBuffer> (*)(const ServerState& state, const grpc::ByteBuffer& request,
                                                    const JobContext& job);

  grpc::ServerUnaryReactor* unary(grpc::CallbackServerContext& context, const char* route, grpc::ByteBuffer& request,
                                  grpc::ByteBuffer& response, Work work,
                                  Availability availability = Availability::kWhileServing) {
    openai::Result<Call> call = admit(context, route, availability);
    if (!call.ok()) {
      context_.state.metrics.count_answer("grpc", route, call.error().status);
      return new RefusedUnary(to_status(call.error()));  // NOLINT: owns itself until OnDone
    }
    return new UnaryReactor(context_, std::move(call.value()), request, response,  // NOLINT: as above
                            [&state = context_.state, work](const grpc::ByteBuffer& bytes, const JobContext& job) {
                              return work(state, bytes, job);
                            });
  }

  CallContext context_;
  const std::chrono::milliseconds unread_max_;
  std::atomic<std::size_t> next_loop_{0};
  std::vector<std::unique_ptr<SessionLoop>> loops_;
};

class Server final : public GrpcServer {
 public:
  Server(ServerState& state, const GrpcOptions& options) : service_(state, options) {}
  ~Server() override { drain(std::chrono::milliseconds(0)); }

  absl::Status start(const GrpcOptions& options) {
    redirect_library_logs();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::health::v1::HealthCheckRequest::descriptor();  // so that the program has it, for reflection
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
  std::int64_t ending_requests() const override { return service_.ending_requests(); }
  void watch() override { service_.watch(); }

  void set_serving(bool serving) override {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus(serving);
    health->SetServingStatus(kServiceName, serving);
  }

  absl::Status set_certificate(const TlsIdentity& identity) override { return proxy_->set_certificate(identity); }

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
    while (ending_requests() > 0 && std::chrono::steady_clock::now() < deadline) {
      watch();
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
  auto server = std::make_unique<Server>(state, options);
  if (absl::Status status = server->start(options); !status.ok()) {
    return status;
  }
  return server;
}

}  // namespace coppice::server
