// The table of routes, and the routes that answer at once.
#include "server/http/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "proto/openai/json_writer.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/write_objects.h"
#include "server/config/version.h"
#include "server/http/console_page.h"
#include "server/http/generation_handler.h"

namespace coppice::server {
namespace {

enum class Access : std::uint8_t { kKey, kPublic };
enum class Match : std::uint8_t { kExact, kPrefix };

constexpr std::size_t kRequestIdMax = 128;  // bytes of a client's x-request-id: three UUIDs; it is repeated in logs

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
  Router::Action action;
};

const Route Router::kRoutes[] = {
    {"POST", "/v1/completions", Match::kExact, Access::kKey, true, &Router::completions},
    {"POST", "/v1/chat/completions", Match::kExact, Access::kKey, true, &Router::chat_completions},
    {"GET", "/v1/models", Match::kExact, Access::kKey, true, &Router::models},
    {"GET", "/v1/models/", Match::kPrefix, Access::kKey, true, &Router::model},
    {"POST", "/tokenize", Match::kExact, Access::kKey, true, &Router::tokenize},
    {"POST", "/detokenize", Match::kExact, Access::kKey, true, &Router::detokenize},
    {"POST", "/v1/speculation/corpora", Match::kExact, Access::kKey, true, &Router::add_corpus},
    {"GET", "/v1/speculation/corpora", Match::kExact, Access::kKey, true, &Router::corpora},
    {"DELETE", "/v1/speculation/corpora/", Match::kPrefix, Access::kKey, true, &Router::drop_corpus},
    {"GET", "/health", Match::kExact, Access::kPublic, false, &Router::health},
    {"GET", "/ready", Match::kExact, Access::kPublic, false, &Router::ready},
    {"GET", "/version", Match::kExact, Access::kPublic, false, &Router::version},
    {"GET", "/metrics", Match::kExact, Access::kPublic, false, &Router::metrics},
    {"GET", "/", Match::kExact, Access::kPublic, false, &Router::front_page},
};

std::string choose_request_id(const HttpRequest& request) {
  const std::string_view given = request.header("x-request-id");
  const bool is_fine = !given.empty() && given.size() <= kRequestIdMax &&
                       std::all_of(given.begin(), given.end(), [](char c) { return c > ' ' && c <= '~' && c != '"'; });
  if (is_fine) {
    return std::string(given);
  }
  std::random_device entropy;
  std::array<std::uint32_t, 4> words{};
  std::generate(words.begin(), words.end(), [&entropy] { return entropy(); });
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", words[0], words[1], words[2], words[3]);
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
  return error_response(error, choose_request_id({}));
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

openai::MaybeError Router::admit(RouteCall& call) const {
  if (!state_.keys.required()) {
    return std::nullopt;
  }
  const std::string_view authorization = call.request.header("authorization");
  std::optional<std::string> tenant = state_.keys.tenant_of_bearer(authorization);
  if (!tenant) {
    return openai::unauthorized(authorization.empty()
                                    ? "an API key is required: send the header 'Authorization: Bearer KEY'"
                                    : "the API key is not known here");
  }
  call.tenant = std::move(*tenant);
  return std::nullopt;
}

std::unique_ptr<RequestHandler> Router::handle(HttpRequest request, Exchange& exchange, SessionHub& hub) {
  RouteCall call{std::move(request), "", "", "none", "", exchange, hub};
  call.request_id = choose_request_id(call.request);
  call.path = std::string_view(call.request.target).substr(0, call.request.target.find('?'));
  const std::string_view method = call.request.method == "HEAD" ? "GET" : std::string_view(call.request.method);
  std::string allowed;
  for (const Route& route : kRoutes) {
    const bool matches = route.match == Match::kExact ? call.path == route.path : call.path.starts_with(route.path);
    if (!matches) {
      continue;
    }
    if (method != route.method) {
      allowed = route.method;
      continue;
    }
    call.route = route.path;
    openai::MaybeError error = route.access == Access::kKey ? admit(call) : std::nullopt;
    if (!error && route.needs_model) {
      error = state_.refusal();
    }
    if (error) {
      answer(call, *error);
      return nullptr;
    }
    return (this->*route.action)(call);
  }
  openai::ApiError error =
      openai::not_found("", "unknown_route", fmt::format("no route {} {}; see /", method, call.path));
  if (!allowed.empty()) {
    error.status = 405;
    error.code = "method_not_allowed";
    error.message = fmt::format("{} takes {} only", call.path, allowed);
  }
  state_.metrics.count_answer("http", call.route, error.status);
  HttpResponse response = error_response(error, call.request_id);
  if (!allowed.empty()) {
    response.headers.emplace_back("allow", allowed == "GET" ? "GET, HEAD" : allowed);
  }
  exchange.respond(std::move(response));
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::generate(RouteCall& call, openai::Result<openai::GenerationRequest> parsed) {
  if (!parsed.ok()) {
    answer(call, parsed.error());
    return nullptr;
  }
  auto handler = std::make_unique<GenerationHandler>(state_, *state_.host.load(), call);
  if (!handler->start(std::move(parsed.value()), call.tenant)) {
    return nullptr;
  }
  return handler;
}

std::unique_ptr<RequestHandler> Router::completions(RouteCall& call) {
  return generate(call, openai::parse_completion_request(call.request.body, state_.host.load()->request_limits));
}

std::unique_ptr<RequestHandler> Router::chat_completions(RouteCall& call) {
  return generate(call, openai::parse_chat_request(call.request.body, state_.host.load()->request_limits));
}

std::unique_ptr<RequestHandler> Router::models(RouteCall& call) {
  const std::array<openai::ModelCard, 1> cards = {make_card(*state_.host.load())};
  answer(call, openai::write_model_list(cards));
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::model(RouteCall& call) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const ModelHost& host = *state_.host.load();
  const std::string id = decode_path(call.path.substr(kPrefix.size()));
  if (id.empty()) {
    answer(call, openai::not_found("model", "model_not_found", "the path ends without a model's name"));
  } else if (const openai::MaybeError error = host.check_model(id)) {
    answer(call, *error);
  } else {
    answer(call, openai::write_model(make_card(host)));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::tokenize(RouteCall& call) {
  const ModelHost& host = *state_.host.load();
  openai::Result<openai::TokenizeRequest> parsed =
      openai::parse_tokenize_request(call.request.body, host.request_limits);
  openai::MaybeError error = parsed.ok() ? host.check_model(parsed.value().model) : parsed.error();
  if (error) {
    answer(call, *error);
    return nullptr;
  }
  const openai::Result<TokenIds> tokens = host.encoder().encode(parsed.value());
  if (!tokens.ok()) {
    answer(call, tokens.error());
    return nullptr;
  }
  std::vector<std::string> pieces;
  if (parsed.value().return_token_strs) {
    for (const TokenId token : tokens.value()) {
      pieces.push_back(host.tokenizer->piece(token));
    }
  }
  answer(call, openai::write_tokenize(tokens.value(), host.request_limits.model_tokens_max,
                                      parsed.value().return_token_strs ? &pieces : nullptr));
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::detokenize(RouteCall& call) {
  const ModelHost& host = *state_.host.load();
  const openai::Result<openai::DetokenizeRequest> parsed =
      openai::parse_detokenize_request(call.request.body, host.request_limits);
  if (!parsed.ok()) {
    answer(call, parsed.error());
  } else {
    answer(call,
           openai::write_detokenize(host.tokenizer->decode(parsed.value().tokens, parsed.value().skip_special_tokens)));
  }
  return nullptr;
}

Corpora* Router::corpora_of(RouteCall& call) {
  Corpora* const corpora = state_.host.load()->corpora.get();
  if (corpora == nullptr) {
    answer(call, openai::not_found("", "speculation_off", "this server runs without speculation: it has no corpora"));
  }
  return corpora;
}

std::unique_ptr<RequestHandler> Router::add_corpus(RouteCall& call) {
  if (Corpora* const corpora = corpora_of(call)) {
    const openai::Result<openai::CorpusRequest> parsed =
        openai::parse_corpus_request(call.request.body, state_.host.load()->request_limits);
    const openai::Result<openai::CorpusCard> card =
        parsed.ok() ? corpora->add(tenant_of(call.tenant, parsed.value().cache_salt), parsed.value())
                    : openai::Result<openai::CorpusCard>(parsed.error());
    if (card.ok()) {
      answer(call, openai::write_corpus(card.value()));
    } else {
      answer(call, card.error());
    }
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::corpora(RouteCall& call) {
  if (Corpora* const corpora = corpora_of(call)) {
    answer(call, openai::write_corpus_list(corpora->list(tenant_of(call.tenant, query_value(call, "cache_salt")))));
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::drop_corpus(RouteCall& call) {
  if (Corpora* const corpora = corpora_of(call)) {
    const std::string name = decode_path(call.path.substr(call.path.rfind('/') + 1));
    const openai::MaybeError error = corpora->drop(tenant_of(call.tenant, query_value(call, "cache_salt")), name);
    if (error) {
      answer(call, *error);
    } else {
      answer(call, openai::write_corpus_deleted(name));
    }
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::health(RouteCall& call) {
  answer(call, R"({"status":"ok"})");
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::ready(RouteCall& call) {
  openai::MaybeError error = state_.refusal();
  if (!error && state_.engine_is_stuck) {
    error = openai::unavailable("engine_stuck", "requests wait but the engine does not step", 1);
  }
  if (error) {
    answer(call, *error);
  } else {
    answer(call, R"({"status":"ready"})");
  }
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::version(RouteCall& call) {
  openai::JsonWriter out;
  out.begin_object().key("version").string(kVersion).end_object();
  answer(call, out.take());
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::metrics(RouteCall& call) {
  const ModelHost* const host = state_.host.load();
  ServerGauges gauges;
  gauges.connections = state_.http_connections.load();
  gauges.ready = state_.phase.load() == Phase::kServing && !state_.engine_is_stuck;
  gauges.uptime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - state_.started).count();
  gauges.page_size = host == nullptr ? 0 : host->engine_limits.page_size;
  const engine::EngineStats stats = host == nullptr ? engine::EngineStats() : host->engine->stats();
  answer(call, state_.metrics.page(stats, gauges), "text/plain; version=0.0.4; charset=utf-8");
  return nullptr;
}

std::unique_ptr<RequestHandler> Router::front_page(RouteCall& call) {
  const ModelHost* const host = state_.host.load();
  answer(call, console_page(host == nullptr ? "(loading)" : host->name, call.request.header("host")),
         "text/html; charset=utf-8");
  return nullptr;
}

}  // namespace coppice::server
