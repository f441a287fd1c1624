// CacheChange: what the prefix cache has come to hold, or holds no longer, in blocks of one page each, for readers that
// keep a copy of its books: routers that send a prompt where its beginning is cached. CacheChangeQueue: the way out.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

// Names a page by its tokens, all tokens before them and the tenant: the same in every process. Two different pages
// have the same one by chance alone; nothing in the engine relies on it.
using BlockHash = std::uint64_t;

// A value.
struct CacheChange {
  enum class Kind : std::uint8_t { kStored, kRemoved, kCleared };

  Kind kind = Kind::kCleared;        // kCleared: the cache is empty as of now, for all that a reader knows
  std::string tenant;                // Request::tenant; all blocks of a change are one tenant's
  std::optional<BlockHash> parent;   // of kStored: the block before the first; none: they begin a prompt
  std::vector<BlockHash> blocks;     // of kStored: each comes behind the one before
  std::vector<TokenId> tokens = {};  // of kStored: a page of them a block
};

// From the engine to the one thread that reports them. The engine never waits: what does not fit is refused. Thread:
// any; internally locked.
class CacheChangeQueue {
 public:
  // From now on `blocks` blocks may wait, or more if it was told so before: the engine asks for as many as it has
  // pages, so that all it could ever tell at once fits. Until then none fit.
  void make_room(std::size_t blocks);

  // Takes all of `changes`, or none: false when they do not fit beside what waits.
  bool append(std::vector<CacheChange>&& changes);
  // Something that was taken is lost: the next append() is refused, so that everything is told anew.
  void mark_lost();
  // Whether nothing waits.
  bool is_empty() const;
  // Waits for changes until `patience` is over or the queue is closed; returns all that there are.
  std::vector<CacheChange> take(std::chrono::milliseconds patience);
  // take() waits no longer.
  void close();
  bool is_closed() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable has_come_;
  std::vector<CacheChange> changes_;  // guarded by mutex_, as below
  std::size_t blocks_ = 0;
  std::size_t blocks_max_ = 0;
  bool has_lost_ = false;
  bool is_closed_ = false;
};

// The hash of a prompt's first block has this parent: chains of different tenants never meet.
BlockHash root_hash(std::string_view tenant);

}  // namespace coppice::engine
