// /v1/speculation/corpora: named texts that drafts are taken from.
#include <utility>

#include "proto/openai/corpus.h"
#include "server/access/api_keys.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

openai::ApiError no_corpora() {
  return openai::not_found("", "speculation_off", "this server runs without speculation: it has no corpora");
}

openai::Result<std::string> write_new_corpus(const ModelHost& host, const std::string& tenant, std::string_view body) {
  if (host.corpora == nullptr) {
    return no_corpora();
  }
  const openai::Result<openai::CorpusRequest> parsed = openai::parse_corpus_request(body, host.request_limits);
  if (!parsed.ok()) {
    return parsed.error();
  }
  const openai::Result<openai::CorpusCard> card =
      host.corpora->add(tenant_of(tenant, parsed.value().cache_salt), parsed.value());
  return card.ok() ? openai::Result<std::string>(openai::write_corpus(card.value())) : card.error();
}

std::unique_ptr<RequestHandler> add(ServerState& state, const CallPointer& call) {
  return defer(state, call, [&host = *state.host.load()](const RouteCall& asked, const JobContext& /*job*/) {
    return write_new_corpus(host, asked.tenant, asked.request.body);
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

constexpr Route admin_route(std::string_view method, std::string_view path, Route::Action action) {
  return {method, path, action, Access::kKey, Availability::kWhileServing, Purpose::kAdministration};
}

constexpr Route kRoutes[] = {
    admin_route("POST", "/v1/speculation/corpora", &add),
    admin_route("GET", "/v1/speculation/corpora", &list),
    admin_route("DELETE", "/v1/speculation/corpora/{name...}", &drop),
};

}  // namespace

std::span<const Route> corpus_routes() {
  return kRoutes;
}

}  // namespace coppice::server
