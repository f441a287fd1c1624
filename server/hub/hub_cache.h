// HubCache: models on this machine as Hugging Face's own client lays them out, so that each finds what the other has
// fetched:
//
//   models--OWNER--NAME/refs/main                  the commit that "main" was
//   models--OWNER--NAME/snapshots/COMMIT/FILE      a link to ../../blobs/HASH
//   models--OWNER--NAME/blobs/HASH                 a content; HASH.incomplete while it is being fetched
//   models--OWNER--NAME/.no_exist/COMMIT/FILE      empty: the repository has no such file
//   .locks/models--OWNER--NAME/HASH.lock           who fetches it
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/hub/hub_name.h"

namespace coppice::server {

// The part of a cache that one repository has. Immutable: it is the disk that changes. Thread: any.
class HubCache {
 public:
  HubCache(const std::filesystem::path& root, const HubName& name);

  // The commit that a revision is, as far as the cache knows.
  std::optional<std::string> commit(const std::string& revision) const;
  // The files of a commit that are here whole, by their names in the repository; none when the commit is not here.
  std::vector<std::string> files(const std::string& commit) const;

  // Whether a commit is known to lack a file.
  bool is_absent(const std::string& commit, const std::string& file) const;

  std::filesystem::path snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }
  std::filesystem::path blob(const std::string& hash) const { return folder_ / "blobs" / hash; }
  std::filesystem::path lock(const std::string& hash) const { return locks_ / (hash + ".lock"); }

  // The folders of blobs and locks. ERRORS: Internal.
  absl::Status prepare() const;
  // Makes blobs visible as files of a commit, in this order, then the revision as the commit. REQUIRES: the names are
  // safe paths, the blobs are there. ERRORS: Internal.
  absl::Status publish(const std::string& revision, const std::string& commit,
                       const std::vector<std::pair<std::string, std::string>>& names_and_hashes) const;
  // REQUIRES: a safe path. ERRORS: Internal.
  absl::Status note_absent(const std::string& commit, const std::string& file) const;

 private:
  absl::Status link(const std::string& commit, const std::string& name, const std::string& hash) const;

  std::filesystem::path folder_;
  std::filesystem::path locks_;
};

}  // namespace coppice::server
