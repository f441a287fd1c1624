// Host, Origin, Sec-Fetch-Site, Content-Type.
#include "server/http/browser_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "server/files/multipart.h"

namespace coppice::server {
namespace {

constexpr const char* kPreflightSeconds = "600";  // a browser asks again after ten minutes: a changed flag is noticed

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// The host without its port and brackets, in lower case.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) {
    return lower(host.substr(1, host.find(']') - 1));
  }
  const std::size_t colon = host.find(':');
  const bool is_bare_ipv6 = colon != std::string_view::npos && host.find(':', colon + 1) != std::string_view::npos;
  return lower(is_bare_ipv6 ? host : host.substr(0, colon));
}

bool is_ipv4_loopback(std::string_view name) {
  int dots = 0;
  for (const char c : name) {
    dots += c == '.' ? 1 : 0;
    if (c != '.' && (c < '0' || c > '9')) {
      return false;
    }
  }
  return dots == 3 && name.starts_with("127.");
}

openai::ApiError forbidden(std::string code, std::string message) {
  openai::ApiError error = openai::bad_value("", std::move(message));
  error.status = 403;
  error.type = "permission_error";
  error.code = std::move(code);
  return error;
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  const std::string name = host_name(host);
  return name == "localhost" || name.ends_with(".localhost") || name == "::1" || is_ipv4_loopback(name);
}

openai::MaybeError BrowserGuard::check_host(const HttpRequest& request) const {
  const std::string_view host = request.header("host");
  if (!options_.checks_host || host.empty() || is_loopback_host(host)) {
    return std::nullopt;
  }
  const std::string name = host_name(host);
  const bool is_known = std::any_of(options_.allowed_hosts.begin(), options_.allowed_hosts.end(),
                                    [&](const std::string& allowed) { return host_name(allowed) == name; });
  if (is_known) {
    return std::nullopt;
  }
  return forbidden("host_not_allowed",
                   fmt::format("this server does not answer for the host '{}'; --allowed-hosts names more", name));
}

bool BrowserGuard::allows(std::string_view origin) const {
  return std::any_of(options_.cors_origins.begin(), options_.cors_origins.end(),
                     [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

openai::MaybeError BrowserGuard::check_origin(const HttpRequest& request) const {
  const std::string_view origin = request.header("origin");
  const std::string_view site = request.header("sec-fetch-site");
  const std::size_t scheme = origin.find("://");
  const bool is_own = scheme != std::string_view::npos && !request.header("host").empty() &&
                      origin.substr(scheme + std::string_view("://").size()) == request.header("host");
  if (is_own || (!origin.empty() && allows(origin))) {
    return std::nullopt;
  }
  if (origin.empty() && (site.empty() || site == "same-origin" || site == "none")) {
    return std::nullopt;
  }
  return forbidden("origin_not_allowed",
                   fmt::format("a page of another site ('{}') may not use this server; --cors-origin names those that "
                               "may",
                               origin.empty() ? site : origin));
}

openai::MaybeError BrowserGuard::check_content_type(const HttpRequest& head) {
  const std::string_view field = head.header("content-type");
  std::string type = lower(field.substr(0, field.find(';')));
  type.erase(std::remove(type.begin(), type.end(), ' '), type.end());
  if (type == "application/json" || (type.starts_with("application/") && type.ends_with("+json"))) {
    return std::nullopt;
  }
  openai::ApiError error = openai::bad_value(
      "", fmt::format("the body must be JSON and say so: send the header 'content-type: application/json'{}",
                      field.empty() ? "" : fmt::format("; got '{}'", field)));
  error.status = 415;
  error.code = "unsupported_media_type";
  return error;
}

openai::MaybeError BrowserGuard::check_form_type(const HttpRequest& head) {
  const std::string_view field = head.header("content-type");
  if (!form_boundary(field).empty()) {
    return std::nullopt;
  }
  openai::ApiError error = openai::bad_value(
      "", fmt::format("the body must be a form with files: send the header 'content-type: multipart/form-data; "
                      "boundary=…'{}",
                      field.empty() ? "" : fmt::format("; got '{}'", field)));
  error.status = 415;
  error.code = "unsupported_media_type";
  return error;
}

void BrowserGuard::add_headers(const HttpRequest& request, Exchange& exchange) const {
  const std::string_view origin = request.header("origin");
  if (options_.cors_origins.empty()) {
    return;
  }
  exchange.add_header("vary", "origin");
  if (!origin.empty() && allows(origin)) {
    exchange.add_header("access-control-allow-origin", std::string(origin));
    exchange.add_header(
        "access-control-expose-headers",
        "x-request-id, request-id, retry-after, x-coppice-ignored, x-coppice-refused, x-coppice-unenforced");
  }
}

std::optional<HttpResponse> BrowserGuard::preflight(const HttpRequest& request) const {
  if (request.method != "OPTIONS" || request.header("access-control-request-method").empty() ||
      !allows(request.header("origin"))) {
    return std::nullopt;
  }
  HttpResponse response;
  response.status = 204;
  response.headers = {
      {"access-control-allow-methods", "GET, POST, DELETE"},
      {"access-control-allow-headers",
       "authorization, content-type, x-request-id, x-request-timeout-ms, x-api-key, anthropic-version, anthropic-beta, "
       "anthropic-dangerous-direct-browser-access"},
      {"access-control-max-age", kPreflightSeconds}};
  return response;
}

}  // namespace coppice::server
