// /v1/responses: made, stored, fetched, listed, cancelled, deleted.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "proto/openai/parse_responses.h"
#include "proto/openai/response_items.h"
#include "proto/openai/response_schema.h"
#include "proto/openai/responses_writer.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"
#include "server/responses/background_response.h"
#include "server/responses/storing_writer.h"
#include "server/sessions/request_id.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr std::int64_t kItemsDefault = 20;  // OpenAI's, as the bound
constexpr std::int64_t kItemsMax = 100;     // of one page

openai::ApiError no_response(const std::string& id) {
  return openai::not_found("response_id", "response_not_found",
                           fmt::format("there is no response '{}': it was never stored, was deleted, or had to go for "
                                       "newer ones",
                                       id.substr(0, kRequestIdMax)));
}

// --- making ----------------------------------------------------------------------------------------------------------

// The conversation that a body continues; null: none. ERRORS: 400.
openai::Result<TurnPointer> find_previous(ServerState& state, const RouteCall& call, const Json& body) {
  const openai::Result<std::string> id = openai::read_previous_id(body);
  if (!id.ok()) {
    return id.error();
  }
  if (id.value().empty()) {
    return TurnPointer();
  }
  std::optional<ResponseStore::Found> found;
  if (state.responses != nullptr) {
    found = state.responses->find(call.tenant, id.value());
  }
  if (found && found->turn != nullptr) {
    return found->turn;
  }
  openai::ApiError error = openai::bad_value(
      "previous_response_id",
      fmt::format("previous response '{}' {}", id.value().substr(0, kRequestIdMax),
                  !found              ? "not found: it was not stored, was deleted, or had to go for newer ones; send "
                                        "the whole conversation"
                  : found->is_running ? "is still being made: wait for its end"
                                      : "has no output: it has failed or was cancelled"));
  error.code = found ? "previous_response_not_complete" : "previous_response_not_found";
  return error;
}

// The items of a conversation, first to last, each turn's input and output. ERRORS: 413, 429 (memory).
openai::Result<std::vector<Json>> read_history(const TurnPointer& last, const openai::RequestLimits& limits,
                                               const RouteCall& call) {
  if (last == nullptr) {
    return std::vector<Json>();
  }
  std::vector<const StoredTurn*> turns;
  std::size_t bytes = call.request.body.size();
  for (const StoredTurn* turn = last.get(); turn != nullptr; turn = turn->previous.get()) {
    turns.push_back(turn);
    bytes += turn->input.size() + turn->output.size();
  }
  if (bytes > limits.body_bytes_max) {
    openai::ApiError error = openai::too_large(
        fmt::format("the conversation of {} bytes is larger than a request may be ({})", bytes, limits.body_bytes_max));
    error.param = "previous_response_id";
    return error;
  }
  if (call.request.memory != nullptr) {
    if (openai::MaybeError error = call.request.memory->set(MemoryPart::kWork, parsing_bytes(bytes, limits))) {
      return *std::move(error);
    }
  }
  std::vector<Json> history;
  for (auto turn = turns.rbegin(); turn != turns.rend(); ++turn) {
    for (const std::string* const text : {&(*turn)->input, &(*turn)->output}) {
      openai::Result<Json> items = openai::parse_json(*text, limits);
      if (!items.ok()) {
        return std::move(items.error());
      }
      history.push_back(std::move(items.value()));
    }
  }
  return history;
}

// What runs a response in the background, and answers with how it stands. Once: it takes what is in `order`.
StartGeneration start_in_background(std::shared_ptr<BackgroundResponse::Order> order) {
  return [order = std::move(order)](ServerState& state, const ModelHost& host, const CallPointer& call,
                                    GenerationHandler::Prepared prepared) -> std::unique_ptr<RequestHandler> {
    order->tenant = call->tenant;
    order->request_id = call->request_id;
    order->memory = call->request.memory;
    order->post = call->exchange.poster();
    std::string queued;
    if (openai::MaybeError error = BackgroundResponse::start(host, call->hub, *state.responses, std::move(*order),
                                                             std::move(prepared.request), queued)) {
      answer(state, *call, *error);
    } else {
      answer(state, *call, std::move(queued));
    }
    return nullptr;
  };
}

openai::Result<ParsedGeneration> parse(ServerState& state, const RouteCall& call, const ModelHost& host) {
  openai::Result<Json> body = openai::parse_json(call.request.body, host.request_limits);
  if (!body.ok()) {
    return std::move(body.error());
  }
  openai::Result<TurnPointer> previous = find_previous(state, call, body.value());
  if (!previous.ok()) {
    return std::move(previous.error());
  }
  const openai::Result<std::vector<Json>> history = read_history(previous.value(), host.request_limits, call);
  if (!history.ok()) {
    return history.error();
  }
  openai::Result<openai::ResponsesRequest> read =
      openai::read_responses_request(std::move(body.value()), history.value(), host.request_limits);
  if (!read.ok()) {
    return std::move(read.error());
  }
  openai::ResponsesRequest& request = read.value();
  openai::AnswerIdentity identity = identity_of(call, host);
  openai::ResponseHead head{"resp_" + choose_request_id(std::string_view()), identity.created_s,
                            std::move(identity.model), std::move(request.echo)};
  if (request.background && state.responses == nullptr) {
    return openai::not_supported("background",
                                 "this server stores no responses (--stored-responses 0): 'background' "
                                 "needs that");
  }
  ParsedGeneration parsed;
  if (request.background) {
    const auto order = std::make_shared<BackgroundResponse::Order>();
    order->head = std::move(head);
    order->input = std::move(request.input);
    order->previous = std::move(previous.value());
    parsed.start = start_in_background(order);
  } else if (request.store && state.responses != nullptr) {
    parsed.writer = std::make_shared<StoringWriter>(std::move(head), *state.responses, call.tenant,
                                                    std::move(request.input), std::move(previous.value()));
  } else {
    parsed.writer = std::make_shared<openai::ResponsesWriter>(std::move(head));
  }
  parsed.request = std::move(request.generation);
  return parsed;
}

// No template is rendered on the I/O thread.
std::unique_ptr<RequestHandler> create(ServerState& state, const CallPointer& call) {
  return generate(state, call, 0,
                  [&state](const RouteCall& asked, const ModelHost& host) { return parse(state, asked, host); });
}

openai::Result<std::string> write_token_count(ServerState& state, const RouteCall& call, const JobContext& job) {
  const ModelHost& host = *state.host.load();
  const openai::Result<ParsedGeneration> parsed = parse(state, call, host);
  if (!parsed.ok()) {
    return parsed.error();
  }
  const openai::Result<std::int64_t> tokens = count_prompt_tokens(parsed.value().request, host, job);
  return tokens.ok() ? openai::Result<std::string>(openai::write_input_tokens(tokens.value())) : tokens.error();
}

std::unique_ptr<RequestHandler> count(ServerState& state, const CallPointer& call) {
  return defer(
      state, call,
      [&state](const RouteCall& asked, const JobContext& job) { return write_token_count(state, asked, job); }, 0);
}

// --- what is stored --------------------------------------------------------------------------------------------------

// The stored response that a call names; none: it has been answered with 404.
std::optional<ResponseStore::Found> find(ServerState& state, const CallPointer& call) {
  std::optional<ResponseStore::Found> found;
  if (state.responses != nullptr) {
    found = state.responses->find(call->tenant, call->parts[0]);
  }
  if (!found) {
    answer(state, *call, no_response(call->parts[0]));
  }
  return found;
}

std::unique_ptr<RequestHandler> get(ServerState& state, const CallPointer& call) {
  if (query_value(*call, "stream") == "true") {
    answer(state, *call, openai::not_supported("stream", "a stored response is not streamed: leave out 'stream'"));
  } else if (std::optional<ResponseStore::Found> found = find(state, call)) {
    answer(state, *call, std::move(found->object));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> drop(ServerState& state, const CallPointer& call) {
  if (state.responses != nullptr && state.responses->erase(call->tenant, call->parts[0])) {
    answer(state, *call, openai::write_response_deleted(call->parts[0]));
  } else {
    answer(state, *call, no_response(call->parts[0]));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> cancel(ServerState& state, const CallPointer& call) {
  std::optional<ResponseStore::Found> found = find(state, call);
  if (!found) {
    return nullptr;
  }
  if (!found->is_background) {
    answer(state, *call, openai::bad_value("response_id", "only a response made with 'background' can be cancelled"));
    return nullptr;
  }
  found = state.responses->cancel(call->tenant, call->parts[0]);
  if (found) {
    answer(state, *call, std::move(found->object));
  } else {  // deleted between the two looks
    answer(state, *call, no_response(call->parts[0]));
  }
  return nullptr;
}

// --- input items -----------------------------------------------------------------------------------------------------

// All items that a response was made from, first to last. ERRORS: 413, 429 (memory); 500 for what was stored wrong.
openai::Result<std::vector<Json>> input_items(const StoredTurn& last, const openai::RequestLimits& limits,
                                              const JobContext& job) {
  std::vector<const StoredTurn*> turns;
  std::size_t bytes = 0;
  for (const StoredTurn* turn = &last; turn != nullptr; turn = turn->previous.get()) {
    turns.push_back(turn);
    bytes += turn->input.size() + turn->output.size();
  }
  if (openai::MaybeError error = job.hold(parsing_bytes(bytes, limits))) {
    return *std::move(error);
  }
  std::vector<Json> items;
  for (auto turn = turns.rbegin(); turn != turns.rend(); ++turn) {
    for (const std::string* const text : {&(*turn)->input, &(*turn)->output}) {
      if (text == &last.output) {
        continue;  // was made, not sent
      }
      const openai::Result<Json> list = openai::parse_json(*text, limits);
      if (!list.ok()) {
        return openai::internal_error(list.error().message);
      }
      for (std::size_t i = 0; i < list.value().size(); ++i) {
        items.push_back(openai::listed_item(list.value()[i], (*turn)->response_id, i));
      }
    }
  }
  return items;
}

struct Page {
  std::int64_t limit = kItemsDefault;
  bool is_ascending = false;
  std::string after;  // the id of the item before the page; "": the page is the first
};

openai::Result<Page> read_page(const RouteCall& call) {
  Page page;
  const std::string limit = query_value(call, "limit");
  if (!limit.empty()) {
    const auto [end, problem] = std::from_chars(limit.data(), limit.data() + limit.size(), page.limit);
    if (problem != std::errc() || end != limit.data() + limit.size() || page.limit < 1 || page.limit > kItemsMax) {
      return openai::bad_value(
          "limit", fmt::format("'limit' must be from 1 to {}; got '{}'", kItemsMax, limit.substr(0, kRequestIdMax)));
    }
  }
  const std::string order = query_value(call, "order");
  if (!order.empty() && order != "asc" && order != "desc") {
    return openai::bad_value("order", "'order' must be \"asc\" or \"desc\"");
  }
  page.is_ascending = order == "asc";
  page.after = query_value(call, "after");
  return page;
}

openai::Result<std::string> write_items(const StoredTurn& turn, const Page& page, const openai::RequestLimits& limits,
                                        const JobContext& job) {
  openai::Result<std::vector<Json>> read = input_items(turn, limits, job);
  if (!read.ok()) {
    return std::move(read.error());
  }
  std::vector<Json>& items = read.value();
  if (!page.is_ascending) {
    std::reverse(items.begin(), items.end());
  }
  auto first = items.begin();
  if (!page.after.empty()) {
    const auto before =
        std::find_if(items.begin(), items.end(), [&page](const Json& item) { return item["id"] == page.after; });
    if (before == items.end()) {
      return openai::bad_value("after", "'after' is the id of none of this response's input items");
    }
    first = std::next(before);
  }
  const auto last = first + std::min<std::ptrdiff_t>(page.limit, items.end() - first);
  return openai::write_item_list({first, last}, last != items.end());
}

std::unique_ptr<RequestHandler> list_items(ServerState& state, const CallPointer& call) {
  const openai::Result<Page> page = read_page(*call);
  if (!page.ok()) {
    answer(state, *call, page.error());
    return nullptr;
  }
  const std::optional<ResponseStore::Found> found = find(state, call);
  if (!found) {
    return nullptr;
  }
  if (found->turn == nullptr) {
    answer(state, *call, openai::bad_value("response_id", "the response is not complete: its items come with its end"));
    return nullptr;
  }
  const auto write = [&host = *state.host.load(), turn = found->turn, page = page.value()](const RouteCall& /*asked*/,
                                                                                           const JobContext& job) {
    return write_items(*turn, page, host.request_limits, job);
  };
  return defer(state, call, write, 0);
}

Operation describe_create(const openai::RequestLimits& limits) {
  return {.name = "createResponse",
          .summary = "Continues a conversation of items, given or stored.",
          .body = openai::response_request_schema(limits),
          .answer = openai::response_schema(),
          .event = openai::response_event_schema()};
}

Operation describe_count(const openai::RequestLimits& limits) {
  return {.name = "countResponseTokens",
          .summary = "The number of a conversation's tokens.",
          .body = openai::response_request_schema(limits),
          .answer = openai::response_input_tokens_schema()};
}

Operation describe_get(const openai::RequestLimits& /*limits*/) {
  return {.name = "retrieveResponse", .summary = "A stored response.", .answer = openai::response_schema()};
}

Operation describe_drop(const openai::RequestLimits& /*limits*/) {
  return {.name = "deleteResponse", .summary = "Drops a stored response.", .answer = openai::response_deleted_schema()};
}

Operation describe_cancel(const openai::RequestLimits& /*limits*/) {
  return {.name = "cancelResponse",
          .summary = "Ends a response that is made in the background.",
          .answer = openai::response_schema()};
}

Operation describe_items(const openai::RequestLimits& /*limits*/) {
  return {.name = "listResponseInputItems",
          .summary = "All items that a stored response was made from.",
          .answer = openai::response_input_items_schema(),
          .query = {{"limit", openai::Schema::integer(1, kItemsMax), "Most items of a page. Default: 20."},
                    {"order", openai::Schema::word({"asc", "desc"}), "Default: desc, the newest first."},
                    {"after", openai::Schema::string(), "The id of the item before the page."}}};
}

constexpr Route kRoutes[] = {
    {.method = "POST",
     .path = "/v1/responses",
     .action = &create,
     .describe = &describe_create,
     .ends_by_deadline = true},
    {.method = "POST", .path = "/v1/responses/input_tokens", .action = &count, .describe = &describe_count},
    {.method = "GET", .path = "/v1/responses/{id}", .action = &get, .describe = &describe_get},
    {.method = "DELETE", .path = "/v1/responses/{id}", .action = &drop, .describe = &describe_drop},
    {.method = "POST", .path = "/v1/responses/{id}/cancel", .action = &cancel, .describe = &describe_cancel},
    {.method = "GET", .path = "/v1/responses/{id}/input_items", .action = &list_items, .describe = &describe_items},
};

}  // namespace

std::span<const Route> responses_routes() {
  return kRoutes;
}

}  // namespace coppice::server
