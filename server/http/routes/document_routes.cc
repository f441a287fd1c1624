// GET /openapi.json: every route of this server, with the bounds of the model that it serves. It needs no key, but the
// model: its bounds are in the document.
#include "proto/openai/object_schema.h"
#include "server/http/openapi_document.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

std::unique_ptr<RequestHandler> document(ServerState& state, const CallPointer& call) {
  answer(state, *call, write_openapi(all_routes(), state.host.load()->request_limits, state.keys.required()));
  return nullptr;
}

Operation describe_document(const openai::RequestLimits& /*limits*/) {
  return {.name = "getOpenapi",
          .summary = "This document.",
          .answer = openai::Schema::object({openai::required("openapi", openai::Schema::word({kOpenapiVersion})),
                                            openai::required("info", openai::Schema::object({})),
                                            openai::required("paths", openai::Schema::object({})),
                                            openai::required("components", openai::Schema::object({}))})};
}

constexpr Route kRoutes[] = {
    {.method = "GET",
     .path = "/openapi.json",
     .action = &document,
     .access = Access::kPublic,
     .describe = &describe_document},
};

}  // namespace

std::span<const Route> document_routes() {
  return kRoutes;
}

}  // namespace coppice::server
