// GET /v1/models and /v1/models/NAME.
#include <string>
#include <vector>

#include "proto/anthropic/write_objects.h"
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

constexpr Route kRoutes[] = {
    {"GET", "/v1/models", &list}, {"GET", "/v1/models/{model...}", &get},  // a name may have slashes
};

}  // namespace

std::span<const Route> model_routes() {
  return kRoutes;
}

}  // namespace coppice::server
