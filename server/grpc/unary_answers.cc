// Memory is taken from the budget before it is used.
#include "server/grpc/unary_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "coppice/v1/inference.pb.h"
#include "server/grpc/answer_writer.h"
#include "server/grpc/message_bytes.h"

namespace coppice::server {
namespace {

// Memory of one token in the answer of Tokenize: its id, its piece, and both on the wire.
constexpr std::size_t kTokenAnswerBytes = 96;

}  // namespace

openai::Result<grpc::ByteBuffer> tokenize(const ServerState& state, const grpc::ByteBuffer& bytes,
                                          const JobContext& job) {
  v1::TokenizeRequest request;
  if (openai::MaybeError error = decode(bytes, request)) {
    return *std::move(error);
  }
  const ModelHost& host = *state.host.load();
  if (openai::MaybeError error = host.check_model(request.model())) {
    return *std::move(error);
  }
  if (openai::MaybeError error = openai::check_text_bytes("text", request.text().size(), host.request_limits)) {
    return *std::move(error);
  }
  openai::TokenizeRequest asked;
  asked.prompt = request.text();
  if (request.has_add_special_tokens()) {
    asked.add_special_tokens = request.add_special_tokens();
  }
  if (request.has_parse_special()) {
    asked.parse_special = request.parse_special();
  }
  const openai::Result<TokenIds> ids = host.encoder().encode(asked, job);
  if (!ids.ok()) {
    return ids.error();
  }
  if (openai::MaybeError error = job.hold(ids.value().size() * kTokenAnswerBytes)) {
    return *std::move(error);
  }
  v1::TokenizeResponse response;
  for (const TokenId id : ids.value()) {
    response.add_token_ids(id);
    response.add_pieces(utf8_only(host.tokenizer->piece(id)));
  }
  response.set_max_model_len(host.engine_limits.model_tokens_max);
  return encode(response);
}

openai::Result<grpc::ByteBuffer> detokenize(const ServerState& state, const grpc::ByteBuffer& bytes,
                                            const JobContext& job) {
  v1::DetokenizeRequest request;
  if (openai::MaybeError error = decode(bytes, request)) {
    return *std::move(error);
  }
  const ModelHost& host = *state.host.load();
  if (openai::MaybeError error = host.check_model(request.model())) {
    return *std::move(error);
  }
  const auto tokens = static_cast<std::int64_t>(request.token_ids_size());
  if (const std::int64_t most = host.request_limits.detokenize_tokens_max; tokens > most) {
    return openai::bad_value("token_ids",
                             fmt::format("'token_ids' has {} tokens; at most {} are allowed", tokens, most));
  }
  const std::int64_t token_bytes = std::max<std::int64_t>(host.request_limits.token_bytes_max, 1);
  if (openai::MaybeError error = job.hold(static_cast<std::size_t>(tokens * token_bytes))) {
    return *std::move(error);
  }
  const std::vector<TokenId> ids(request.token_ids().begin(), request.token_ids().end());
  for (const TokenId id : ids) {
    if (id < 0 || id >= host.tokenizer->vocab_size()) {
      return openai::bad_value(
          "token_ids", fmt::format("token_ids must be from 0 to {}; got {}", host.tokenizer->vocab_size() - 1, id));
    }
  }
  v1::DetokenizeResponse response;
  response.set_text(utf8_only(host.tokenizer->decode(ids, request.skip_special_tokens())));
  return encode(response);
}

openai::Result<grpc::ByteBuffer> list_models(const ServerState& state, const grpc::ByteBuffer& bytes,
                                             const JobContext& /*job*/) {
  v1::ListModelsRequest request;
  if (openai::MaybeError error = decode(bytes, request)) {
    return *std::move(error);
  }
  const ModelHost& host = *state.host.load();
  v1::ListModelsResponse response;
  const auto add = [&](const std::string& name) {
    v1::Model& model = *response.add_models();
    model.set_id(name);
    model.set_created(host.created_s);
    model.set_max_model_len(host.engine_limits.model_tokens_max);
  };
  add(host.name);
  std::for_each(host.other_names.begin(), host.other_names.end(), add);
  return encode(response);
}

openai::Result<grpc::ByteBuffer> get_load(const ServerState& state, const grpc::ByteBuffer& bytes,
                                          const JobContext& /*job*/) {
  v1::GetLoadRequest request;
  if (openai::MaybeError error = decode(bytes, request)) {
    return *std::move(error);
  }
  const engine::EngineStats stats = state.host.load()->engine->stats();
  v1::GetLoadResponse response;
  response.set_running(stats.running);
  response.set_waiting(stats.waiting);
  const std::int32_t used = stats.pages.total - stats.pages.free - stats.pages.cached;
  response.set_kv_usage(stats.pages.total > 0 ? static_cast<double>(used) / stats.pages.total : 0.0);
  response.set_generation_tokens(stats.generation_tokens);
  response.set_draining(state.phase == Phase::kDraining);
  response.set_stuck(state.engine_is_stuck);
  return encode(response);
}

}  // namespace coppice::server
