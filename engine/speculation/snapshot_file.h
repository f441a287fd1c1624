// Snapshot of past outputs to draft from, in a file: per tenant, oldest first. The trees are built anew from it.
// Layout, little endian:
//   "COPPSPEC" | u32 version | u32 0 | u64 fingerprint | u64 payload bytes | u64 XXH3-64 of all other bytes | payload
//   payload: u32 tenants; each: u32 bytes of its name, the name, u32 sequences; each: u32 tokens, i32 token ids
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/types.h"

namespace coppice::engine {

using SharedText = std::shared_ptr<const std::vector<TokenId>>;

struct TenantText {
  std::string tenant;
  std::vector<SharedText> sequences;
};
struct SpeculationSnapshot {
  std::vector<TenantText> tenants;
};

// Replaces the file as a whole (base/file.h). Only the owner of the process may read it. `fingerprint`: of the
// vocabulary that the ids are of. ERRORS: Internal with the system's reason.
absl::Status write_snapshot(const SpeculationSnapshot& snapshot, std::uint64_t fingerprint, const std::string& path);

// A payload behind a header that fits it: the bytes of a file.
std::string with_header(std::string_view payload, std::uint64_t fingerprint);

// ERRORS: NotFound when there is no such file; InvalidArgument when it is no regular file or too large; DataLoss when
// it is torn, foreign, of another version or vocabulary.
absl::StatusOr<SpeculationSnapshot> read_snapshot(std::uint64_t fingerprint, const std::string& path);
// The same from the file's bytes; `path` names it in messages.
absl::StatusOr<SpeculationSnapshot> parse_snapshot(std::string_view bytes, std::uint64_t fingerprint,
                                                   const std::string& path);

}  // namespace coppice::engine
