// HttpsClient: GET and HEAD over HTTP/1.1, plain or TLS, one connection an exchange. Every wait has an end, and nothing
// that a server sends is kept that the caller did not ask for. Redirects, retries and meaning are the caller's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/hub/url.h"

namespace coppice::server {

struct HttpsOptions {
  // To connect, to get an answer's head, and for every 64 KiB of its body: slower than that is as good as dead.
  std::chrono::milliseconds timeout{30000};
  std::optional<Url> proxy;            // an http proxy that https goes through (CONNECT)
  std::vector<std::string> no_proxy;   // hosts, and endings of hosts, that are reached without; "*" = all
  std::string user_agent = "coppice";  // one word
};

struct HttpsRequest {
  Url url;
  bool is_head = false;
  std::vector<std::pair<std::string, std::string>> headers = {};
};

struct HttpsReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // by names in lower case; of several with one name the first

  // "" where it is not there.
  const std::string& header(const std::string& name) const;
  // The number in a header. Nothing: not there, or no whole number of 62 bits.
  std::optional<std::uint64_t> number(const std::string& name) const;
};

// Immutable. Thread: any; every call has its own connection.
class HttpsClient {
 public:
  explicit HttpsClient(HttpsOptions options) : options_(std::move(options)) {}

  // May end the exchange by an error, which exchange() returns then.
  using OnHead = std::function<absl::Status(const HttpsReply&)>;
  using OnBody = std::function<absl::Status(std::string_view)>;

  // `on_head` is called once; the body of a 200 or a 206 goes to `on_body`, in parts; other bodies are not read.
  // Certificates are checked against the machine's, or those of SSL_CERT_FILE and SSL_CERT_DIR.
  // ERRORS: Unavailable: the server cannot be reached; FailedPrecondition: its certificate is refused; DataLoss: what
  // it sent ended early or is no HTTP; DeadlineExceeded: it is too slow. Each says what was tried.
  absl::StatusOr<HttpsReply> exchange(const HttpsRequest& request, const OnHead& on_head, const OnBody& on_body) const;

 private:
  HttpsOptions options_;
};

}  // namespace coppice::server
