// What a page of a stranger may make its visitor's browser send, and what comes of it.
#include "server/http/browser_guard.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace coppice::server {
namespace {

HttpRequest request_of(std::vector<std::pair<std::string, std::string>> headers, const char* method = "POST") {
  HttpRequest request;
  request.method = method;
  request.headers = std::move(headers);
  return request;
}

TEST_CASE("hosts of this machine") {
  for (const char* const host :
       {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:8080", "::1", "app.localhost:1"}) {
    INFO(host);
    CHECK(is_loopback_host(host));
  }
  for (const char* const host : {"", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "128.0.0.1",
                                 "0.0.0.0", "127.1", "127.0.0.1x", "[::2]:8080", "evil.example:127.0.0.1"}) {
    INFO(host);
    CHECK_FALSE(is_loopback_host(host));
  }
}

TEST_CASE("a name that a stranger points at this machine is refused where the host is checked") {
  BrowserOptions options;
  CHECK_FALSE(BrowserGuard(options).check_host(request_of({{"host", "evil.example"}})));
  options.checks_host = true;
  options.allowed_hosts = {"box.lan", "[fd00::1]"};
  const BrowserGuard guard(options);
  for (const char* const host : {"127.0.0.1:8080", "localhost", "box.lan", "BOX.lan:99", "[fd00::1]:8080"}) {
    INFO(host);
    CHECK_FALSE(guard.check_host(request_of({{"host", host}})));
  }
  for (const char* const host : {"evil.example", "box.lan.evil.example", "xbox.lan", "[fd00::2]"}) {
    INFO(host);
    const openai::MaybeError error = guard.check_host(request_of({{"host", host}}));
    REQUIRE(error);
    CHECK(error->status == 403);
    CHECK(error->code == "host_not_allowed");
  }
}

TEST_CASE("pages of other sites are refused unless they are named") {
  BrowserOptions options;
  options.cors_origins = {"https://app.example"};
  const BrowserGuard guard(options);
  const auto refused = [&](std::vector<std::pair<std::string, std::string>> headers) {
    headers.emplace_back("host", "127.0.0.1:8080");
    return guard.check_origin(request_of(std::move(headers))).has_value();
  };
  CHECK_FALSE(refused({}));
  CHECK_FALSE(refused({{"origin", "http://127.0.0.1:8080"}}));
  CHECK_FALSE(refused({{"origin", "https://app.example"}, {"sec-fetch-site", "cross-site"}}));
  CHECK_FALSE(refused({{"sec-fetch-site", "same-origin"}}));
  CHECK_FALSE(refused({{"sec-fetch-site", "none"}}));
  CHECK(refused({{"origin", "http://evil.example"}}));
  CHECK(refused({{"origin", "null"}}));
  CHECK(refused({{"origin", "http://127.0.0.1:9090"}}));
  CHECK(refused({{"origin", "http://app.example"}}));
  CHECK(refused({{"sec-fetch-site", "cross-site"}}));
  CHECK(refused({{"sec-fetch-site", "same-site"}}));
}

TEST_CASE("a browser's question is answered for the sites that are named") {
  BrowserOptions options;
  options.cors_origins = {"https://app.example"};
  const BrowserGuard guard(options);
  const auto ask = [](const char* origin) {
    return request_of({{"origin", origin}, {"access-control-request-method", "POST"}}, "OPTIONS");
  };
  const std::optional<HttpResponse> answer = guard.preflight(ask("https://app.example"));
  REQUIRE(answer);
  CHECK(answer->status == 204);
  CHECK_FALSE(guard.preflight(ask("https://evil.example")));
  CHECK_FALSE(guard.preflight(request_of({{"origin", "https://app.example"}}, "OPTIONS")));
  options.cors_origins = {"*"};
  CHECK(BrowserGuard(options).preflight(ask("https://any.example")));
}

}  // namespace
}  // namespace coppice::server
