// BrowserGuard: what keeps a page of a stranger from using this server through its visitor's browser. Such a page can
// send requests to 127.0.0.1, and, with a name that it points there (DNS rebinding), read the answers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/exchange.h"

namespace coppice::server {

struct BrowserOptions {
  // True: the host that a request is for must be a loopback one or in allowed_hosts. For servers that ask for no key
  // and listen on this machine alone: nothing else keeps strangers out.
  bool checks_host = false;
  std::vector<std::string> allowed_hosts;  // names or addresses, without ports
  std::vector<std::string> cors_origins;   // "https://app.example"; "*" is everyone
};

// Owner: the router. Immutable; any thread.
class BrowserGuard {
 public:
  explicit BrowserGuard(BrowserOptions options) : options_(std::move(options)) {}

  // ERRORS: 403 for a host that is not this server's.
  openai::MaybeError check_host(const HttpRequest& request) const;
  // ERRORS: 403 for a request that a browser sends for another site which is not in cors_origins.
  openai::MaybeError check_origin(const HttpRequest& request) const;
  // ERRORS: 415 for a body that does not say that it is JSON: browsers send others without asking first.
  static openai::MaybeError check_content_type(const HttpRequest& head);
  // The same for the routes that take a form. Browsers send forms without asking first, so for them check_origin()
  // alone keeps other sites out. ERRORS: 415 for what is no multipart form with a boundary.
  static openai::MaybeError check_form_type(const HttpRequest& head);

  // The headers that let the page which sent the request read its answer, when it may.
  void add_headers(const HttpRequest& request, Exchange& exchange) const;
  // The answer to a browser's question whether a page may send a request; none when it is no such question.
  std::optional<HttpResponse> preflight(const HttpRequest& request) const;

 private:
  bool allows(std::string_view origin) const;

  const BrowserOptions options_;
};

// "localhost", "127.0.0.1", "[::1]:8080": names of the machine that a client is on. `host` may have a port.
bool is_loopback_host(std::string_view host);

}  // namespace coppice::server
