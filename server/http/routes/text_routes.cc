// Text and tokens without an answer: POST /tokenize and /detokenize, the tokens of a request, the tokenizer itself. And
// the routes of models that read texts and write none, which say so.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "proto/openai/json_writer.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/write_objects.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"
#include "server/sessions/prepared_request.h"

namespace coppice::server {
namespace {

// Memory of one token in the answer of /tokenize: its id, its piece, and both as JSON.
constexpr std::size_t kTokenAnswerBytes = 96;
constexpr int kNotImplementedStatus = 501;  // RFC 9110, 15.6.2

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

// OpenAI's object for the tokens of a request that is not run.
template <typename Parse>
WriteBody count_tokens(const ModelHost& host, Parse parse) {
  return [&host, parse](const RouteCall& asked, const JobContext& job) -> openai::Result<std::string> {
    openai::Result<openai::GenerationRequest> parsed = parse(asked.request.body, host.request_limits);
    if (!parsed.ok()) {
      return std::move(parsed.error());
    }
    openai::Result<PreparedRequest> prepared = prepare(std::move(parsed.value()), host, job);
    if (!prepared.ok()) {
      return std::move(prepared.error());
    }
    std::size_t tokens = 0;
    for (const PreparedRequest::Prompt& prompt : prepared.value().prompts) {
      tokens += prompt.tokens.size();
    }
    openai::JsonWriter out;
    out.begin_object().key("object").string("response.input_tokens");
    out.key("input_tokens").integer(static_cast<std::int64_t>(tokens)).end_object();
    return out.take();
  };
}

std::unique_ptr<RequestHandler> count_chat(ServerState& state, const CallPointer& call) {
  return defer(state, call, count_tokens(*state.host.load(), &openai::parse_chat_request), /*here_max=*/0);
}

std::unique_ptr<RequestHandler> count_completion(ServerState& state, const CallPointer& call) {
  return defer(state, call, count_tokens(*state.host.load(), &openai::parse_completion_request));
}

std::unique_ptr<RequestHandler> tokenizer_info(ServerState& state, const CallPointer& call) {
  answer(state, *call, state.host.load()->tokenizer_info);
  return nullptr;
}

std::unique_ptr<RequestHandler> rerank(ServerState& state, const CallPointer& call) {
  openai::ApiError error = openai::not_supported(
      "",
      fmt::format("{} needs a reranking model; this server serves a language model, which writes text", call->path));
  error.status = kNotImplementedStatus;
  answer(state, *call, error);
  return nullptr;
}

constexpr Route kRoutes[] = {
    {"POST", "/tokenize", &tokenize},
    {"POST", "/detokenize", &detokenize},
    {"GET", "/tokenizer_info", &tokenizer_info},
    {"POST", "/v1/chat/completions/input_tokens", &count_chat},
    {"POST", "/v1/completions/input_tokens", &count_completion},
    {"POST", "/v1/rerank", &rerank},  // vLLM, SGLang, llama.cpp, Jina, Cohere: each has some of these
    {"POST", "/v2/rerank", &rerank},
    {"POST", "/rerank", &rerank},
    {"POST", "/v1/reranking", &rerank},
    {"POST", "/reranking", &rerank},
    {"POST", "/v1/score", &rerank},
    {"POST", "/score", &rerank},
};

}  // namespace

std::span<const Route> text_routes() {
  return kRoutes;
}

}  // namespace coppice::server
