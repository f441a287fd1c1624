// CacheJournal: writes down what comes into the radix tree and what leaves it, and hands the changes to their queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "engine/cache_changes.h"
#include "engine/kv_pool.h"

namespace coppice::engine {

class RadixTree;  // radix_tree.h

// Owner: PageKeeper. Thread: the engine's. A reader that misses a change would believe in pages that are gone, so when
// the queue refuses changes the journal is behind: it writes nothing more until the queue is empty; then the whole tree
// is written down anew.
class CacheJournal {
 public:
  CacheJournal(std::shared_ptr<CacheChangeQueue> queue, const KvPool& pool);

  // `pages` have come into the tree, one behind the other, the first behind `parent` (kNoPage: at the tenant's root).
  // REQUIRES: `tokens` are theirs; `parent` was stored before.
  void store(std::string_view tenant, PageId parent, std::span<const PageId> pages, std::span<const TokenId> tokens);
  // The page has left the tree. REQUIRES: it was stored.
  void remove(std::string_view tenant, PageId page);
  // Hands over what has been written since the last call; of the whole of `tree`, whose journal this is, where
  // something was lost and the queue is empty again.
  void flush(const RadixTree& tree);

 private:
  void restart(const RadixTree& tree);

  const std::shared_ptr<CacheChangeQueue> queue_;
  const std::size_t page_size_;
  std::vector<BlockHash> hashes_;  // [pool pages] of those in the tree
  std::vector<CacheChange> changes_;
  bool is_behind_ = false;
};

}  // namespace coppice::engine
