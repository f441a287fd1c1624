// ApiKeys: who may call, and by which name the rest of the server knows a caller. Keys are kept as digests and compared
// in constant time, every key each time, so that neither content nor position of a match can be timed.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::server {

// A key's tenant, "key-" and 16 hexadecimal digits: of a digest of the key alone, so that no other key ever takes the
// name over, wherever it stands in the file. Not the digest that keys are compared by.
std::string tenant_of_key(std::string_view key);
// Whether `text` has the form of such a name.
bool is_key_tenant(std::string_view text);

// Thread: any. Shared by HTTP and gRPC.
class ApiKeys {
 public:
  ApiKeys();  // no keys: everyone may call
  ApiKeys(ApiKeys&& other) noexcept;
  ApiKeys& operator=(ApiKeys&& other) noexcept;

  // One key a line; blank lines and lines that begin with '#' are skipped. ERRORS: NotFound, InvalidArgument naming
  // file and line for a key that is too short (< 8), too long (> 512) or not printable ASCII, and for an empty file.
  static absl::StatusOr<ApiKeys> load(const std::string& path);
  // The same from the file's text; `path` names it in messages.
  static absl::StatusOr<ApiKeys> parse(std::string_view text, const std::string& path);

  // From now on the keys are those of `other`. Calls that were let in go on. Returns the tenants that are none any
  // more.
  std::vector<std::string> replace(ApiKeys&& other);

  bool required() const { return !entries()->empty(); }
  // The tenant that a key stands for, or nothing when it is not known.
  std::optional<std::string> tenant(std::string_view key) const;
  // The same for the value of an Authorization header, "Bearer KEY".
  std::optional<std::string> tenant_of_bearer(std::string_view authorization) const;
  // Whether a caller may have this name, salt included (tenant_of()): a key's that is known, or no key's where none is
  // required.
  bool is_known(std::string_view tenant) const;
  // How many parts there are to share the server in: one a key, one where none is required.
  std::size_t shares() const;

 private:
  struct Entry {
    std::array<unsigned char, 32> digest;  // SHA-256
    std::string tenant;
  };
  using Entries = std::vector<Entry>;

  std::shared_ptr<const Entries> entries() const;

  mutable std::mutex mutex_;
  std::shared_ptr<const Entries> entries_;  // guarded by mutex_; never null
};

// Whose prefixes and outputs may be shared: an API key's, and within it a cache salt's. A key's name holds no '|', so
// no salt makes the name of another key's tenant.
std::string tenant_of(const std::string& key_tenant, const std::string& cache_salt);
// The part of that name which the key gave: "" without keys.
std::string_view key_part(std::string_view tenant);

}  // namespace coppice::server
