// Variables, and where caches lie without them.
#include "server/app/hub_environment.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/config/version.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTokenBytesMost = 4096;  // a token has some 40
constexpr double kTimeoutMost = 86400;         // seconds: a day

// The first of the variables that is set and not empty; "" = none is.
std::string variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text != nullptr && *text != '\0') {
      return text;
    }
  }
  return {};
}

bool is_on(std::initializer_list<const char*> names) {
  std::string text = variable(names);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

fs::path expanded(const std::string& path) {
  const bool is_home = path == "~" || path.starts_with("~/");
  return is_home ? fs::path(variable({"HOME"}) + path.substr(1)) : fs::path(path);
}

fs::path cache_home() {
  const std::string named = variable({"XDG_CACHE_HOME"});
  return named.empty() ? expanded("~/.cache") : expanded(named);
}

fs::path hugging_face_home() {
  const std::string named = variable({"HF_HOME"});
  return named.empty() ? cache_home() / "huggingface" : expanded(named);
}

std::string trimmed(const std::string& text) {
  constexpr const char* kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

absl::Status read_token(HubOptions& hub) {
  if (is_on({"HF_HUB_DISABLE_IMPLICIT_TOKEN"})) {
    return absl::OkStatus();
  }
  hub.token_name = "HF_TOKEN";
  hub.token = trimmed(variable({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
  if (hub.token.empty()) {
    const std::string named = variable({"HF_TOKEN_PATH"});
    const fs::path path = named.empty() ? hugging_face_home() / "token" : expanded(named);
    const absl::StatusOr<std::string> text = base::read_file(path, kTokenBytesMost);
    hub.token_name = path.string();
    hub.token = text.ok() ? trimmed(*text) : "";  // most have none
  }
  const bool is_plain = std::all_of(hub.token.begin(), hub.token.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  return is_plain && hub.token.size() <= kTokenBytesMost
             ? absl::OkStatus()
             : absl::InvalidArgumentError(fmt::format("{}: is no token: it must be one word", hub.token_name));
}

absl::Status read_network(HttpsOptions& https) {
  https.user_agent = fmt::format("coppice/{}", kVersion);
  if (const std::string text = variable({"HF_HUB_DOWNLOAD_TIMEOUT"}); !text.empty()) {
    double seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || !(seconds > 0) || seconds > kTimeoutMost) {
      return absl::InvalidArgumentError(
          fmt::format("HF_HUB_DOWNLOAD_TIMEOUT \"{}\": must be a number of seconds", printable(text)));
    }
    https.timeout = std::chrono::milliseconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(seconds * 1e3)));
  }
  if (std::string text = variable({"HTTPS_PROXY", "https_proxy"}); !text.empty()) {
    https.proxy = parse_url(text.find("://") == std::string::npos ? "http://" + text : text);
    if (!https.proxy.has_value() || https.proxy->is_tls) {
      // Not what came: it may hold a password.
      return absl::InvalidArgumentError("HTTPS_PROXY: must be http://HOST:PORT, without a user or a password");
    }
  }
  const std::string without = variable({"NO_PROXY", "no_proxy"});
  for (std::size_t begin = 0; begin < without.size();) {
    const std::size_t end = std::min(without.find(',', begin), without.size());
    if (const std::string host = trimmed(without.substr(begin, end - begin)); !host.empty()) {
      https.no_proxy.push_back(host);
    }
    begin = end + 1;
  }
  return absl::OkStatus();
}

absl::StatusOr<HubOptions> hub_options_from_environment() {
  HubOptions hub;
  if (const std::string endpoint = variable({"HF_ENDPOINT"}); !endpoint.empty()) {
    hub.endpoint = endpoint.substr(0, endpoint.find_last_not_of('/') + 1);
  }
  COPPICE_RETURN_IF_ERROR(read_token(hub));
  COPPICE_RETURN_IF_ERROR(read_network(hub.https));
  return hub;
}

}  // namespace

FetchOptions fetch_options_from_environment() {
  FetchOptions options;
  options.hub = hub_options_from_environment;
  const std::string cache = variable({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  options.hub_cache = cache.empty() ? hugging_face_home() / "hub" : expanded(cache);
  const std::string own = variable({"COPPICE_CACHE"});
  options.models_cache = (own.empty() ? cache_home() / "coppice" : expanded(own)) / "models";
  options.is_offline = is_on({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"});
  return options;
}

}  // namespace coppice::server
