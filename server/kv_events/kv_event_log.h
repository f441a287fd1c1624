// KvEventLog: the last batches of what the prefix cache came to hold and holds no longer, numbered, for those who
// missed some or read at their own pace. Its memory is bounded: the oldest batches go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/cache_changes.h"

namespace coppice::server {

// A value.
struct KvEventBatch {
  std::uint64_t sequence = 0;
  double unix_s = 0;  // when it was published
  std::vector<engine::CacheChange> changes;
};

using KvEventBatchPointer = std::shared_ptr<const KvEventBatch>;

// Cuts changes into batches that every reader takes: of at most `blocks_max` blocks, each with one change or more. What
// is longer goes on in the next batch. REQUIRES: blocks_max > 0; page_size tokens a block that is stored.
std::vector<std::vector<engine::CacheChange>> cut_changes(std::vector<engine::CacheChange> changes,
                                                          std::size_t blocks_max, std::size_t page_size);

// Thread: any; internally locked.
class KvEventLog {
 public:
  // Remembers at most about `bytes_max` bytes, and always the last batch.
  explicit KvEventLog(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // Numbers the batch and wakes the listeners. Thread: one at a time.
  KvEventBatchPointer append(std::vector<engine::CacheChange> changes, double unix_s);
  // The batch of that number, or of the least greater one that is remembered; null: there is none yet.
  KvEventBatchPointer find(std::uint64_t sequence) const;
  // The number of the oldest batch that is remembered, and of the one to come.
  std::uint64_t oldest() const;
  std::uint64_t next() const;
  std::size_t bytes() const;

  // No batch comes any more.
  void close();
  bool is_closed() const;

  // `wake` is called after each append() and close(), until remove_listener() has returned; it must not block, nor call
  // the log.
  using Wake = std::function<void()>;
  std::uint64_t add_listener(Wake wake);
  void remove_listener(std::uint64_t listener);
  // As if something had come: what listeners look at beside the log has changed.
  void wake_listeners();

 private:
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::deque<KvEventBatchPointer> batches_;  // guarded by mutex_, as below
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 0;
  bool is_closed_ = false;
  std::mutex listeners_mutex_;
  std::map<std::uint64_t, Wake> listeners_;  // guarded by listeners_mutex_, as below
  std::uint64_t listener_ids_ = 0;
};

}  // namespace coppice::server
