// Router: every HTTP route of the server. A route is open to every caller or, as by default, needs an API key; the
// matched route decides.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proto/openai/request.h"
#include "server/http/exchange.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

struct Route;  // router.cc

// One request during handle().
struct RouteCall {
  HttpRequest request;
  std::string request_id;
  std::string_view path;   // of request.target, without the query
  std::string_view route;  // the matched route's name, for metrics
  std::string tenant;      // the API key's; "" without keys
  Exchange& exchange;
  SessionHub& hub;
};

// Owner: the app. Thread: any; it holds no state of its own.
class Router final : public HttpApplication {
 public:
  explicit Router(ServerState& state) : state_(state) {}

  std::unique_ptr<RequestHandler> handle(HttpRequest request, Exchange& exchange, SessionHub& hub) override;
  HttpResponse refuse(const openai::ApiError& error) override;

  using Action = std::unique_ptr<RequestHandler> (Router::*)(RouteCall& call);

 private:
  std::unique_ptr<RequestHandler> completions(RouteCall& call);
  std::unique_ptr<RequestHandler> chat_completions(RouteCall& call);
  std::unique_ptr<RequestHandler> models(RouteCall& call);
  std::unique_ptr<RequestHandler> model(RouteCall& call);
  std::unique_ptr<RequestHandler> tokenize(RouteCall& call);
  std::unique_ptr<RequestHandler> detokenize(RouteCall& call);
  std::unique_ptr<RequestHandler> add_corpus(RouteCall& call);
  std::unique_ptr<RequestHandler> corpora(RouteCall& call);
  std::unique_ptr<RequestHandler> drop_corpus(RouteCall& call);
  std::unique_ptr<RequestHandler> health(RouteCall& call);
  std::unique_ptr<RequestHandler> ready(RouteCall& call);
  std::unique_ptr<RequestHandler> version(RouteCall& call);
  std::unique_ptr<RequestHandler> metrics(RouteCall& call);
  std::unique_ptr<RequestHandler> front_page(RouteCall& call);

  openai::MaybeError admit(RouteCall& call) const;
  std::unique_ptr<RequestHandler> generate(RouteCall& call, openai::Result<openai::GenerationRequest> parsed);
  void answer(RouteCall& call, std::string body, std::string content_type = "application/json");
  void answer(RouteCall& call, const openai::ApiError& error);

  // The served model's corpora; null, and the call answered, when speculation is off.
  Corpora* corpora_of(RouteCall& call);

  static const Route kRoutes[];
  ServerState& state_;
};

// An error as a response, with Retry-After and x-request-id.
HttpResponse error_response(const openai::ApiError& error, const std::string& request_id);

// The client's x-request-id when it is short and printable, else a new one.
std::string choose_request_id(const HttpRequest& request);

}  // namespace coppice::server
