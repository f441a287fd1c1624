// Addresses, and where a redirect leads.
#include "server/hub/url.h"

#include <catch2/catch.hpp>
#include <string>

namespace coppice::server {
namespace {

std::string text_of(const Url& url) {
  return (url.is_tls ? "https://" : "http://") + url.host_header() + url.target;
}

TEST_CASE("an address is shown without its query") {
  CHECK(parse_url("https://store.example:8443/a/b?signature=secret")->shown() == "https://store.example:8443/a/b");
  CHECK(parse_url("http://x?signature=secret")->shown() == "http://x/");
}

TEST_CASE("an address is cut into its parts") {
  const auto url = parse_url("HTTPS://Hub.Example:8443/a/b?c=d#e");
  REQUIRE(url.has_value());
  CHECK(url->is_tls);
  CHECK(url->host == "hub.example");
  CHECK(url->port == "8443");
  CHECK(url->target == "/a/b?c=d");
  CHECK(text_of(*url) == "https://hub.example:8443/a/b?c=d");
  CHECK(text_of(*parse_url("http://x")) == "http://x/");
  CHECK(parse_url("http://x?q")->target == "/?q");
  CHECK(parse_url("http://x:80/")->host_header() == "x");
  CHECK(parse_url("http://[::1]:99/")->host == "::1");
  CHECK(parse_url("http://[::1]:99/")->host_header() == "[::1]:99");
  CHECK(parse_url("https://[::1]/")->port == "443");
}

TEST_CASE("what is no address") {
  const char* const text =
      GENERATE("", "x", "//x", "ftp://x", "file:///etc/passwd", "http://", "http:///a", "http://x:0/",
               "http://x:65536/", "http://x:y/", "http://a@b/", "http://a:b@c/", "http://x/a b", "http://x/\r\nEvil: y",
               "http://[::1", "http://[::1]x/", "http://x/ä");
  CAPTURE(text);
  CHECK_FALSE(parse_url(text).has_value());
}

TEST_CASE("a redirect leads from where it was found") {
  const Url base = *parse_url("https://hub/a/b?c");
  const auto from = [&base](const char* location) {
    const auto url = resolve_url(base, location);
    return url ? text_of(*url) : "";
  };
  CHECK(from("http://other/x") == "http://other/x");
  CHECK(from("//other:1/x") == "https://other:1/x");
  CHECK(from("/x?y") == "https://hub/x?y");
  CHECK(from("x") == "https://hub/a/x");
  CHECK(from("?z") == "https://hub/a/b?z");
  CHECK(from("/x?to=http://other/") == "https://hub/x?to=http://other/");
  CHECK(from("").empty());
  CHECK(from("ftp://other/x").empty());
  CHECK(from("/x\r\nEvil: y").empty());
}

TEST_CASE("a secret is for one scheme, host and port") {
  const Url base = *parse_url("https://hub/a");
  CHECK(base.has_same_origin(*parse_url("https://HUB:443/other")));
  CHECK_FALSE(base.has_same_origin(*parse_url("http://hub/a")));
  CHECK_FALSE(base.has_same_origin(*parse_url("https://hub:444/a")));
  CHECK_FALSE(base.has_same_origin(*parse_url("https://hub.evil/a")));
}

TEST_CASE("a path is encoded") {
  CHECK(encode_path("a b/ä?#%.gguf") == "a%20b/%C3%A4%3F%23%25.gguf");
}

}  // namespace
}  // namespace coppice::server
