// POST /v1/completions and /v1/chat/completions.
#include <utility>

#include "proto/openai/answer_schema.h"
#include "proto/openai/generation_schema.h"
#include "proto/openai/parse_request.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

template <typename Parse>
ParseGeneration parse_with(Parse parse) {
  return [parse](const RouteCall& call, const ModelHost& host) -> openai::Result<ParsedGeneration> {
    openai::Result<openai::GenerationRequest> parsed = parse(call.request.body, host.request_limits);
    if (!parsed.ok()) {
      return std::move(parsed.error());
    }
    std::shared_ptr<openai::AnswerWriter> writer = make_answer_writer(parsed.value(), identity_of(call, host));
    return ParsedGeneration{std::move(parsed.value()), std::move(writer)};
  };
}

std::unique_ptr<RequestHandler> complete(ServerState& state, const CallPointer& call) {
  return generate(state, call, kHereMax, parse_with(&openai::parse_completion_request));
}

// What a template makes of a short conversation has no bound by its length: none is rendered on the I/O thread.
std::unique_ptr<RequestHandler> chat(ServerState& state, const CallPointer& call) {
  return generate(state, call, 0, parse_with(&openai::parse_chat_request));
}

Operation describe_completion(const openai::RequestLimits& limits) {
  return {.name = "createCompletion",
          .summary = "Continues prompts: text, or token ids.",
          .body = openai::completion_schema(limits),
          .answer = openai::completion_answer_schema(),
          .event = openai::completion_chunk_schema()};
}

Operation describe_chat(const openai::RequestLimits& limits) {
  return {.name = "createChatCompletion",
          .summary = "Continues a conversation, rendered with the model's chat template.",
          .body = openai::chat_schema(limits),
          .answer = openai::chat_answer_schema(),
          .event = openai::chat_chunk_schema()};
}

constexpr Route kRoutes[] = {
    {.method = "POST",
     .path = "/v1/completions",
     .action = &complete,
     .describe = &describe_completion,
     .ends_by_deadline = true},
    {.method = "POST",
     .path = "/v1/chat/completions",
     .action = &chat,
     .describe = &describe_chat,
     .ends_by_deadline = true},
};

}  // namespace

std::span<const Route> completion_routes() {
  return kRoutes;
}

}  // namespace coppice::server
