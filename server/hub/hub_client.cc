// The Hub's API: /api/models/OWNER/NAME/revision/REVISION lists, HEAD OWNER/NAME/resolve/COMMIT/FILE describes.
#include "server/hub/hub_client.h"

#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "models/json_text.h"
#include "server/hub/follow.h"

namespace coppice::server {
namespace {

constexpr std::size_t kListingBytesMost = std::size_t{32} << 20;  // 10,000 files take some 1 MB
constexpr std::uint64_t kFileBytesMost = std::uint64_t{1} << 42;  // 4 TiB; the Hub takes 500 GB
constexpr std::size_t kSha256Digits = 64;                         // hexadecimal
constexpr std::size_t kGitDigits = 40;                            // hexadecimal
// Waits before the tries after the first, where an answer was cut or the server is busy.
constexpr std::array<std::chrono::milliseconds, 2> kWaits = {std::chrono::milliseconds(300),
                                                             std::chrono::milliseconds(1000)};

std::string plain_etag(std::string etag) {
  if (etag.starts_with("W/")) {
    etag = etag.substr(2);
  }
  const bool is_quoted = etag.size() >= 2 && etag.front() == '"' && etag.back() == '"';
  return is_quoted ? etag.substr(1, etag.size() - 2) : etag;
}

bool is_busy(int status) {
  return status == 429 || status >= 500;
}

}  // namespace

absl::StatusOr<HubClient> HubClient::create(const HubOptions& options) {
  std::string text = options.endpoint;
  while (text.ends_with('/')) {
    text.pop_back();
  }
  std::optional<Url> endpoint = parse_url(text);
  if (!endpoint.has_value() || endpoint->target.find('?') != std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("HF_ENDPOINT \"{}\": must be an address, as https://huggingface.co", printable(options.endpoint)));
  }
  if (endpoint->target == "/") {
    endpoint->target.clear();
  }
  return HubClient(options, *std::move(endpoint));
}

Url HubClient::at(const std::string& path) const {
  Url url = endpoint_;
  url.target += path;
  return url;
}

absl::StatusOr<HttpsReply> HubClient::ask(const Url& url, bool is_head, std::string* body) const {
  const FollowRequest request{.url = url, .is_head = is_head, .stays = is_head, .token = options_.token};
  const auto see_head = [](const HttpsReply& /*reply*/) { return absl::OkStatus(); };
  const auto take = [body](std::string_view bytes) {
    if (body->size() + bytes.size() > kListingBytesMost) {
      return absl::InvalidArgumentError(fmt::format("the answer has more than {} bytes", kListingBytesMost));
    }
    body->append(bytes);
    return absl::OkStatus();
  };
  for (std::size_t tries = 0;; ++tries) {
    if (body != nullptr) {
      body->clear();
    }
    absl::StatusOr<HttpsReply> reply = follow(https_, request, see_head, take);
    const bool again = reply.ok() ? is_busy(reply->status) : absl::IsDataLoss(reply.status());
    if (!again || tries == kWaits.size()) {
      return reply;
    }
    std::this_thread::sleep_for(kWaits[tries]);
  }
}

absl::Status HubClient::refusal(const HubName& name, const HttpsReply& reply) const {
  const std::string& code = reply.header("x-error-code");
  const std::string& endpoint = options_.endpoint;
  const std::string with = options_.token.empty() ? "" : fmt::format(" (with the token of {})", options_.token_name);
  if (code == "GatedRepo" || reply.status == 403) {
    return absl::PermissionDeniedError(
        fmt::format("the model is gated{}: ask for access on {}/{}, then set HF_TOKEN to a token of that account", with,
                    endpoint, name.repository()));
  }
  if (reply.status == 404 && (code == "RevisionNotFound" || (code.empty() && name.revision != "main"))) {
    return absl::NotFoundError(fmt::format("{} has no revision {} of it", endpoint, name.revision));
  }
  if (reply.status == 401 && code != "RepoNotFound" && !options_.token.empty()) {
    return absl::PermissionDeniedError(
        fmt::format("{} does not accept the token of {} (HTTP status 401): make a new one on {}/settings/tokens",
                    endpoint, options_.token_name, endpoint));
  }
  if (reply.status == 401 || reply.status == 404) {
    return absl::NotFoundError(
        fmt::format("{} shows no such model{}: check the name; for a private one, set HF_TOKEN to a token that may "
                    "read it",
                    endpoint, with));
  }
  return absl::UnavailableError(fmt::format("{} answers with HTTP status {}", options_.endpoint, reply.status));
}

absl::StatusOr<HubListing> HubClient::list(const HubName& name) const {
  std::string revision;
  for (const char c : encode_path(name.revision)) {
    revision += c == '/' ? "%2F" : std::string(1, c);
  }
  std::string body;
  COPPICE_ASSIGN_OR_RETURN(
      const HttpsReply reply,
      ask(at(fmt::format("/api/models/{}/revision/{}", name.repository(), revision)), /*is_head=*/false, &body));
  if (reply.status != 200) {
    return refusal(name, reply);
  }
  const models::JsonLimits limits{.bytes = kListingBytesMost};
  const absl::StatusOr<nlohmann::json> parsed = models::parse_json(body, "answer", limits);
  const auto wrong = [this](const std::string& problem) {
    return absl::InvalidArgumentError(fmt::format(
        "{} does not answer as a Hugging Face Hub does: {}; is HF_ENDPOINT right?", options_.endpoint, problem));
  };
  if (!parsed.ok() || !parsed->is_object()) {
    return wrong(fmt::format("no JSON object, \"{}\"", printable(body.substr(0, 40))));
  }
  HubListing listing;
  const auto commit = parsed->find("sha");
  const auto siblings = parsed->find("siblings");
  if (commit == parsed->end() || !commit->is_string() || !is_commit(commit->get_ref<const std::string&>())) {
    return wrong("no commit in \"sha\"");
  }
  if (siblings == parsed->end() || !siblings->is_array()) {
    return wrong("no files in \"siblings\"");
  }
  listing.commit = commit->get<std::string>();
  for (const nlohmann::json& sibling : *siblings) {
    const auto file = sibling.is_object() ? sibling.find("rfilename") : sibling.end();
    if (!sibling.is_object() || file == sibling.end() || !file->is_string()) {
      return wrong("a file without a name");
    }
    const auto& text = file->get_ref<const std::string&>();
    if (!is_safe_path(text)) {
      return wrong(fmt::format("a file named \"{}\", which is refused", printable(text)));
    }
    listing.files.push_back(text);
  }
  return listing;
}

absl::StatusOr<HubFile> HubClient::describe(const HubName& name, const std::string& commit,
                                            const std::string& file) const {
  HubFile found;
  found.url = at(fmt::format("/{}/resolve/{}/{}", name.repository(), commit, encode_path(file)));
  COPPICE_ASSIGN_OR_RETURN(const HttpsReply reply, ask(found.url, /*is_head=*/true, nullptr));
  const bool is_linked = reply.status >= 300 && reply.status < 400;
  if (reply.status != 200 && !is_linked) {
    absl::Status status = refusal(name, reply);
    return absl::Status(status.code(), fmt::format("{}: {}", file, std::string(status.message())));
  }
  const std::string& linked = reply.header("x-linked-etag");
  found.hash = plain_etag(linked.empty() ? reply.header("etag") : linked);
  if (is_hex(found.hash, kSha256Digits)) {
    found.hash_kind = HashKind::kSha256;
  } else if (!is_hex(found.hash, kGitDigits)) {
    return absl::InvalidArgumentError(fmt::format("{}: {} does not say its hash (its ETag is \"{}\")", file,
                                                  options_.endpoint, printable(found.hash)));
  }
  const std::optional<std::uint64_t> bytes = reply.headers.contains("x-linked-size") || is_linked
                                                 ? reply.number("x-linked-size")
                                                 : reply.number("content-length");
  if (!bytes.has_value() || *bytes > kFileBytesMost) {
    return absl::InvalidArgumentError(fmt::format("{}: {} does not say its size, or one beyond all files (\"{}\")",
                                                  file, options_.endpoint, printable(reply.header("x-linked-size"))));
  }
  found.bytes = *bytes;
  return found;
}

}  // namespace coppice::server
