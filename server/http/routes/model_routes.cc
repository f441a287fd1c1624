// GET /v1/models and /v1/models/NAME.
#include <string>
#include <vector>

#include "proto/anthropic/message_schema.h"
#include "proto/anthropic/write_objects.h"
#include "proto/openai/object_schema.h"
#include "proto/openai/write_objects.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

openai::ModelCard make_card(const ModelHost& host, const std::string& name) {
  return {name, host.created_s, host.request_limits.model_tokens_max};
}

std::unique_ptr<RequestHandler> list(ServerState& state, const CallPointer& call) {
  const ModelHost& host = *state.host.load();
  std::vector<openai::ModelCard> cards = {make_card(host, host.name)};
  for (const std::string& name : host.other_names) {
    cards.push_back(make_card(host, name));
  }
  const bool is_anthropic = call->dialect == ErrorDialect::kAnthropic;
  answer(state, *call, is_anthropic ? anthropic::write_model_list(cards) : openai::write_model_list(cards));
  return nullptr;
}

std::unique_ptr<RequestHandler> get(ServerState& state, const CallPointer& call) {
  const ModelHost& host = *state.host.load();
  if (const openai::MaybeError error = host.check_model(call->parts[0])) {
    answer(state, *call, *error);
  } else {
    const bool is_anthropic = call->dialect == ErrorDialect::kAnthropic;
    const openai::ModelCard card = make_card(host, call->parts[0]);
    answer(state, *call, is_anthropic ? anthropic::write_model(card) : openai::write_model(card));
  }
  return nullptr;
}

Operation describe_list(const openai::RequestLimits& /*limits*/) {
  return {.name = "listModels",
          .summary = "The served model, as a list; in Anthropic's form for requests with `anthropic-version`.",
          .answer = openai::Schema::one_of("a list", {openai::model_list_schema(), anthropic::model_list_schema()})};
}

Operation describe_get(const openai::RequestLimits& /*limits*/) {
  return {.name = "retrieveModel",
          .summary = "The served model; in Anthropic's form for requests with `anthropic-version`.",
          .answer = openai::Schema::one_of("a model", {openai::model_schema(), anthropic::model_schema()})};
}

constexpr Route kRoutes[] = {
    {.method = "GET", .path = "/v1/models", .action = &list, .describe = &describe_list},
    // A name may have slashes.
    {.method = "GET", .path = "/v1/models/{model...}", .action = &get, .describe = &describe_get},
};

}  // namespace

std::span<const Route> model_routes() {
  return kRoutes;
}

}  // namespace coppice::server
