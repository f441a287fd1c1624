// Cutting changes into batches; remembering the last of them.
#include "server/kv_events/kv_event_log.h"

#include <algorithm>
#include <utility>

namespace coppice::server {
namespace {

using engine::CacheChange;

// Beside blocks and tokens: the batch, its place in the log, allocations.
constexpr std::size_t kBatchBytes = 256;

std::size_t bytes_of(const KvEventBatch& batch) {
  std::size_t bytes = kBatchBytes;
  for (const CacheChange& change : batch.changes) {
    bytes += sizeof(CacheChange) + change.tenant.size() + change.blocks.size() * sizeof(engine::BlockHash) +
             change.tokens.size() * sizeof(TokenId);
  }
  return bytes;
}

// The first `count` blocks of `change`, which keeps the rest.
CacheChange cut_front(CacheChange& change, std::size_t count, std::size_t page_size) {
  CacheChange front{.kind = change.kind, .tenant = change.tenant, .parent = change.parent, .blocks = {}};
  const auto cut = static_cast<std::ptrdiff_t>(count);
  front.blocks.assign(change.blocks.begin(), change.blocks.begin() + cut);
  change.blocks.erase(change.blocks.begin(), change.blocks.begin() + cut);
  if (change.kind == CacheChange::Kind::kStored) {
    const auto token_cut = static_cast<std::ptrdiff_t>(count * page_size);
    front.tokens.assign(change.tokens.begin(), change.tokens.begin() + token_cut);
    change.tokens.erase(change.tokens.begin(), change.tokens.begin() + token_cut);
    change.parent = front.blocks.back();
  }
  return front;
}

}  // namespace

std::vector<std::vector<CacheChange>> cut_changes(std::vector<CacheChange> changes, std::size_t blocks_max,
                                                  std::size_t page_size) {
  std::vector<std::vector<CacheChange>> batches;
  std::size_t room = 0;
  for (CacheChange& change : changes) {
    while (change.blocks.size() > blocks_max) {
      batches.emplace_back().push_back(cut_front(change, blocks_max, page_size));
      room = 0;
    }
    const std::size_t size = std::max<std::size_t>(change.blocks.size(), 1);  // so that batches of clears end, too
    if (size > room) {
      batches.emplace_back();
      room = blocks_max;
    }
    room -= size;
    batches.back().push_back(std::move(change));
  }
  return batches;
}

KvEventBatchPointer KvEventLog::append(std::vector<CacheChange> changes, double unix_s) {
  auto batch = std::make_shared<KvEventBatch>();
  batch->unix_s = unix_s;
  batch->changes = std::move(changes);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    batch->sequence = next_++;
    bytes_ += bytes_of(*batch);
    batches_.push_back(batch);
    while (bytes_ > bytes_max_ && batches_.size() > 1) {
      bytes_ -= bytes_of(*batches_.front());
      batches_.pop_front();
    }
  }
  wake_listeners();
  return batch;
}

void KvEventLog::wake_listeners() {
  const std::lock_guard<std::mutex> lock(listeners_mutex_);
  for (const auto& [id, wake] : listeners_) {
    wake();
  }
}

void KvEventLog::close() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_closed_ = true;
  }
  wake_listeners();
}

bool KvEventLog::is_closed() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return is_closed_;
}

KvEventBatchPointer KvEventLog::find(std::uint64_t sequence) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (batches_.empty() || sequence >= next_) {
    return nullptr;
  }
  const std::uint64_t first = batches_.front()->sequence;
  return batches_[sequence <= first ? 0 : static_cast<std::size_t>(sequence - first)];
}

std::uint64_t KvEventLog::oldest() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return batches_.empty() ? next_ : batches_.front()->sequence;
}

std::uint64_t KvEventLog::next() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return next_;
}

std::size_t KvEventLog::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

std::uint64_t KvEventLog::add_listener(Wake wake) {
  const std::lock_guard<std::mutex> lock(listeners_mutex_);
  listeners_.emplace(++listener_ids_, std::move(wake));
  return listener_ids_;
}

void KvEventLog::remove_listener(std::uint64_t listener) {
  const std::lock_guard<std::mutex> lock(listeners_mutex_);
  listeners_.erase(listener);
}

}  // namespace coppice::server
