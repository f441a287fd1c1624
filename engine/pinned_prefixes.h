// PinnedPrefixes: prefixes that the operator wants in the prefix cache as long as the engine lives. They hold their
// pages as a sequence would, so they are never evicted, and leave room for the longest request that is allowed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/radix_tree.h"
#include "engine/request.h"

namespace coppice::engine {

// Owner: PageKeeper; destroyed before the pool and the tree. Thread: the engine's.
class PinnedPrefixes {
 public:
  // `tree` is null without a prefix cache. `room_tokens`: of the longest request.
  PinnedPrefixes(KvPool& pool, RadixTree* tree, std::int32_t room_tokens)
      : pool_(pool), tree_(tree), room_tokens_(room_tokens) {}

  // Why a prompt of `tokens` tokens cannot be pinned, or "".
  std::string refusal(std::int32_t tokens) const;
  // Pins the whole pages of the request's prompt that the tree has, if there is still room for them.
  void pin(const Request& request);
  // A page counts for each pin that has it.
  std::int32_t pages() const { return pages_; }
  // Adds one to counts[page] for each pin that has the page.
  void count_references(std::span<std::int32_t> counts) const;

 private:
  struct Pin {
    RadixLock lock;
    PageTable pages;  // after the lock, so that pages are given up first
  };

  KvPool& pool_;
  RadixTree* const tree_;
  const std::int32_t room_tokens_;
  std::vector<Pin> pins_;
  std::int32_t pages_ = 0;
};

}  // namespace coppice::engine
