// The routes about the server itself: is it alive, is it ready, which version, its metrics. They need no key.
#include <chrono>

#include "proto/openai/json_writer.h"
#include "server/config/version.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

// For who starts the process anew when it does not get on. Loading and draining are no reason for that.
std::unique_ptr<RequestHandler> live(ServerState& state, const CallPointer& call) {
  if (state.engine_is_stuck) {
    answer_with(state, *call, openai::kUnavailableStatus, R"({"status":"stuck"})");
  } else {
    answer(state, *call, R"({"status":"ok"})");
  }
  return nullptr;
}

// What routers and test suites wait for before they send requests.
std::unique_ptr<RequestHandler> health(ServerState& state, const CallPointer& call) {
  const Phase phase = state.phase.load();
  if (phase == Phase::kStarting) {
    answer_with(state, *call, openai::kUnavailableStatus, R"({"status":"loading"})");
  } else if (phase == Phase::kDraining) {
    answer_with(state, *call, openai::kUnavailableStatus, R"({"status":"draining"})");
  } else if (state.engine_is_stuck) {
    answer_with(state, *call, openai::kUnavailableStatus, R"({"status":"stuck"})");
  } else {
    answer(state, *call, R"({"status":"ok"})");
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> ready(ServerState& state, const CallPointer& call) {
  openai::MaybeError error = state.refusal();
  if (!error && state.engine_is_stuck) {
    error = openai::unavailable("engine_stuck", "requests wait but the engine does not step", 1);
  }
  if (error) {
    answer(state, *call, *error);
  } else {
    answer(state, *call, R"({"status":"ready"})");
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> version(ServerState& state, const CallPointer& call) {
  openai::JsonWriter out;
  out.begin_object().key("version").string(kVersion).end_object();
  answer(state, *call, out.take());
  return nullptr;
}

std::unique_ptr<RequestHandler> metrics(ServerState& state, const CallPointer& call) {
  const ModelHost* const host = state.host.load();
  ServerGauges gauges;
  gauges.connections = state.http_connections.load();
  gauges.ready = state.phase.load() == Phase::kServing && !state.engine_is_stuck;
  gauges.uptime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - state.started).count();
  gauges.page_size = host == nullptr ? 0 : host->engine_limits.page_size;
  if (host != nullptr && host->grammars != nullptr) {
    gauges.grammars = host->grammars->numbers();
  }
  const engine::EngineStats stats = host == nullptr ? engine::EngineStats() : host->engine->stats();
  answer(state, *call, state.metrics.page(stats, gauges), "text/plain; version=0.0.4; charset=utf-8");
  return nullptr;
}

openai::Schema status_schema(const char* word) {
  return openai::Schema::object({openai::required("status", openai::Schema::word({word}))});
}

Operation describe_health(const openai::RequestLimits& /*limits*/) {
  return {.name = "getHealth",
          .summary = "Whether the server takes requests; else 503 with the status `loading`, `draining` or `stuck`.",
          .answer = status_schema("ok")};
}

Operation describe_live(const openai::RequestLimits& /*limits*/) {
  return {.name = "getLive",
          .summary =
              "200 unless the engine stands still with work to do: then 503, and the process should be started "
              "anew if that lasts. Loading and draining are no failures here.",
          .answer = status_schema("ok")};
}

Operation describe_ready(const openai::RequestLimits& /*limits*/) {
  return {.name = "getReady",
          .summary = "The same as `/health`, with the error that a request would get.",
          .answer = status_schema("ready")};
}

Operation describe_version(const openai::RequestLimits& /*limits*/) {
  return {.name = "getVersion",
          .summary = "The server's version.",
          .answer = openai::Schema::object({openai::required("version", openai::Schema::string(1))})};
}

Operation describe_metrics(const openai::RequestLimits& /*limits*/) {
  return {.name = "getMetrics",
          .summary = "Counters and gauges for Prometheus.",
          .answer = openai::Schema::string(1),
          .content_types = {"text/plain"}};
}

constexpr Route public_route(std::string_view path, Route::Action action, Describe describe) {
  return {.method = "GET",
          .path = path,
          .action = action,
          .access = Access::kPublic,
          .availability = Availability::kAlways,
          .describe = describe};
}

constexpr Route kRoutes[] = {
    public_route("/health", &health, &describe_health),    public_route("/live", &live, &describe_live),
    public_route("/ready", &ready, &describe_ready),       public_route("/version", &version, &describe_version),
    public_route("/metrics", &metrics, &describe_metrics),
};

}  // namespace

std::span<const Route> server_routes() {
  return kRoutes;
}

}  // namespace coppice::server
