// POST /v1/messages and /v1/messages/count_tokens.
#include <utility>

#include "proto/anthropic/message_schema.h"
#include "proto/anthropic/messages_writer.h"
#include "proto/anthropic/parse_messages.h"
#include "proto/anthropic/write_objects.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"
#include "server/sessions/request_id.h"

namespace coppice::server {
namespace {

openai::Result<ParsedGeneration> parse(const RouteCall& call, const ModelHost& host) {
  openai::Result<openai::Json> body = openai::parse_json(call.request.body, host.request_limits);
  if (!body.ok()) {
    return std::move(body.error());
  }
  openai::Result<openai::GenerationRequest> parsed =
      anthropic::read_messages_request(std::move(body.value()), host.request_limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  anthropic::MessageHead head;
  head.id = "msg_" + choose_request_id(std::string_view());
  head.model = host.name;
  head.request_id = call.request_id;
  head.max_tokens = parsed.value().sampling.max_tokens.value_or(0);
  return ParsedGeneration{std::move(parsed.value()), std::make_shared<anthropic::MessagesWriter>(std::move(head))};
}

// No template is rendered on the I/O thread.
std::unique_ptr<RequestHandler> create(ServerState& state, const CallPointer& call) {
  return generate(state, call, 0, parse);
}

openai::Result<std::string> write_count(const ModelHost& host, std::string_view text, const JobContext& job) {
  openai::Result<openai::Json> body = openai::parse_json(text, host.request_limits);
  if (!body.ok()) {
    return std::move(body.error());
  }
  openai::Result<openai::GenerationRequest> parsed =
      anthropic::read_count_request(std::move(body.value()), host.request_limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  const openai::Result<std::int64_t> tokens = count_prompt_tokens(parsed.value(), host, job);
  return tokens.ok() ? openai::Result<std::string>(anthropic::write_token_count(tokens.value())) : tokens.error();
}

std::unique_ptr<RequestHandler> count(ServerState& state, const CallPointer& call) {
  return defer(
      state, call,
      [&host = *state.host.load()](const RouteCall& asked, const JobContext& job) {
        return write_count(host, asked.request.body, job);
      },
      0);
}

Operation describe_create(const openai::RequestLimits& limits) {
  return {.name = "createMessage",
          .summary = "Continues a conversation, in Anthropic's form.",
          .body = anthropic::message_request_schema(limits),
          .answer = anthropic::message_schema(),
          .event = anthropic::message_event_schema()};
}

Operation describe_count(const openai::RequestLimits& limits) {
  return {.name = "countMessageTokens",
          .summary = "The number of a conversation's tokens, in Anthropic's form.",
          .body = anthropic::count_request_schema(limits),
          .answer = anthropic::token_count_schema()};
}

constexpr Route kRoutes[] = {
    {.method = "POST",
     .path = "/v1/messages",
     .action = &create,
     .dialect = ErrorDialect::kAnthropic,
     .describe = &describe_create,
     .ends_by_deadline = true},
    {.method = "POST",
     .path = "/v1/messages/count_tokens",
     .action = &count,
     .dialect = ErrorDialect::kAnthropic,
     .describe = &describe_count},
};

}  // namespace

std::span<const Route> message_routes() {
  return kRoutes;
}

}  // namespace coppice::server
