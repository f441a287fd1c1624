// POST /tokenize and /detokenize.
#include <utility>
#include <vector>

#include "proto/openai/parse_request.h"
#include "proto/openai/write_objects.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

// Memory of one token in the answer of /tokenize: its id, its piece, and both as JSON.
constexpr std::size_t kTokenAnswerBytes = 96;

openai::Result<std::string> write_tokens(const ModelHost& host, std::string_view body, const JobContext& job) {
  openai::Result<openai::TokenizeRequest> parsed = openai::parse_tokenize_request(body, host.request_limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  const openai::TokenizeRequest& request = parsed.value();
  if (openai::MaybeError error = host.check_model(request.model)) {
    return *std::move(error);
  }
  if (openai::MaybeError error = job.hold(tokenizing_bytes(request.prompt.size() + openai::text_bytes(request.chat)))) {
    return *std::move(error);
  }
  const openai::Result<TokenIds> tokens = host.encoder().encode(request);
  if (!tokens.ok()) {
    return tokens.error();
  }
  if (openai::MaybeError error = job.hold(tokens.value().size() * kTokenAnswerBytes)) {
    return *std::move(error);
  }
  std::vector<std::string> pieces;
  if (request.return_token_strs) {
    for (const TokenId token : tokens.value()) {
      pieces.push_back(host.tokenizer->piece(token));
    }
  }
  return openai::write_tokenize(tokens.value(), host.request_limits.model_tokens_max,
                                request.return_token_strs ? &pieces : nullptr);
}

openai::Result<std::string> write_text(const ModelHost& host, std::string_view body, const JobContext& job) {
  const openai::Result<openai::DetokenizeRequest> parsed = openai::parse_detokenize_request(body, host.request_limits);
  if (!parsed.ok()) {
    return parsed.error();
  }
  if (openai::MaybeError error = host.check_model(parsed.value().model)) {
    return *std::move(error);
  }
  const std::size_t longest = static_cast<std::size_t>(host.request_limits.token_bytes_max);
  if (openai::MaybeError error = job.hold(parsed.value().tokens.size() * longest)) {
    return *std::move(error);
  }
  return openai::write_detokenize(host.tokenizer->decode(parsed.value().tokens, parsed.value().skip_special_tokens));
}

std::unique_ptr<RequestHandler> tokenize(ServerState& state, const CallPointer& call) {
  return defer(state, call, [&host = *state.host.load()](const RouteCall& asked, const JobContext& job) {
    return write_tokens(host, asked.request.body, job);
  });
}

std::unique_ptr<RequestHandler> detokenize(ServerState& state, const CallPointer& call) {
  return defer(state, call, [&host = *state.host.load()](const RouteCall& asked, const JobContext& job) {
    return write_text(host, asked.request.body, job);
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/tokenize", &tokenize},
    {"POST", "/detokenize", &detokenize},
};

}  // namespace

std::span<const Route> text_routes() {
  return kRoutes;
}

}  // namespace coppice::server
