// What routers in front of several servers ask: what is served, where KV events are published, and which tokens a
// request's prompt becomes, in the forms that vLLM's router reads.
#include <utility>

#include "proto/openai/generation_schema.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/object_schema.h"
#include "proto/openai/parse_request.h"
#include "server/config/version.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"
#include "server/kv_events/kv_events.h"
#include "server/sessions/prepared_request.h"

namespace coppice::server {
namespace {

using openai::Schema;

constexpr std::int64_t kEventSchemaVersion = 1;  // of KV events, as vLLM numbers it
constexpr std::size_t kTokenAnswerBytes = 12;    // of one token id in JSON

std::unique_ptr<RequestHandler> server_info(ServerState& state, const CallPointer& call) {
  const ModelHost& host = *state.host.load();
  openai::JsonWriter out;
  // Other names for a field that is here, model_path and block_size, would be read as the field given twice.
  out.begin_object().key("model_id").string(host.name).key("instance_id").string(state.instance_id);
  out.key("kv_block_size").integer(host.engine_limits.page_size);
  out.key("kv_blocks").integer(host.engine_limits.pages);
  out.key("max_model_len").integer(host.request_limits.model_tokens_max);
  out.key("max_running_requests").integer(host.engine_limits.running_max);
  out.key("version").string(kVersion).end_object();
  answer(state, *call, out.take());
  return nullptr;
}

// By rank of data parallelism, of which there is one.
std::unique_ptr<RequestHandler> event_sources(ServerState& state, const CallPointer& call) {
  openai::JsonWriter out;
  out.begin_object();
  if (const ZmqFeed* feed = state.kv_events == nullptr ? nullptr : state.kv_events->feed()) {
    out.key("0").begin_object().key("endpoint").string(feed->endpoint());
    out.key("replay_endpoint").string(feed->replay_endpoint()).key("topic").string("");
    out.key("publisher").string("zmq").key("encoding").string("msgpack");
    out.key("schema_version").integer(kEventSchemaVersion).key("enable_kv_cache_events").boolean(true).end_object();
  }
  out.end_object();
  answer(state, *call, out.take());
  return nullptr;
}

void write_rendered(openai::JsonWriter& out, const PreparedRequest& prepared, std::size_t index,
                    const std::string& request_id) {
  out.begin_object().key("request_id").string(request_id).key("token_ids").begin_array();
  for (const TokenId token : prepared.prompts[index].tokens) {
    out.integer(token);
  }
  out.end_array().key("model").string(prepared.request.model);
  if (!prepared.request.cache_salt.empty()) {
    out.key("cache_salt").string(prepared.request.cache_salt);
  }
  out.end_object();
}

// The tokens of the prompts of a request that is not run: one object, or a list of one for each prompt.
template <typename Parse>
WriteBody render(const ModelHost& host, Parse parse, bool is_list) {
  return [&host, parse, is_list](const RouteCall& asked, const JobContext& job) -> openai::Result<std::string> {
    openai::Result<openai::GenerationRequest> parsed = parse(asked.request.body, host.request_limits);
    if (!parsed.ok()) {
      return std::move(parsed.error());
    }
    openai::Result<PreparedRequest> prepared = prepare(std::move(parsed.value()), host, job);
    if (!prepared.ok()) {
      return std::move(prepared.error());
    }
    std::size_t tokens = 0;
    for (const PreparedRequest::Prompt& prompt : prepared.value().prompts) {
      tokens += prompt.tokens.size();
    }
    if (openai::MaybeError error = job.hold(tokens * kTokenAnswerBytes)) {
      return *std::move(error);
    }
    openai::JsonWriter out;
    if (is_list) {
      out.begin_array();
    }
    for (std::size_t i = 0; i < prepared.value().prompts.size(); ++i) {
      write_rendered(out, prepared.value(), i, asked.request_id);
    }
    if (is_list) {
      out.end_array();
    }
    return out.take();
  };
}

std::unique_ptr<RequestHandler> render_chat(ServerState& state, const CallPointer& call) {
  return defer(state, call, render(*state.host.load(), &openai::parse_chat_request, /*is_list=*/false), /*here_max=*/0);
}

std::unique_ptr<RequestHandler> render_completion(ServerState& state, const CallPointer& call) {
  return defer(state, call, render(*state.host.load(), &openai::parse_completion_request, /*is_list=*/true));
}

Operation describe_server_info(const openai::RequestLimits& /*limits*/) {
  return {.name = "getServerInfo",
          .summary = "What is served, and the size of a block of the prefix cache in tokens, for routers.",
          .answer = Schema::map(Schema::any())};
}

Operation describe_event_sources(const openai::RequestLimits& /*limits*/) {
  return {.name = "getKvEventSources",
          .summary = "Where KV events are published (`--kv-events`), for routers; `{}` if nowhere.",
          .answer = Schema::map(Schema::any())};
}

Schema rendered_schema() {
  return Schema::object({openai::required("request_id", Schema::string(1)),
                         openai::required("token_ids", Schema::array(Schema::integer(0))),
                         openai::required("model", Schema::string()),
                         openai::optional("cache_salt", Schema::string(1))})
      .named("RenderedPrompt");
}

Operation describe_render_chat(const openai::RequestLimits& limits) {
  return {.name = "renderChat",
          .summary = "The token ids of the prompt of such a request, which is not run.",
          .body = openai::chat_schema(limits),
          .answer = rendered_schema()};
}

Operation describe_render_completion(const openai::RequestLimits& limits) {
  return {.name = "renderCompletion",
          .summary = "The token ids of each prompt of such a request, which is not run.",
          .body = openai::completion_schema(limits),
          .answer = Schema::array(rendered_schema())};
}

constexpr Route kRoutes[] = {
    {.method = "GET",
     .path = "/get_server_info",
     .action = &server_info,
     .access = Access::kPublic,
     .describe = &describe_server_info},
    {.method = "GET",
     .path = "/kv_event_sources",
     .action = &event_sources,
     .access = Access::kPublic,
     .describe = &describe_event_sources},
    {.method = "POST",
     .path = "/v1/chat/completions/render",
     .action = &render_chat,
     .describe = &describe_render_chat},
    {.method = "POST",
     .path = "/v1/completions/render",
     .action = &render_completion,
     .describe = &describe_render_completion},
};

}  // namespace

std::span<const Route> fleet_routes() {
  return kRoutes;
}

}  // namespace coppice::server
