// Files fetched over HTTPS into their places: several at once, each resumed where a connection or an earlier run was
// cut, checked by size and hash before it gets its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/hub/content_hash.h"
#include "server/hub/https_client.h"

namespace coppice::server {

struct Download {
  Url url;
  std::string token = {};  // for url's host alone
  std::string what;        // names it in messages
  std::uint64_t bytes = 0;
  HashKind hash_kind = HashKind::kSha256;
  std::string hash;            // lower-case hexadecimal
  std::filesystem::path path;  // in a folder that exists
  std::filesystem::path lock;  // the same
};

// Bytes done, bytes in all. Thread: the caller's.
using FetchProgress = std::function<void(std::size_t, std::size_t)>;

// Returns when all are in their places, or after the first error; what came until then stays for the next run. A file
// that is there already is not fetched. ERRORS: ResourceExhausted when the disk has no room; DataLoss for a file whose
// content is not what its hash says (it is removed), or of which more comes than its size; as follow(), after some
// tries.
absl::Status download_all(const HttpsClient& client, const std::vector<Download>& downloads,
                          const FetchProgress& progress);

}  // namespace coppice::server
