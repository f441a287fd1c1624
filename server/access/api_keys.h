// ApiKeys: who may call. Keys are kept as digests and compared in constant time, every key each time, so that neither
// content nor position of a match can be timed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::server {

// Immutable; any thread. Shared by HTTP and gRPC.
class ApiKeys {
 public:
  ApiKeys() = default;  // no keys: everyone may call

  // One key a line; blank lines and lines that begin with '#' are skipped. ERRORS: NotFound, InvalidArgument naming
  // file and line for a key that is too short (< 8), too long (> 512) or not printable ASCII, and for an empty file.
  static absl::StatusOr<ApiKeys> load(const std::string& path);

  bool required() const { return !digests_.empty(); }
  // The tenant a key stands for ("key3", from the key's place in the file), or nothing when it is not known.
  std::optional<std::string> tenant(std::string_view key) const;
  // The same for the value of an Authorization header, "Bearer KEY".
  std::optional<std::string> tenant_of_bearer(std::string_view authorization) const;

 private:
  using Digest = std::array<unsigned char, 32>;  // SHA-256
  std::vector<Digest> digests_;
};

// Whose prefixes and outputs may be shared: an API key's, and within it a cache salt's.
std::string tenant_of(const std::string& key_tenant, const std::string& cache_salt);

}  // namespace coppice::server
