// The few forms of RFC 3986 that servers of files use.
#include "server/hub/url.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "fmt/format.h"

namespace coppice::server {
namespace {

constexpr std::size_t kUrlBytesMost = 8192;  // signed addresses of object stores have some 2,000
constexpr int kPortMost = 65535;             // of TCP

bool is_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port <= kPortMost;
}

// Whether it stands in a request's first line as it is.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

}  // namespace

std::string Url::host_header() const {
  const bool is_default = port == (is_tls ? "443" : "80");
  const std::string name = host.find(':') == std::string::npos ? host : fmt::format("[{}]", host);
  return is_default ? name : fmt::format("{}:{}", name, port);
}

std::string Url::shown() const {
  return fmt::format("{}://{}{}", is_tls ? "https" : "http", host_header(), target.substr(0, target.find('?')));
}

std::optional<Url> parse_url(std::string_view text) {
  Url url;
  text = text.substr(0, text.find('#'));
  const std::size_t scheme = text.find("://");
  if (scheme == std::string_view::npos || text.size() > kUrlBytesMost || !is_plain(text)) {
    return std::nullopt;
  }
  const std::string name = lower(text.substr(0, scheme));
  if (name != "http" && name != "https") {
    return std::nullopt;
  }
  url.is_tls = name == "https";
  text.remove_prefix(scheme + 3);
  const std::size_t path = text.find_first_of("/?");
  std::string_view authority = text.substr(0, path);
  if (path != std::string_view::npos) {
    url.target = fmt::format("{}{}", text[path] == '?' ? "/" : "", text.substr(path));
  }
  url.port = url.is_tls ? "443" : "80";
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) {
    return std::nullopt;
  }
  if (const std::size_t colon = authority.find(':', bracket); colon != std::string_view::npos) {
    url.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  if (bracket > 0) {
    if (authority.size() != bracket + 1) {
      return std::nullopt;
    }
    authority = authority.substr(1, bracket - 1);
  }
  url.host = lower(authority);
  if (url.host.empty() || url.host.find_first_of("@[]\\") != std::string::npos || !is_port(url.port)) {
    return std::nullopt;
  }
  return url;
}

std::optional<Url> resolve_url(const Url& base, std::string_view location) {
  location = location.substr(0, location.find('#'));
  if (location.empty() || location.size() > kUrlBytesMost || !is_plain(location)) {
    return std::nullopt;
  }
  if (location.starts_with("//")) {
    return parse_url(fmt::format("{}:{}", base.is_tls ? "https" : "http", location));
  }
  if (location.find("://") < location.find_first_of("/?")) {
    return parse_url(location);
  }
  Url url = base;
  if (location.front() == '/') {
    url.target = location;
  } else {
    const std::string path = base.target.substr(0, base.target.find('?'));
    url.target = location.front() == '?' ? path + std::string(location)
                                         : path.substr(0, path.rfind('/') + 1) + std::string(location);
  }
  return url;
}

std::string encode_path(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool is_kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         std::string_view("-._~/").find(c) != std::string_view::npos;
    encoded += is_kept ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace coppice::server
