// Keys from a file, the comparison, and the names of tenants.
#include "server/access/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "base/file.h"

namespace coppice::server {
namespace {

constexpr std::size_t kKeyBytesMin = 8;                       // a shorter key is easy to guess
constexpr std::size_t kKeyBytesMax = 512;                     // far below the limit on a request's header
constexpr std::size_t kKeysMax = 10'000;                      // a caller's key is compared with each one
constexpr std::size_t kFileBytesMax = std::size_t{16} << 20;  // that many of the longest keys, and comments
// Digits of a tenant's name / 2: no two of 10,000 keys meet by chance (3e-12).
constexpr std::size_t kTenantDigestBytes = 8;
// Before the key in the digest that names its tenant: the name gives nothing away of the digest that keys are compared
// by.
constexpr std::string_view kTenantDomain = "coppice tenant 1:";

using Digest = std::array<unsigned char, 32>;  // SHA-256

Digest digest_of(std::string_view bytes) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return digest;
}

bool is_printable(std::string_view key) {
  return std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

std::string tenant_of_key(std::string_view key) {
  const Digest digest = digest_of(std::string(kTenantDomain).append(key));
  std::string name = "key-";
  for (std::size_t i = 0; i < kTenantDigestBytes; ++i) {
    name += fmt::format("{:02x}", digest[i]);
  }
  return name;
}

bool is_key_tenant(std::string_view text) {
  constexpr std::string_view kBegin = "key-";
  return text.size() == kBegin.size() + 2 * kTenantDigestBytes && text.starts_with(kBegin) &&
         std::all_of(text.begin() + kBegin.size(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

ApiKeys::ApiKeys() : entries_(std::make_shared<const Entries>()) {}

ApiKeys::ApiKeys(ApiKeys&& other) noexcept : entries_(other.entries()) {}

ApiKeys& ApiKeys::operator=(ApiKeys&& other) noexcept {
  entries_ = other.entries();
  return *this;
}

std::shared_ptr<const ApiKeys::Entries> ApiKeys::entries() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return entries_;
}

absl::StatusOr<ApiKeys> ApiKeys::load(const std::string& path) {
  const absl::StatusOr<std::string> text = base::read_file(path, kFileBytesMax);
  if (!text.ok()) {
    return absl::Status(text.status().code(), fmt::format("--api-key-file {}", std::string(text.status().message())));
  }
  return parse(*text, path);
}

absl::StatusOr<ApiKeys> ApiKeys::parse(std::string_view text, const std::string& path) {
  auto entries = std::make_shared<Entries>();
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
      line.remove_suffix(1);
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
    if (entries->size() == kKeysMax) {
      return absl::InvalidArgumentError(fmt::format("--api-key-file {}: more than {} keys", path, kKeysMax));
    }
    entries->push_back({digest_of(line), tenant_of_key(line)});
  }
  if (entries->empty()) {
    return absl::InvalidArgumentError(fmt::format("--api-key-file {}: holds no key; write one a line", path));
  }
  ApiKeys keys;
  keys.entries_ = std::move(entries);
  return keys;
}

std::vector<std::string> ApiKeys::replace(ApiKeys&& other) {
  std::shared_ptr<const Entries> old = other.entries();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.swap(old);
  }
  std::vector<std::string> gone;
  for (const Entry& entry : *old) {
    if (!is_known(entry.tenant)) {
      gone.push_back(entry.tenant);
    }
  }
  return gone;
}

std::optional<std::string> ApiKeys::tenant(std::string_view key) const {
  const Digest digest = digest_of(key);
  const std::shared_ptr<const Entries> entries = this->entries();
  const Entry* found = nullptr;
  for (const Entry& entry : *entries) {
    if (CRYPTO_memcmp(digest.data(), entry.digest.data(), digest.size()) == 0) {
      found = &entry;
    }
  }
  return found != nullptr ? std::optional(found->tenant) : std::nullopt;
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

std::string_view key_part(std::string_view tenant) {
  return tenant.substr(0, tenant.find('|'));
}

bool ApiKeys::is_known(std::string_view tenant) const {
  const std::string_view name = key_part(tenant);
  const std::shared_ptr<const Entries> entries = this->entries();
  return entries->empty() ? name.empty() : std::any_of(entries->begin(), entries->end(), [name](const Entry& entry) {
    return entry.tenant == name;
  });
}

std::size_t ApiKeys::shares() const {
  return std::max<std::size_t>(entries()->size(), 1);
}

}  // namespace coppice::server
