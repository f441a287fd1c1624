// Keeping the books of blocks, and telling them.
#include "server/kv_events/kv_holdings.h"

#include <iterator>
#include <utility>

namespace coppice::server {
namespace {

using engine::BlockHash;
using engine::CacheChange;

// As if each block were a change of its own.
std::size_t log_bytes_of(const HeldBlock& block) {
  return sizeof(CacheChange) + block.tenant->size() + sizeof(BlockHash) + block.tokens.size() * sizeof(TokenId);
}

}  // namespace

std::vector<CacheChange> to_changes(std::span<const HeldBlockPointer> blocks) {
  std::vector<CacheChange> changes;
  for (const HeldBlockPointer& block : blocks) {
    if (changes.empty() || block->parent != changes.back().blocks.back() || changes.back().tenant != *block->tenant) {
      changes.push_back(
          {.kind = CacheChange::Kind::kStored, .tenant = *block->tenant, .parent = block->parent, .blocks = {}});
    }
    changes.back().blocks.push_back(block->hash);
    changes.back().tokens.insert(changes.back().tokens.end(), block->tokens.begin(), block->tokens.end());
  }
  return changes;
}

void KvHoldings::apply(const KvEventBatch& batch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const CacheChange& change : batch.changes) {
    switch (change.kind) {
      case CacheChange::Kind::kStored:
        store(change);
        break;
      case CacheChange::Kind::kRemoved:
        for (const BlockHash hash : change.blocks) {
          if (const auto place = places_.find(hash); place != places_.end()) {
            log_bytes_ -= log_bytes_of(**place->second);
            blocks_.erase(place->second);
            places_.erase(place);
          }
        }
        break;
      case CacheChange::Kind::kCleared:
        places_.clear();
        blocks_.clear();
        log_bytes_ = 0;
        break;
    }
  }
  next_ = batch.sequence + 1;
  unix_s_ = batch.unix_s;
}

// Those that are held already stay where they are: before their children.
void KvHoldings::store(const CacheChange& change) {
  if (change.blocks.empty()) {
    return;
  }
  const std::size_t page_size = change.tokens.size() / change.blocks.size();
  const auto tenant = std::make_shared<const std::string>(change.tenant);
  std::optional<BlockHash> parent = change.parent;
  for (std::size_t i = 0; i < change.blocks.size(); ++i) {
    const BlockHash hash = change.blocks[i];
    const auto begin = change.tokens.begin() + static_cast<std::ptrdiff_t>(i * page_size);
    const auto end = begin + static_cast<std::ptrdiff_t>(page_size);
    if (!places_.contains(hash)) {
      blocks_.push_back(std::make_shared<const HeldBlock>(HeldBlock{hash, parent, tenant, {begin, end}}));
      places_.emplace(hash, std::prev(blocks_.end()));
      log_bytes_ += log_bytes_of(*blocks_.back());
    }
    parent = hash;
  }
}

KvSnapshot KvHoldings::snapshot() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {.next = next_, .unix_s = unix_s_, .blocks = {blocks_.begin(), blocks_.end()}};
}

std::size_t KvHoldings::log_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return log_bytes_;
}

}  // namespace coppice::server
