// PageKeeper: which KV pages each sequence holds, which prefixes are cached, which are pinned, and the SharingOrder
// that follows from common pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/types.h"
#include "engine/cache_journal.h"
#include "engine/kv_pool.h"
#include "engine/limits.h"
#include "engine/pinned_prefixes.h"
#include "engine/radix_tree.h"
#include "engine/sequence.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// Length of the common prefix of two lists of ids, be they pages or tokens. REQUIRES: their first `known` entries
// agree.
inline std::int32_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b,
                                  std::int32_t known = 0) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<std::int32_t>(std::mismatch(a.begin() + known, a.begin() + count, b.begin() + known).first -
                                   a.begin());
}

// The running sequences in depth-first order of the tree that their page tables form: for every k, those that share
// their first k pages stand side by side. Kept step by step, so a steady batch costs nothing. Owner: PageKeeper.
// Thread: the engine's.
// Invariant order.contiguous: for every k, entries with the same first k pages are contiguous, and an entry's
// shared_pages is the exact number of leading pages in common with the entry before.
class SharingOrder {
 public:
  struct Entry {
    SequenceSlot slot = kNoSequence;
    std::int32_t shared_pages = 0;
  };

  // The pages of a sequence in order of position.
  using PagesOf = std::function<std::span<const PageId>(SequenceSlot)>;

  explicit SharingOrder(PagesOf pages) : pages_(std::move(pages)) {}

  // O(entries + pages): one comparison is carried along the list, never restarted.
  void insert(SequenceSlot slot);
  void remove(SequenceSlot slot);
  // After a page of its table was replaced. Appending own pages needs no call.
  void refresh(SequenceSlot slot) {
    remove(slot);
    insert(slot);
  }
  std::span<const Entry> entries() const { return entries_; }
  void check_integrity() const;

 private:
  const PagesOf pages_;
  std::vector<Entry> entries_;
};

// Owner: the scheduler. Thread: the engine's. Writes PageHold. It takes pages from the pool and from the prefix cache,
// never from another sequence: Preemption decides which sequence gives up its own.
class PageKeeper {
 public:
  // `changes`: where the prefix cache's changes go; null: they are not written down.
  PageKeeper(const Limits& limits, bool prefix_cache, const SequenceTable& sequences, const RequestTable& requests,
             std::shared_ptr<CacheChangeQueue> changes);

  // Forgets the copies of the step before.
  void begin_step() { copies_.clear(); }
  // It is `now`: prefixes whose time is over are kept no longer.
  void set_time(base::Clock::TimePoint now) { tree_.set_time(now); }

  // Takes the longest cached prefix of its tokens, as computed; never the last token, whose output is needed, and
  // nothing unless it reads_cache(). REQUIRES: the sequence holds no pages.
  void find_prefix(Sequence& sequence);
  // Tokens of its longest cached prefix. Changes nothing.
  std::int32_t peek_prefix(const Sequence& sequence) const;
  // `child` takes over the KV of `parent`'s prompt by reference, except the last token's; of a branch, that of
  // Request::prompt. Nothing if the child wants the output of every row. REQUIRES: the prompt is computed; the child's
  // tokens are its own prompt and it holds no pages. Returns how many leading tokens siblings have in common:
  // Request::prompt.
  std::int32_t fork(const Sequence& parent, Sequence& child);
  // The sequence runs from now on: it takes its place in the sharing order.
  void enter_order(Sequence& sequence);
  // Gives up all that the sequence holds.
  void drop(Sequence& sequence);

  // Free pages that the next `token_count` tokens need, after those computed and those of a draft in verification.
  std::int32_t missing_pages(const Sequence& sequence, std::int32_t token_count) const;
  // Makes the pages of those tokens the sequence's own: appends free ones, and replaces a shared page that will be
  // written, which adds a copy to the step. REQUIRES: missing_pages() are free.
  void hold_pages(Sequence& sequence, std::int32_t token_count);
  // Appends free pages until they hold `token_count` tokens. REQUIRES: enough are free.
  void cover(Sequence& sequence, std::int32_t token_count);
  // Tokens that the sequence's pages and all free pages hold.
  std::int64_t tokens_within_reach(const Sequence& sequence) const;

  // The first `count` tokens are computed, or will be when the step that runs is over.
  static void set_computed(Sequence& sequence, std::int32_t count) { sequence.hold.computed_ = count; }
  // After a step: gives up pages beyond the sequence's tokens and its choice, shows whole computed pages to the prefix
  // cache, and keeps or pins there what the request asks for. The cache's changes up to then go out.
  void advance(Sequence& sequence);
  // Whether the sequence may find its prefix in the cache; not one that wants the output of every row.
  bool reads_cache(const Sequence& sequence) const {
    return prefix_cache_ && !sequence.wants_rows() && requests_[sequence.request].request.cache.reads;
  }

  // Frees at most `pages` pages that only the prefix cache holds; returns how many.
  std::int32_t evict(std::int32_t pages) { return tree_.evict(pages); }
  // Free pages, with those that evict() could free.
  std::int32_t available() const { return pool_.free_pages() + tree_.evictable_pages(); }

  const PinnedPrefixes& pins() const { return pins_; }
  std::span<const PageCopy> copies() const { return copies_; }
  const SharingOrder& order() const { return order_; }
  // Leading tokens that `leader` shows the prefix cache at most, if `sequence` may find them there.
  std::int32_t shown_max(const Sequence& leader, const Sequence& sequence) const {
    const Request& leading = requests_[leader.request].request;
    return leading.tenant == requests_[sequence.request].request.tenant ? leading.cache.write_tokens : 0;
  }
  const KvPool& pool() const { return pool_; }
  const RadixTree& tree() const { return tree_; }
  // COPPICE_CHECKs pool.counts, pool.balance, sequence.counters, radix.* and order.contiguous.
  void check_integrity() const;

 private:
  bool starts_in_shared_page(const Sequence& sequence) const;
  std::int32_t pages_with(const Sequence& sequence, std::int32_t token_count) const;
  void replaced_pages(Sequence& sequence);
  void show_computed(Sequence& sequence);
  void keep_prefixes(Sequence& sequence);
  std::vector<std::int32_t> count_references() const;

  const bool prefix_cache_;
  const SequenceTable& sequences_;
  const RequestTable& requests_;
  KvPool pool_;
  const std::unique_ptr<CacheJournal> journal_;  // null: changes are not written down
  RadixTree tree_;
  SharingOrder order_;
  PinnedPrefixes pins_;
  std::vector<PageCopy> copies_;  // that the chosen step does first
  std::uint64_t identities_ = 0;  // given to page tables
};

}  // namespace coppice::engine
