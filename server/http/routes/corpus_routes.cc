// /v1/speculation/corpora: named texts that drafts are taken from.
#include <utility>

#include "proto/openai/corpus.h"
#include "proto/openai/object_schema.h"
#include "server/access/api_keys.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

openai::ApiError no_corpora() {
  return openai::not_found("", "speculation_off", "this server runs without speculation: it has no corpora");
}

openai::Result<std::string> write_new_corpus(const ModelHost& host, const std::string& tenant, std::string_view body,
                                             const JobContext& job) {
  if (host.corpora == nullptr) {
    return no_corpora();
  }
  const openai::Result<openai::CorpusRequest> parsed = openai::parse_corpus_request(body, host.request_limits);
  if (!parsed.ok()) {
    return parsed.error();
  }
  const openai::Result<openai::CorpusCard> card =
      host.corpora->add(tenant_of(tenant, parsed.value().cache_salt), parsed.value(), job);
  return card.ok() ? openai::Result<std::string>(openai::write_corpus(card.value())) : card.error();
}

std::unique_ptr<RequestHandler> add(ServerState& state, const CallPointer& call) {
  return defer(state, call, [&host = *state.host.load()](const RouteCall& asked, const JobContext& job) {
    return write_new_corpus(host, asked.tenant, asked.request.body, job);
  });
}

std::unique_ptr<RequestHandler> list(ServerState& state, const CallPointer& call) {
  Corpora* const corpora = state.host.load()->corpora.get();
  if (corpora == nullptr) {
    answer(state, *call, no_corpora());
  } else {
    const std::string tenant = tenant_of(call->tenant, query_value(*call, "cache_salt"));
    answer(state, *call, openai::write_corpus_list(corpora->list(tenant)));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> drop(ServerState& state, const CallPointer& call) {
  Corpora* const corpora = state.host.load()->corpora.get();
  if (corpora == nullptr) {
    answer(state, *call, no_corpora());
    return nullptr;
  }
  const std::string& name = call->parts[0];
  if (const openai::MaybeError error = corpora->drop(tenant_of(call->tenant, query_value(*call, "cache_salt")), name)) {
    answer(state, *call, *error);
  } else {
    answer(state, *call, openai::write_corpus_deleted(name));
  }
  return nullptr;
}

Operation describe_add(const openai::RequestLimits& limits) {
  return {.name = "createCorpus",
          .summary = "Adds texts to draft from.",
          .body = openai::corpus_request_schema(limits),
          .answer = openai::corpus_schema()};
}

std::vector<QueryParameter> salt_parameter() {
  return {{"cache_salt", openai::Schema::string(), "Of the requests that draft from it."}};
}

Operation describe_list(const openai::RequestLimits& /*limits*/) {
  return {.name = "listCorpora",
          .summary = "The corpora that the caller's requests draft from.",
          .answer = openai::corpus_list_schema(),
          .query = salt_parameter()};
}

Operation describe_drop(const openai::RequestLimits& /*limits*/) {
  return {.name = "deleteCorpus",
          .summary = "Drops a corpus.",
          .answer = openai::corpus_deleted_schema(),
          .query = salt_parameter()};
}

constexpr Route admin_route(std::string_view method, std::string_view path, Route::Action action, Describe describe) {
  return {.method = method, .path = path, .action = action, .purpose = Purpose::kAdministration, .describe = describe};
}

constexpr Route kRoutes[] = {
    admin_route("POST", "/v1/speculation/corpora", &add, &describe_add),
    admin_route("GET", "/v1/speculation/corpora", &list, &describe_list),
    admin_route("DELETE", "/v1/speculation/corpora/{name...}", &drop, &describe_drop),
};

}  // namespace

std::span<const Route> corpus_routes() {
  return kRoutes;
}

}  // namespace coppice::server
