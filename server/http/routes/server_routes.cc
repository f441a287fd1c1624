// The routes about the server itself: is it alive, is it ready, which version, its metrics. They need no key.
#include <chrono>

#include "proto/openai/json_writer.h"
#include "server/config/version.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

std::unique_ptr<RequestHandler> live(ServerState& state, const CallPointer& call) {
  answer(state, *call, R"({"status":"ok"})");
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
  const engine::EngineStats stats = host == nullptr ? engine::EngineStats() : host->engine->stats();
  answer(state, *call, state.metrics.page(stats, gauges), "text/plain; version=0.0.4; charset=utf-8");
  return nullptr;
}

constexpr Route public_route(std::string_view path, Route::Action action) {
  return {"GET", path, action, Access::kPublic, Availability::kAlways};
}

constexpr Route kRoutes[] = {
    public_route("/health", &live),     public_route("/live", &live),       public_route("/ready", &ready),
    public_route("/version", &version), public_route("/metrics", &metrics),
};

}  // namespace

std::span<const Route> server_routes() {
  return kRoutes;
}

}  // namespace coppice::server
