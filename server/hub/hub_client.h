// HubClient: what a Hugging Face Hub says about a repository and its files. What it says is checked before it is
// believed: names stay in their folder, commits and hashes are hexadecimal, sizes are possible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/hub/content_hash.h"
#include "server/hub/https_client.h"
#include "server/hub/hub_name.h"

namespace coppice::server {

// How a Hub is reached.
struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;       // "" = none
  std::string token_name;  // where it came from, for messages: "HF_TOKEN"
  HttpsOptions https;
};

struct HubListing {
  std::string commit;
  std::vector<std::string> files;
};

struct HubFile {
  Url url;
  std::uint64_t bytes = 0;
  HashKind hash_kind = HashKind::kGitBlob;
  std::string hash;
};

// Immutable. Thread: any.
class HubClient {
 public:
  // ERRORS: InvalidArgument for an endpoint that is no address.
  static absl::StatusOr<HubClient> create(const HubOptions& options);

  // The files of a revision. ERRORS: NotFound, PermissionDenied: there is no such model, or it is not for everyone,
  // saying what to do; InvalidArgument for an answer that is none; as HttpsClient::exchange().
  absl::StatusOr<HubListing> list(const HubName& name) const;
  // A file of a commit. ERRORS: as list().
  absl::StatusOr<HubFile> describe(const HubName& name, const std::string& commit, const std::string& file) const;

  const HttpsClient& https() const { return https_; }
  const HubOptions& options() const { return options_; }

 private:
  HubClient(HubOptions options, Url endpoint)
      : options_(std::move(options)), endpoint_(std::move(endpoint)), https_(options_.https) {}

  Url at(const std::string& path) const;
  // Tries again when a connection is cut.
  absl::StatusOr<HttpsReply> ask(const Url& url, bool is_head, std::string* body) const;
  absl::Status refusal(const HubName& name, const HttpsReply& reply) const;

  HubOptions options_;
  Url endpoint_;
  HttpsClient https_;
};

}  // namespace coppice::server
