// Text and tokens without an answer: POST /tokenize and /detokenize, the tokens of a request, the tokenizer itself. And
// the routes of models that read texts and write none, which say so.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "proto/openai/generation_schema.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/object_schema.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/write_objects.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"
#include "server/sessions/prepared_request.h"

namespace coppice::server {
namespace {

using openai::Schema;

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
  const openai::Result<TokenIds> tokens = host.encoder().encode(request, job);
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

Operation describe_tokenize(const openai::RequestLimits& limits) {
  return {.name = "tokenize",
          .summary = "The token ids of a text or a conversation.",
          .body = openai::tokenize_schema(limits),
          .answer = openai::tokenize_answer_schema()};
}

Operation describe_detokenize(const openai::RequestLimits& limits) {
  return {.name = "detokenize",
          .summary = "The text of token ids.",
          .body = openai::detokenize_schema(limits),
          .answer = openai::detokenize_answer_schema()};
}

Schema counted_tokens_schema() {
  return Schema::object({openai::required("object", Schema::word({"response.input_tokens"})),
                         openai::required("input_tokens", Schema::integer(0))})
      .named("CountedTokens");
}

Operation describe_count_chat(const openai::RequestLimits& limits) {
  return {.name = "countChatTokens",
          .summary = "The tokens of the prompt of such a request, which is not run.",
          .body = openai::chat_schema(limits),
          .answer = counted_tokens_schema()};
}

Operation describe_count_completion(const openai::RequestLimits& limits) {
  return {.name = "countCompletionTokens",
          .summary = "The tokens of the prompts of such a request, which is not run.",
          .body = openai::completion_schema(limits),
          .answer = counted_tokens_schema()};
}

Operation describe_tokenizer_info(const openai::RequestLimits& /*limits*/) {
  return {.name = "getTokenizerInfo",
          .summary = "The tokenizer's settings, added tokens and chat templates, as in `tokenizer_config.json`.",
          .answer = Schema::map(Schema::any())};
}

constexpr Route kRoutes[] = {
    {.method = "POST", .path = "/tokenize", .action = &tokenize, .describe = &describe_tokenize},
    {.method = "POST", .path = "/detokenize", .action = &detokenize, .describe = &describe_detokenize},
    {.method = "GET", .path = "/tokenizer_info", .action = &tokenizer_info, .describe = &describe_tokenizer_info},
    {.method = "POST",
     .path = "/v1/chat/completions/input_tokens",
     .action = &count_chat,
     .describe = &describe_count_chat},
    {.method = "POST",
     .path = "/v1/completions/input_tokens",
     .action = &count_completion,
     .describe = &describe_count_completion},
    // vLLM, SGLang, llama.cpp, Jina, Cohere: each has some of these. No document describes them: all are refused.
    {.method = "POST", .path = "/v1/rerank", .action = &rerank},
    {.method = "POST", .path = "/v2/rerank", .action = &rerank},
    {.method = "POST", .path = "/rerank", .action = &rerank},
    {.method = "POST", .path = "/v1/reranking", .action = &rerank},
    {.method = "POST", .path = "/reranking", .action = &rerank},
    {.method = "POST", .path = "/v1/score", .action = &rerank},
    {.method = "POST", .path = "/score", .action = &rerank},
};

}  // namespace

std::span<const Route> text_routes() {
  return kRoutes;
}

}  // namespace coppice::server
