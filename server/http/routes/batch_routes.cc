// /v1/batches: create, list, card, cancel.
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/batches.h"
#include "proto/openai/file_schema.h"
#include "server/batch/batch_store.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

using Handler = std::unique_ptr<RequestHandler>;

constexpr std::int64_t kListMax = 100;       // OpenAI's bound
constexpr std::int64_t kListOtherwise = 20;  // OpenAI's default

openai::ApiError no_batches() {
  return openai::not_found("", "batches_off", "this server runs no batches: start it with --files-folder");
}

openai::Result<std::string> text_of(const openai::Result<openai::BatchCard>& card) {
  return card.ok() ? openai::Result<std::string>(openai::write_batch(card.value())) : card.error();
}

Handler create(ServerState& state, const CallPointer& call) {
  if (state.batches == nullptr) {
    answer(state, *call, no_batches());
    return nullptr;
  }
  const ModelHost& host = *state.host.load();
  return DeferredHandler::start(
      state, call, DeferredHandler::kNever,
      [&state, &host, call](const JobContext& /*job*/) -> DeferredHandler::Finish {
        openai::Result<openai::BatchRequest> request =
            openai::parse_batch_request(call->request.body, host.request_limits);
        drop_body(*call);
        const std::string ignored = request.ok() ? request.value().ignored.header() : "";
        const auto written = std::make_shared<openai::Result<std::string>>(
            request.ok() ? text_of(state.batches->create(call->tenant, std::move(request.value()), host.name))
                         : request.error());
        return [&state, call, written, ignored]() -> Handler {
          if (!ignored.empty()) {
            call->exchange.add_header(openai::kIgnoredHeader, ignored);
          }
          if (written->ok()) {
            answer(state, *call, std::move(written->value()));
          } else {
            answer(state, *call, written->error());
          }
          return nullptr;
        };
      },
      [&state, call](const openai::ApiError& error) { answer(state, *call, error); });
}

Handler list(ServerState& state, const CallPointer& call) {
  if (state.batches == nullptr) {
    answer(state, *call, no_batches());
    return nullptr;
  }
  return defer(
      state, call,
      [&state](const RouteCall& asked, const JobContext& /*job*/) -> openai::Result<std::string> {
        const openai::Result<openai::ListQuery> query = openai::read_list_query(
            query_value(asked, "after"), query_value(asked, "limit"), "", kListOtherwise, kListMax);
        if (!query.ok()) {
          return query.error();
        }
        openai::Result<std::vector<openai::BatchCard>> cards = state.batches->list(asked.tenant, query.value());
        if (!cards.ok()) {
          return cards.error();
        }
        const bool has_more = static_cast<std::int64_t>(cards.value().size()) > query.value().limit;
        cards.value().resize(cards.value().size() - (has_more ? 1 : 0));
        return openai::write_batch_list(cards.value(), has_more);
      },
      DeferredHandler::kNever);
}

Handler card(ServerState& state, const CallPointer& call) {
  if (state.batches == nullptr) {
    answer(state, *call, no_batches());
    return nullptr;
  }
  const openai::Result<std::string> text = text_of(state.batches->find({call->tenant, call->parts[0]}));
  if (text.ok()) {
    answer(state, *call, text.value());
  } else {
    answer(state, *call, text.error());
  }
  return nullptr;
}

Handler cancel(ServerState& state, const CallPointer& call) {
  if (state.batches == nullptr) {
    answer(state, *call, no_batches());
    return nullptr;
  }
  return defer(
      state, call,
      [&state](const RouteCall& asked, const JobContext& /*job*/) {
        return text_of(state.batches->cancel({asked.tenant, asked.parts[0]}));
      },
      DeferredHandler::kNever);
}

Operation describe_create(const openai::RequestLimits& /*limits*/) {
  return {.name = "createBatch",
          .summary = "Runs a file of requests in the background.",
          .body = openai::batch_request_schema(),
          .answer = openai::batch_schema()};
}

Operation describe_list(const openai::RequestLimits& /*limits*/) {
  return {.name = "listBatches",
          .summary = "The caller's batches, the newest first.",
          .answer = openai::batch_list_schema(),
          .query = {{"after", openai::Schema::string(), "The id behind which the list goes on."},
                    {"limit", openai::Schema::integer(1, kListMax), "Default: 20."}}};
}

Operation describe_card(const openai::RequestLimits& /*limits*/) {
  return {.name = "retrieveBatch", .summary = "How far a batch is.", .answer = openai::batch_schema()};
}

Operation describe_cancel(const openai::RequestLimits& /*limits*/) {
  return {.name = "cancelBatch",
          .summary = "Ends a batch; the answers until then are kept.",
          .answer = openai::batch_schema()};
}

constexpr Route kRoutes[] = {
    {.method = "POST", .path = "/v1/batches", .action = &create, .describe = &describe_create},
    {.method = "GET", .path = "/v1/batches", .action = &list, .describe = &describe_list},
    {.method = "GET", .path = "/v1/batches/{batch_id}", .action = &card, .describe = &describe_card},
    {.method = "POST", .path = "/v1/batches/{batch_id}/cancel", .action = &cancel, .describe = &describe_cancel},
};

}  // namespace

std::span<const Route> batch_routes() {
  return kRoutes;
}

}  // namespace coppice::server
