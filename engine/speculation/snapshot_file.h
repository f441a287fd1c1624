// Snapshot of past outputs to draft from, in a file: per tenant, oldest first. The trees are built anew from it.
// Layout, little endian:
//   "COPPSPEC" | u32 version | u32 0 | u64 fingerprint | u64 payload bytes | u64 XXH3-64 of all other bytes | payload
//   payload: u32 tenants; each: u32 bytes of its name, the name, u32 sequences; each: u32 tokens, i32 token ids
#pragma once

#include <cstdint>
#include <memory>
#include <string>
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

// Writes a file beside `path`, then renames it: a reader sees the old file or the new one, whole. Only the owner of the
// process may read it. `fingerprint`: of the vocabulary that the ids are of.
// ERRORS: Internal with the system's reason.
absl::Status write_snapshot(const SpeculationSnapshot& snapshot, std::uint64_t fingerprint, const std::string& path);

// ERRORS: NotFound when there is no such file; DataLoss when it is torn, foreign, of another version or vocabulary.
absl::StatusOr<SpeculationSnapshot> read_snapshot(std::uint64_t fingerprint, const std::string& path);

}  // namespace coppice::engine
