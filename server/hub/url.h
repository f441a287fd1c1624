// An http or https address, cut into its parts.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace coppice::server {

// A value.
struct Url {
  bool is_tls = false;
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string target = "/";  // path and query, percent-encoded already

  // Scheme, host and port: what a secret that is meant for one of them must not leave.
  bool has_same_origin(const Url& other) const {
    return is_tls == other.is_tls && host == other.host && port == other.port;
  }
  std::string host_header() const;
  // For people: without the query, which may hold a secret (a signature).
  std::string shown() const;
};

// Nothing for what is no such address: another scheme, a name and password before the host, control characters, a port
// that is none.
std::optional<Url> parse_url(std::string_view text);

// Where a Location header leads from `base`. Nothing: as parse_url.
std::optional<Url> resolve_url(const Url& base, std::string_view location);

// `text` with everything but letters, digits and "-._~/" percent-encoded.
std::string encode_path(std::string_view text);

}  // namespace coppice::server
