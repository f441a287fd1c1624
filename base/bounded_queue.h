// BoundedQueue: the queue between threads. Many threads push, one takes everything at once. Besides snapshots it is the
// only way into the engine's thread, and the only mutex on it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "base/release.h"

namespace coppice::base {

// Thread: all methods from any thread; take() and wait() from the one consumer. Owner: the consumer.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  // False, with `item` untouched, when the queue is full. Never blocks.
  bool try_push(T&& item) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (items_.size() >= capacity_) {
        return false;
      }
      items_.push_back(std::move(item));
      filled_.store(true, std::memory_order_release);
    }
    ready_.notify_one();
    return true;
  }

  // For items that must not be lost and whose number something else bounds (a cancel: one a live choice).
  void push(T&& item) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      items_.push_back(std::move(item));
      filled_.store(true, std::memory_order_release);
    }
    ready_.notify_one();
  }

  // Moves everything queued into `taken` (which is emptied first), in order of arrival.
  void take(std::vector<T>& taken) {
    taken.clear();
    const std::lock_guard<std::mutex> lock(mutex_);
    taken.swap(items_);
    filled_.store(false, std::memory_order_release);
  }

  // Frees the memory of the most items that ever waited, if none waits.
  void shrink() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (items_.empty()) {
      release(items_);
    }
  }

  // Takes no lock: for a consumer that looks often.
  bool is_empty() const { return !filled_.load(std::memory_order_acquire); }

  // Blocks until something is queued or the queue is closed.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    ready_.wait(lock, [this] { return closed_ || !items_.empty(); });
  }

  // From now on wait() returns at once. Pushing still works.
  void close() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<T> items_;             // guarded by mutex_
  std::atomic<bool> filled_{false};  // items_ is not empty; written under mutex_
  bool closed_ = false;              // guarded by mutex_
};

}  // namespace coppice::base
