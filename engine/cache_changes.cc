// The queue of changes of the prefix cache.
#include "engine/cache_changes.h"

#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace coppice::engine {
namespace {

std::size_t blocks_of(const std::vector<CacheChange>& changes) {
  std::size_t blocks = 0;
  for (const CacheChange& change : changes) {
    blocks += change.blocks.size();
  }
  return blocks;
}

}  // namespace

BlockHash root_hash(std::string_view tenant) {
  return XXH3_64bits(tenant.data(), tenant.size());
}

void CacheChangeQueue::make_room(std::size_t blocks) {
  const std::lock_guard<std::mutex> lock(mutex_);
  blocks_max_ = std::max(blocks_max_, blocks);
}

bool CacheChangeQueue::append(std::vector<CacheChange>&& changes) {
  const std::size_t blocks = blocks_of(changes);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (std::exchange(has_lost_, false) || blocks > blocks_max_ - blocks_) {
      return false;
    }
    blocks_ += blocks;
    if (changes_.empty()) {
      changes_.swap(changes);
    } else {
      std::move(changes.begin(), changes.end(), std::back_inserter(changes_));
    }
  }
  has_come_.notify_one();
  return true;
}

void CacheChangeQueue::mark_lost() {
  const std::lock_guard<std::mutex> lock(mutex_);
  has_lost_ = true;
}

bool CacheChangeQueue::is_empty() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return changes_.empty();
}

std::vector<CacheChange> CacheChangeQueue::take(std::chrono::milliseconds patience) {
  std::vector<CacheChange> taken;
  std::unique_lock<std::mutex> lock(mutex_);
  has_come_.wait_for(lock, patience, [this] { return !changes_.empty() || is_closed_; });
  taken.swap(changes_);
  blocks_ = 0;
  return taken;
}

void CacheChangeQueue::close() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_closed_ = true;
  }
  has_come_.notify_all();
}

bool CacheChangeQueue::is_closed() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return is_closed_;
}

}  // namespace coppice::engine
