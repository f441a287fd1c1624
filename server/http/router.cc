// The table of routes, and the routes that answer at once.
#include "server/http/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proto/openai/corpus.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/write_objects.h"
#include "server/config/version.h"
#include "server/http/console_page.h"
#include "server/http/generation_handler.h"
#include "server/http/text_routes.h"
#include "server/sessions/request_id.h"

namespace coppice::server {
namespace {

enum class Access : std::uint8_t { kKey, kPublic };
enum class Match : std::uint8_t { kExact, kPrefix };
enum class Purpose : std::uint8_t { kInference, kAdministration };

// Bytes of a body that the I/O thread reads and tokenises itself: less work than handing it over, and never more than a
// millisecond or two.
constexpr std::size_t kHereMax = 4096;

// Decodes percent escapes; a malformed one stays as it is.
std::string decode_path(std::string_view path) {
  const auto digit = [](char c) -> int {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size() && digit(path[i + 1]) >= 0 && digit(path[i + 2]) >= 0) {
      out += static_cast<char>(digit(path[i + 1]) * 16 + digit(path[i + 2]));
      i += 2;
    } else {
      out += path[i];
    }
  }
  return out;
}

// The decoded value of a query parameter; "" when it is absent.
std::string query_value(const RouteCall& call, std::string_view name) {
  const std::string_view target = call.request.target;
  const std::size_t mark = target.find('?');
  std::string_view rest = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    if (pair.substr(0, pair.find('=')) == name && pair.size() > name.size()) {
      return decode_path(pair.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
  }
  return "";
}

std::string_view path_of(std::string_view target) {
  return target.substr(0, target.find('?'));
}

// The body has been read: what it held is gone, and no longer paid for.
void drop_body(RouteCall& call) {
  call.request.body = {};
  if (call.request.memory != nullptr) {
    (void)call.request.memory->set(MemoryPart::kBody, 0);
  }
}

openai::ModelCard make_card(const ModelHost& host) {
  return {host.name, host.created_s, host.request_limits.model_tokens_max};
}

}  // namespace

struct Route {
  std::string_view method;
  std::string_view path;
  Match match;
  Access access;
  bool needs_model;
  Purpose purpose;
  Router::Action action;
};

const Route Router::kRoutes[] = {
    {"POST", "/v1/completions", Match::kExact, Access::kKey, true, Purpose::kInference, &Router::completions},
    {"POST", "/v1/chat/completions", Match::kExact, Access::kKey, true, Purpose::kInference, &Router::chat_completions},
    {"GET", "/v1/models", Match::kExact, Access::kKey, true, Purpose::kInference, &Router::models},
    {"GET", "/v1/models/", Match::kPrefix, Access::kKey, true, Purpose::kInference, &Router::model},
    {"POST", "/tokenize", Match::kExact, Access::kKey, true, Purpose::kInference, &Router::tokenize},
    {"POST", "/detokenize", Match::kExact, Access::kKey, true, Purpose::kInference, &Router::detokenize},
    {"POST", "/v1/speculation/corpora", Match::kExact, Access::kKey, true, Purpose::kAdministration,
     &Router::add_corpus},
    {"GET", "/v1/speculation/corpora", Match::kExact, Access::kKey, true, Purpose::kAdministration, &Router::corpora},
    {"DELETE", "/v1/speculation/corpora/", Match::kPrefix, Access::kKey, true, Purpose::kAdministration,
     &Router::drop_corpus},
    {"GET", "/health", Match::kExact, Access::kPublic, false, Purpose::kInference, &Router::live},
    {"GET", "/live", Match::kExact, Access::kPublic, false, Purpose::kInference, &Router::live},
    {"GET", "/ready", Match::kExact, Access::kPublic, false, Purpose::kInference, &Router::ready},
    {"GET", "/version", Match::kExact, Access::kPublic, false, Purpose::kInference, &Router::version},
    {"GET", "/metrics", Match::kExact, Access::kPublic, false, Purpose::kInference, &Router::metrics},
    {"GET", "/", Match::kExact, Access::kPublic, false, Purpose::kInference, &Router::front_page},
};

std::string choose_request_id(const HttpRequest& request) {
  return choose_request_id(request.header("x-request-id"));
}

HttpResponse error_response(const openai::ApiError& error, const std::string& request_id) {
  HttpResponse response;
  response.status = error.status;
  response.body = openai::write_error(error);
  response.headers.emplace_back("x-request-id", request_id);
  if (error.retry_after_s > 0) {
    response.headers.emplace_back("retry-after", fmt::format("{}", error.retry_after_s));
  }
  if (error.status == 401) {
    response.headers.emplace_back("www-authenticate", "Bearer");
  }
  return response;
}

HttpResponse Router::refuse(const openai::ApiError& error) {
  state_.metrics.count_answer("http", "none", error.status);
  return error_response(error, choose_request_id(std::string_view()));
}

void Router::answer(RouteCall& call, std::string body, std::string content_type) {
  state_.metrics.count_answer("http", call.route, 200);
  HttpResponse response;
  response.body = std::move(body);
  response.content_type = std::move(content_type);
  response.headers.emplace_back("x-request-id", call.request_id);
  call.exchange.respond(std::move(response));
}

void Router::answer(RouteCall& call, const openai::ApiError& error) {
  state_.metrics.count_answer("http", call.route, error.status);
  call.exchange.respond(error_response(error, call.request_id));
}

openai::Result<std::string> Router::tenant_of_request(const HttpRequest& head) const {
  if (!state_.keys.required()) {
    return std::string();
  }
  const std::string_view authorization = head.header("authorization");
  std::optional<std::string> tenant = state_.keys.tenant_of_bearer(authorization);
  if (!tenant) {
    return openai::unauthorized(authorization.empty()
                                    ? "an API key is required: send the header 'Authorization: Bearer KEY'"
                                    : "the API key is not known here");
  }
  return *std::move(tenant);
}

void Router::find_route(const HttpRequest& head, Admission& found) const {
  const std::string_view path = path_of(head.target);
  const std::string_view method = head.method == "HEAD" ? "GET" : std::string_view(head.method);
  for (const Route& route : kRoutes) {
    const bool is_here = route.access == Access::kPublic || routes_ == RouteSet::kAll ||
                         (routes_ == RouteSet::kAdministration) == (route.purpose == Purpose::kAdministration);
    const bool matches = route.match == Match::kExact ? path == route.path : path.starts_with(route.path);
    if (!is_here || !matches) {
      continue;
    }
    if (method == route.method) {
      found.route = &route;
      return;
    }
    found.allowed = route.method;
  }
  found.error = openai::not_found("", "unknown_route", fmt::format("no route {} {}; see /", method, path));
  if (!found.allowed.empty()) {
    found.error->status = 405;
    found.error->code = "method_not_allowed";
    found.error->message = openai::bounded_message(fmt::format("{} takes {} only", path, found.allowed));
  }
}

Router::Admission Router::admit(const HttpRequest& head, bool has_body) const {
  Admission found;
  found.error = guard_.check_host(head);
  if (found.error) {
    return found;
  }
  find_route(head, found);
  if (found.error) {
    return found;
  }
  if (found.route->access == Access::kPublic) {
    return found;
  }
  found.error = guard_.check_origin(head);
  if (found.error) {
    return found;
  }
  openai::Result<std::string> tenant = tenant_of_request(head);
  if (!tenant.ok()) {
    found.error = std::move(tenant.error());
    return found;
  }
  found.tenant = std::move(tenant.value());
  found.error = has_body ? BrowserGuard::check_content_type(head) : std::nullopt;
  if (!found.error && found.route->needs_model) {
    found.error = state_.refusal();
  }
  return found;
}

openai::Result<std::string> Router::admit_body(const HttpRequest& head) {
  Admission found = admit(head, /*has_body=*/true);
  return found.error ? openai::Result<std::string>(*std::move(found.error)) : std::move(found.tenant);
}

std::unique_ptr<RequestHandler> Router::handle(HttpRequest request, Exchange& exchange, SessionHub& hub) {
  const auto call = std::make_shared<RouteCall>(RouteCall{std::move(request), "", "", "none", "", exchange, hub});
  call->request_id = choose_request_id(call->request);
  call->path = path_of(call->request.target);
  guard_.add_headers(call->request, exchange);
  Admission found = admit(call->request, !call->request.body.empty());
  if (found.route != nullptr) {
    call->route = found.route->path;
    call->tenant = std::move(found.tenant);
    if (!found.error) {
      return (this->*found.route->action)(call);
    }
  } else if (std::optional<HttpResponse> response;
             !found.allowed.empty() && (response = guard_.preflight(call->request))) {
    exchange.respond(*std::move(response));
    return nullptr;
  }
  state_.metrics.count_answer("http", call->route, found.error->status);
  HttpResponse response = error_response(*found.error, call->request_id);
  if (!found.allowed.empty()) {
    response.headers.emplace_back("allow", found.allowed == "GET" ? "GET, HEAD" : found.allowed);
  }
  exchange.respond(std::move(response));
  return nullptr;
}

// On the pool.
DeferredHandler::Finish Router::prepare_generation(const CallPointer& call, Parse parse, const JobContext& job) {
  const ModelHost& host = *state_.host.load();
  const auto refused = [this, call](openai::ApiError error) {
    return [this, call, error = std::move(error)]() -> std::unique_ptr<RequestHandler> {
      answer(*call, error);
      return nullptr;
    };
  };
  if (openai::MaybeError error = job.hold(parsing_bytes(call->request.body.size(), host.request_limits))) {
    return refused(*std::move(error));
  }
  openai::Result<openai::GenerationRequest> parsed = parse(call->request.body, host.request_limits);
  drop_body(*call);
  if (!parsed.ok()) {
    return refused(std::move(parsed.error()));
  }
  const auto handler = std::make_shared<GenerationHandler::Prepared>(*call, host, parsed.value());
  openai::Result<PreparedRequest> prepared = prepare(std::move(parsed.value()), host, job);
  if (!prepared.ok()) {
    return refused(std::move(prepared.error()));
  }
  handler->request = std::move(prepared.value());
  return [this, call, &host, handler] { return GenerationHandler::start(state_, host, call, std::move(*handler)); };
}

std::unique_ptr<RequestHandler> Router::generate(const CallPointer& call, std::size_t here_max, Parse parse) {
  return DeferredHandler::start(
      state_, call, here_max,
      [this, call, parse](const JobContext& job) { return prepare_generation(call, parse, job); },
      [this, call](const openai::ApiError& error) { answer(*call, error); });
}

std::unique_ptr<RequestHandler> Router::defer(const CallPointer& call, Write write) {
  const auto work = [this, call, write = std::move(write)](const JobContext& job) -> DeferredHandler::Finish {
    const openai::RequestLimits& limits = state_.host.load()->request_limits;
    openai::MaybeError no_memory = job.hold(parsing_bytes(call->request.body.size(), limits));
    auto written = std::make_shared<openai::Result<std::string>>(
        no_memory ? openai::Result<std::string>(*std::move(no_memory)) : write(*call, job));
    drop_body(*call);
    return [this, call, written]() -> std::unique_ptr<RequestHandler> {
      if (written->ok()) {
        answer(*call, std::move(written->value()));
      } else {
        answer(*call, written->error());
      }
      return nullptr;
    };
  };
  return DeferredHandler::start(state_, call, kHereMax, work,
                                [this, call](const openai::ApiError& error) { answer(*call, error); });
}

std::unique_ptr<RequestHandler> Router::completions(const CallPointer& call) {
  return generate(call, kHereMax, openai::parse_completion_request);
}

// What a template makes of a short conversation has no bound by its length.
std::unique_ptr<RequestHandler> Router::chat_completions(const CallPointer& call) {
  return generate(call, 0, openai::parse_chat_request);
}

std::unique_ptr<RequestHandler> Router::models(const CallPointer& call) {
  const std::array<openai::ModelCard, 1> cards = {make_card(*state_.host.load())};
  answer(*call, openai::write_model_list(cards));
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::model(const CallPointer& call) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const ModelHost& host = *state_.host.load();
  const std::string id = decode_path(call->path.substr(kPrefix.size()));
  if (id.empty()) {
    answer(*call, openai::not_found("model", "model_not_found", "the path ends without a model's name"));
  } else if (const openai::MaybeError error = host.check_model(id)) {
    answer(*call, *error);
  } else {
    answer(*call, openai::write_model(make_card(host)));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::tokenize(const CallPointer& call) {
  return defer(call, [&host = *state_.host.load()](const RouteCall& asked, const JobContext& job) {
    return write_tokens(host, asked.request.body, job);
  });
}

std::unique_ptr<RequestHandler> Router::detokenize(const CallPointer& call) {
  return defer(call, [&host = *state_.host.load()](const RouteCall& asked, const JobContext& job) {
    return write_text(host, asked.request.body, job);
  });
}

std::unique_ptr<RequestHandler> Router::add_corpus(const CallPointer& call) {
  return defer(call, [&host = *state_.host.load()](const RouteCall& asked, const JobContext& /*job*/) {
    return write_new_corpus(host, asked.tenant, asked.request.body);
  });
}

std::unique_ptr<RequestHandler> Router::corpora(const CallPointer& call) {
  Corpora* const corpora = state_.host.load()->corpora.get();
  if (corpora == nullptr) {
    answer(*call, no_corpora());
  } else {
    answer(*call, openai::write_corpus_list(corpora->list(tenant_of(call->tenant, query_value(*call, "cache_salt")))));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::drop_corpus(const CallPointer& call) {
  constexpr std::string_view kPrefix = "/v1/speculation/corpora/";
  Corpora* const corpora = state_.host.load()->corpora.get();
  if (corpora == nullptr) {
    answer(*call, no_corpora());
    return nullptr;
  }
  const std::string name = decode_path(call->path.substr(kPrefix.size()));
  if (const openai::MaybeError error = corpora->drop(tenant_of(call->tenant, query_value(*call, "cache_salt")), name)) {
    answer(*call, *error);
  } else {
    answer(*call, openai::write_corpus_deleted(name));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::live(const CallPointer& call) {
  answer(*call, R"({"status":"ok"})");
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::ready(const CallPointer& call) {
  openai::MaybeError error = state_.refusal();
  if (!error && state_.engine_is_stuck) {
    error = openai::unavailable("engine_stuck", "requests wait but the engine does not step", 1);
  }
  if (error) {
    answer(*call, *error);
  } else {
    answer(*call, R"({"status":"ready"})");
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::version(const CallPointer& call) {
  openai::JsonWriter out;
  out.begin_object().key("version").string(kVersion).end_object();
  answer(*call, out.take());
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::metrics(const CallPointer& call) {
  const ModelHost* const host = state_.host.load();
  ServerGauges gauges;
  gauges.connections = state_.http_connections.load();
  gauges.ready = state_.phase.load() == Phase::kServing && !state_.engine_is_stuck;
  gauges.uptime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - state_.started).count();
  gauges.page_size = host == nullptr ? 0 : host->engine_limits.page_size;
  const engine::EngineStats stats = host == nullptr ? engine::EngineStats() : host->engine->stats();
  answer(*call, state_.metrics.page(stats, gauges), "text/plain; version=0.0.4; charset=utf-8");
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::front_page(const CallPointer& call) {
  const ModelHost* const host = state_.host.load();
  // The page needs nothing from elsewhere, and no page has a reason to frame it.
  call->exchange.add_header("content-security-policy",
                            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
                            "frame-ancestors 'none'");
  call->exchange.add_header("x-frame-options", "DENY");
  call->exchange.add_header("x-content-type-options", "nosniff");
  answer(*call, console_page(host == nullptr ? "(loading)" : host->name, call->request.header("host")),
         "text/html; charset=utf-8");
  return nullptr;
}

}  // namespace coppice::server
