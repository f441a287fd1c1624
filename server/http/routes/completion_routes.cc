// POST /v1/completions and /v1/chat/completions.
#include <utility>

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

constexpr Route kRoutes[] = {
    {"POST", "/v1/completions", &complete},
    {"POST", "/v1/chat/completions", &chat},
};

}  // namespace

std::span<const Route> completion_routes() {
  return kRoutes;
}

}  // namespace coppice::server
