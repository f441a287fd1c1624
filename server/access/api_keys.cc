// Keys from a file, and the comparison.
#include "server/access/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <fstream>

namespace coppice::server {
namespace {

constexpr std::size_t kKeyBytesMin = 8;    // a shorter key is easy to guess
constexpr std::size_t kKeyBytesMax = 512;  // far below the limit on a request's header
constexpr std::size_t kKeysMax = 10'000;   // a caller's key is compared with each one

bool is_printable(std::string_view key) {
  return std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

absl::StatusOr<ApiKeys> ApiKeys::load(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(fmt::format("--api-key-file {}: cannot be read", path));
  }
  ApiKeys keys;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
      line.pop_back();
    }
    if (line.empty() || line[0] == '#') {
      continue;
    }
    if (line.size() < kKeyBytesMin || line.size() > kKeyBytesMax || !is_printable(line)) {
      return absl::InvalidArgumentError(
          fmt::format("--api-key-file {}: line {}: a key has {} to {} printable ASCII "
                      "characters and no space",
                      path, number, kKeyBytesMin, kKeyBytesMax));
    }
    if (keys.digests_.size() == kKeysMax) {
      return absl::InvalidArgumentError(fmt::format("--api-key-file {}: more than {} keys", path, kKeysMax));
    }
    Digest& digest = keys.digests_.emplace_back();
    SHA256(reinterpret_cast<const unsigned char*>(line.data()), line.size(), digest.data());
  }
  if (!keys.required()) {
    return absl::InvalidArgumentError(fmt::format("--api-key-file {}: holds no key; write one a line", path));
  }
  return keys;
}

std::optional<std::string> ApiKeys::tenant(std::string_view key) const {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < digests_.size(); ++i) {
    if (CRYPTO_memcmp(digest.data(), digests_[i].data(), digest.size()) == 0) {
      found = i;
    }
  }
  return found ? std::optional(fmt::format("key{}", *found)) : std::nullopt;
}

std::optional<std::string> ApiKeys::tenant_of_bearer(std::string_view authorization) const {
  constexpr std::string_view kScheme = "bearer ";
  const bool is_bearer = authorization.size() > kScheme.size() &&
                         std::equal(kScheme.begin(), kScheme.end(), authorization.begin(), [](char wanted, char came) {
                           return wanted == (came >= 'A' && came <= 'Z' ? came + 32 : came);
                         });
  return is_bearer ? tenant(authorization.substr(kScheme.size())) : std::nullopt;
}

std::string tenant_of(const std::string& key_tenant, const std::string& cache_salt) {
  return cache_salt.empty() ? key_tenant : key_tenant + "|" + cache_salt;
}

}  // namespace coppice::server
