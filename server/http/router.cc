// Finding a request's route, and what is checked before it may act.
#include "server/http/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "server/http/routes/route_table.h"
#include "server/sessions/request_id.h"

namespace coppice::server {
namespace {

// Without the query, and without a slash at its end: "/v1/models/" is "/v1/models".
std::string_view path_of(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

// Clients of Anthropic's say so in a header, whatever they ask for; to its own routes everybody speaks its language.
ErrorDialect dialect_of(const HttpRequest& head) {
  if (!head.header("anthropic-version").empty()) {
    return ErrorDialect::kAnthropic;
  }
  std::vector<std::string> parts;
  for (const Route& route : all_routes()) {
    if (route.dialect != ErrorDialect::kOpenai && matches_path(route.path, path_of(head.target), parts)) {
      return route.dialect;
    }
  }
  return ErrorDialect::kOpenai;
}

// The name that Anthropic's clients read the request's id by.
constexpr const char* kAnthropicIdHeader = "request-id";

bool takes_body(const Route& route) {
  return route.method != "GET" && route.method != "DELETE";
}

// Sets the call's deadline where the client sent one. ERRORS: 400 when it is no number of milliseconds.
openai::MaybeError read_timeout(RouteCall& call) {
  const std::string_view text = call.request.header(kTimeoutHeader);
  if (text.empty()) {
    return std::nullopt;
  }
  std::int64_t milliseconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), milliseconds);
  if (error != std::errc() || end != text.data() + text.size() || milliseconds < 1 || milliseconds > kTimeoutMostMs) {
    return openai::bad_value(
        kTimeoutHeader, fmt::format("the header {} must be a number from 1 to {}", kTimeoutHeader, kTimeoutMostMs));
  }
  call.deadline = call.arrival + std::chrono::milliseconds(milliseconds);
  return std::nullopt;
}

}  // namespace

std::string choose_request_id(const HttpRequest& request) {
  return choose_request_id(request.header("x-request-id"));
}

HttpResponse Router::refuse(const openai::ApiError& error, const HttpRequest* head) {
  state_.metrics.count_answer("http", "none", error.status);
  const std::string request_id = choose_request_id(head == nullptr ? "" : head->header("x-request-id"));
  const ErrorDialect dialect = head == nullptr ? ErrorDialect::kOpenai : dialect_of(*head);
  HttpResponse response = error_response(error, request_id, dialect);
  if (dialect == ErrorDialect::kAnthropic) {
    response.headers.emplace_back(kAnthropicIdHeader, request_id);
  }
  return response;
}

openai::Result<std::string> Router::tenant_of_request(const HttpRequest& head) const {
  if (!state_.keys.required()) {
    return std::string();
  }
  const std::string_view authorization = head.header("authorization");
  const std::string_view key = head.header("x-api-key");
  std::optional<std::string> tenant = state_.keys.tenant_of_bearer(authorization);
  if (!tenant && !key.empty()) {
    tenant = state_.keys.tenant(key);
  }
  if (!tenant) {
    return openai::unauthorized(authorization.empty() && key.empty()
                                    ? "an API key is required: send the header 'Authorization: Bearer KEY' or "
                                      "'x-api-key: KEY'"
                                    : "the API key is not known here");
  }
  return *std::move(tenant);
}

// Sets the route or the error; `parts` is what stood for the names in the route's path.
void Router::find_route(const HttpRequest& head, Admission& found) const {
  const std::string_view path = path_of(head.target);
  const std::string_view method = head.method == "HEAD" ? "GET" : std::string_view(head.method);
  const std::span<const Route> routes = all_routes();
  // A path that a row spells out is not also one of another row's names. Names stand for what comes, not for
  // themselves:
  // "/v1/models/{model...}" is a path with the model "{model...}".
  const bool is_spelled_out = std::any_of(routes.begin(), routes.end(), [&path](const Route& route) {
    return route.path == path && route.path.find('{') == std::string_view::npos;
  });
  for (const Route& route : routes) {
    const bool is_here = route.access == Access::kPublic || routes_ == RouteSet::kAll ||
                         (routes_ == RouteSet::kAdministration) == (route.purpose == Purpose::kAdministration);
    if (!is_here || (is_spelled_out ? route.path != path : !matches_path(route.path, path, found.parts))) {
      continue;
    }
    if (method == route.method) {
      found.route = &route;
      return;
    }
    found.parts.clear();
    found.allowed +=
        (found.allowed.empty() ? "" : ", ") + std::string(route.method == "GET" ? "GET, HEAD" : route.method);
  }
  found.error = openai::not_found("", "unknown_route", fmt::format("no route {} {}; see /", method, path));
  if (!found.allowed.empty()) {
    found.error->status = 405;
    found.error->type = "invalid_request_error";
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
  if (found.route->access != Access::kPublic) {
    admit_caller(head, has_body, found);
  }
  if (!found.error && found.route->availability == Availability::kWhileServing) {
    found.error = state_.turn_away();
  }
  return found;
}

void Router::admit_caller(const HttpRequest& head, bool has_body, Admission& found) const {
  found.error = guard_.check_origin(head);
  if (found.error) {
    return;
  }
  openai::Result<std::string> tenant = tenant_of_request(head);
  if (!tenant.ok()) {
    found.error = std::move(tenant.error());
    return;
  }
  found.tenant = std::move(tenant.value());
  if (has_body) {
    found.error = found.route->body == BodyKind::kForm ? BrowserGuard::check_form_type(head)
                                                       : BrowserGuard::check_content_type(head);
  }
}

openai::Result<std::string> Router::admit_body(const HttpRequest& head) {
  Admission found = admit(head, /*has_body=*/true);
  if (!found.error && !takes_body(*found.route)) {
    found.error = openai::too_large(fmt::format("{} {} takes no body", found.route->method, found.route->path));
  }
  return found.error ? openai::Result<std::string>(*std::move(found.error)) : std::move(found.tenant);
}

std::unique_ptr<RequestHandler> Router::handle(HttpRequest request, Exchange& exchange, SessionHub& hub) {
  const auto call = std::make_shared<RouteCall>(
      RouteCall{std::move(request), "", "", "none", {}, "", ErrorDialect::kOpenai, exchange, hub});
  call->request_id = choose_request_id(call->request);
  call->path = path_of(call->request.target);
  call->dialect = dialect_of(call->request);
  if (call->dialect == ErrorDialect::kAnthropic) {
    exchange.add_header(kAnthropicIdHeader, call->request_id);
  }
  guard_.add_headers(call->request, exchange);
  Admission found = admit(call->request, !call->request.body.empty());
  // What has no deadline does not look at it: what a proxy adds to every request must not fail a probe.
  if (!found.error && found.route->ends_by_deadline) {
    found.error = read_timeout(*call);
  }
  if (found.route != nullptr) {
    call->route = found.route->path;
    call->parts = std::move(found.parts);
    call->tenant = std::move(found.tenant);
    if (call->request.memory != nullptr) {
      call->request.memory->set_tenant(call->tenant);
    }
    if (!found.error) {
      return found.route->action(state_, call);
    }
  } else if (std::optional<HttpResponse> response;
             !found.allowed.empty() && (response = guard_.preflight(call->request))) {
    exchange.respond(*std::move(response));
    return nullptr;
  }
  state_.metrics.count_answer("http", call->route, found.error->status);
  HttpResponse response = error_response(*found.error, call->request_id, call->dialect);
  if (!found.allowed.empty()) {
    response.headers.emplace_back("allow", found.allowed);
  }
  exchange.respond(std::move(response));
  return nullptr;
}

}  // namespace coppice::server
