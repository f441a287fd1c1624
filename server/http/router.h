// Router: finds a request's route in the table (server/http/routes), checks host, origin, key, content type and phase
// as the route demands, and lets it act.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/browser_guard.h"
#include "server/http/exchange.h"
#include "server/http/route.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

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
  HttpResponse refuse(const openai::ApiError& error, const HttpRequest* head) override;
  openai::Result<std::string> admit_body(const HttpRequest& head) override;

 private:
  // The route of a request and its tenant, or why it is refused.
  struct Admission {
    const Route* route = nullptr;
    std::string tenant;
    std::vector<std::string> parts;
    std::string allowed;  // the methods that the path takes, when it is another
    openai::MaybeError error;
  };
  Admission admit(const HttpRequest& head, bool has_body) const;
  void find_route(const HttpRequest& head, Admission& found) const;
  // Where a key is asked for: what the request came from, whose key it has, what its body says it is.
  void admit_caller(const HttpRequest& head, bool has_body, Admission& found) const;
  openai::Result<std::string> tenant_of_request(const HttpRequest& head) const;

  ServerState& state_;
  const RouteSet routes_;
  const BrowserGuard guard_;
};

// The client's x-request-id when it is short and printable, else a new one.
std::string choose_request_id(const HttpRequest& request);

}  // namespace coppice::server
