// Router: every HTTP route of the server. A route is open to every caller or, as by default, needs an API key; the
// matched route decides.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proto/openai/request.h"
#include "server/http/browser_guard.h"
#include "server/http/deferred_handler.h"
#include "server/http/exchange.h"
#include "server/http/route_call.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

struct Route;  // router.cc

// Which routes a port has; those about the server itself (/health, /metrics, ...) it always has.
enum class RouteSet : std::uint8_t {
  kAll,
  kInference,       // all but those that administer the server
  kAdministration,  // only those
};

struct RouterOptions {
  RouteSet routes = RouteSet::kAll;
  BrowserOptions browsers;
};

// Owner: the app. Thread: any; it holds no state of its own.
class Router final : public HttpApplication {
 public:
  explicit Router(ServerState& state, RouterOptions options = {})
      : state_(state), routes_(options.routes), guard_(std::move(options.browsers)) {}

  std::unique_ptr<RequestHandler> handle(HttpRequest request, Exchange& exchange, SessionHub& hub) override;
  HttpResponse refuse(const openai::ApiError& error) override;
  openai::Result<std::string> admit_body(const HttpRequest& head) override;

  using Action = std::unique_ptr<RequestHandler> (Router::*)(const CallPointer& call);

 private:
  std::unique_ptr<RequestHandler> completions(const CallPointer& call);
  std::unique_ptr<RequestHandler> chat_completions(const CallPointer& call);
  std::unique_ptr<RequestHandler> models(const CallPointer& call);
  std::unique_ptr<RequestHandler> model(const CallPointer& call);
  std::unique_ptr<RequestHandler> tokenize(const CallPointer& call);
  std::unique_ptr<RequestHandler> detokenize(const CallPointer& call);
  std::unique_ptr<RequestHandler> add_corpus(const CallPointer& call);
  std::unique_ptr<RequestHandler> corpora(const CallPointer& call);
  std::unique_ptr<RequestHandler> drop_corpus(const CallPointer& call);
  std::unique_ptr<RequestHandler> live(const CallPointer& call);
  std::unique_ptr<RequestHandler> ready(const CallPointer& call);
  std::unique_ptr<RequestHandler> version(const CallPointer& call);
  std::unique_ptr<RequestHandler> metrics(const CallPointer& call);
  std::unique_ptr<RequestHandler> front_page(const CallPointer& call);

  // The route of a request and its tenant, or why it is refused.
  struct Admission {
    const Route* route = nullptr;
    std::string tenant;
    std::string allowed;  // the method that the path takes, when it is another
    openai::MaybeError error;
  };
  Admission admit(const HttpRequest& head, bool has_body) const;
  void find_route(const HttpRequest& head, Admission& found) const;
  openai::Result<std::string> tenant_of_request(const HttpRequest& head) const;

  using Parse = openai::Result<openai::GenerationRequest> (*)(std::string_view body,
                                                              const openai::RequestLimits& limits);
  std::unique_ptr<RequestHandler> generate(const CallPointer& call, std::size_t here_max, Parse parse);
  DeferredHandler::Finish prepare_generation(const CallPointer& call, Parse parse, const JobContext& job);
  // The route's work on the pool: `write` makes the body of a 200, or the error.
  using Write = std::function<openai::Result<std::string>(const RouteCall& call, const JobContext& job)>;
  std::unique_ptr<RequestHandler> defer(const CallPointer& call, Write write);
  void answer(RouteCall& call, std::string body, std::string content_type = "application/json");
  void answer(RouteCall& call, const openai::ApiError& error);

  static const Route kRoutes[];
  ServerState& state_;
  const RouteSet routes_;
  const BrowserGuard guard_;
};

// An error as a response, with Retry-After and x-request-id.
HttpResponse error_response(const openai::ApiError& error, const std::string& request_id);

// The client's x-request-id when it is short and printable, else a new one.
std::string choose_request_id(const HttpRequest& request);

}  // namespace coppice::server
