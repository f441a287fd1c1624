// KvHoldings: what the prefix cache holds, by all that has been told of it, so that a reader who comes late can be told
// at once. The engine has no part in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/cache_changes.h"
#include "server/kv_events/kv_event_log.h"

namespace coppice::server {

struct HeldBlock {
  engine::BlockHash hash = 0;
  std::optional<engine::BlockHash> parent;
  std::shared_ptr<const std::string> tenant;
  std::vector<TokenId> tokens;
};

using HeldBlockPointer = std::shared_ptr<const HeldBlock>;

// A value: what was held when all batches before `next`, and no others, had been told.
struct KvSnapshot {
  std::uint64_t next = 0;
  double unix_s = 0;                     // when the last of these batches was published
  std::vector<HeldBlockPointer> blocks;  // parents first
};

// The blocks as changes that store them, blocks that follow one another in one change.
std::vector<engine::CacheChange> to_changes(std::span<const HeldBlockPointer> blocks);

// A block takes some 250 bytes beside its tokens: a hundredth of its page in the KV cache, or less. Thread: any;
// internally locked.
class KvHoldings {
 public:
  // The batch has been told. REQUIRES: the one before was applied.
  void apply(const KvEventBatch& batch);
  // Takes some 50 ns a block.
  KvSnapshot snapshot() const;
  // About what the log needs to remember them, however they hang together.
  std::size_t log_bytes() const;

 private:
  void store(const engine::CacheChange& change);

  using Blocks = std::list<HeldBlockPointer>;
  mutable std::mutex mutex_;
  Blocks blocks_;  // in the order in which they came: parents first; guarded by mutex_, as below
  absl::flat_hash_map<engine::BlockHash, Blocks::iterator> places_;
  std::size_t log_bytes_ = 0;
  std::uint64_t next_ = 0;
  double unix_s_ = 0;
};

}  // namespace coppice::server
