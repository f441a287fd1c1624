// Keeping sequences with common pages side by side; taking, replacing and giving up pages; what of them the prefix
// cache sees.
#include "engine/page_keeper.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace coppice::engine {

// The new entry goes behind the last of the entries with which it has the most pages in common; behind all when it has
// none in common with any. Walking the list, the pages in common with an entry follow from those with the entry before,
// `common`: where the two entries differ earlier than that, they are fewer; where later, they are the same; only where
// they differ just there are page tables compared, from there on.
void SharingOrder::insert(SequenceSlot slot) {
  const std::span<const PageId> mine = pages_(slot);
  std::size_t position = entries_.size();
  std::int32_t most = 0;
  std::int32_t common = 0;
  std::int32_t common_behind = 0;  // with the entry that will stand behind the new one
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::int32_t with_previous = entries_[i].shared_pages;
    common = with_previous == common ? common_prefix(mine, pages_(entries_[i].slot), common)
                                     : std::min(common, with_previous);
    if (common > 0 && common >= most) {
      most = common;
      position = i + 1;
    } else if (position == i) {
      common_behind = common;
    }
  }
  if (position < entries_.size()) {
    entries_[position].shared_pages = common_behind;
  }
  entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(position), Entry{slot, most});
}

void SharingOrder::remove(SequenceSlot slot) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [slot](const Entry& entry) { return entry.slot == slot; });
  COPPICE_CHECK(found != entries_.end(), "the sequence is not in the order");
  const std::int32_t shared = found->shared_pages;
  const auto next = entries_.erase(found);
  if (next != entries_.end()) {
    next->shared_pages = std::min(next->shared_pages, shared);
  }
}

void SharingOrder::check_integrity() const {
  COPPICE_CHECK(entries_.empty() || entries_[0].shared_pages == 0,
                "order.contiguous: the first entry shares with none");
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    const std::int32_t common = common_prefix(pages_(entries_[i - 1].slot), pages_(entries_[i].slot));
    COPPICE_CHECK(common == entries_[i].shared_pages, "order.contiguous: a stale count of shared pages");
  }
}

PageKeeper::PageKeeper(const Limits& limits, bool prefix_cache, const SequenceTable& sequences,
                       const RequestTable& requests, std::shared_ptr<CacheChangeQueue> changes)
    : prefix_cache_(prefix_cache),
      sequences_(sequences),
      requests_(requests),
      pool_(limits.pages, limits.page_size),
      journal_(changes == nullptr ? nullptr : std::make_unique<CacheJournal>(std::move(changes), pool_)),
      tree_(pool_, limits.kept, journal_.get()),
      order_([this](SequenceSlot slot) { return sequences_[slot].hold.pages_.ids(); }),
      pins_(pool_, prefix_cache ? &tree_ : nullptr, limits.model_tokens_max) {}

void PageKeeper::find_prefix(Sequence& sequence) {
  PageHold& hold = sequence.hold;
  hold.pages_ = PageTable(pool_);
  if (prefix_cache_) {
    const std::span<const TokenId> tokens(sequence.tokens.ids());
    hold.lock_ = tree_.match(requests_[sequence.request].request.tenant,
                             tokens.first(reads_cache(sequence) ? tokens.size() - 1 : 0), hold.pages_);
  }
  hold.computed_ = hold.pages_.size() * pool_.page_size();
  hold.found_or_written_ = std::max(hold.found_or_written_, hold.pages_.size());
}

std::int32_t PageKeeper::peek_prefix(const Sequence& sequence) const {
  return reads_cache(sequence) ? tree_.peek(requests_[sequence.request].request.tenant, sequence.tokens.ids()) : 0;
}

std::int32_t PageKeeper::fork(const Sequence& parent, Sequence& child) {
  COPPICE_CHECK(parent.computed() >= parent.tokens.prompt_count() && child.hold.pages_.empty(),
                "a fork needs the prompt's KV");
  find_prefix(child);
  // Pages beyond the match are the parent's own, unless the tree has the prompt's last page: a page of the tree may
  // only be held under a lock that covers it, and that would cover the last token too.
  // The last token is computed again, for its output.
  const auto common = static_cast<std::int32_t>(requests_[child.request].request.prompt.size());
  const std::int32_t shared = std::min(common, child.tokens.prompt_count() - 1);
  if (parent.cached() > child.computed() || child.computed() >= shared || child.wants_rows()) {
    return common;
  }
  PageTable& pages = child.hold.pages_;
  while (pages.size() < pool_.pages_for(shared)) {
    pages.append(pool_.share(parent.hold.pages_[pages.size()]));
  }
  child.hold.computed_ = shared;
  return common;
}

void PageKeeper::enter_order(Sequence& sequence) {
  order_.insert(sequence.slot);
  sequence.hold.in_order_ = true;
  sequence.hold.identity_ = ++identities_;
}

// Pages before the lock: a page of an unlocked node is held by the tree alone (radix.locked).
void PageKeeper::drop(Sequence& sequence) {
  PageHold& hold = sequence.hold;
  if (std::exchange(hold.in_order_, false)) {
    order_.remove(sequence.slot);
  }
  hold.pages_.truncate(0);
  hold.lock_.release();
  hold.computed_ = 0;
}

void PageKeeper::replaced_pages(Sequence& sequence) {
  sequence.hold.identity_ = ++identities_;
  order_.refresh(sequence.slot);
}

bool PageKeeper::starts_in_shared_page(const Sequence& sequence) const {
  const PageHold& hold = sequence.hold;
  const std::int32_t page_size = pool_.page_size();
  return hold.computed_ % page_size != 0 && pool_.references(hold.pages_[hold.computed_ / page_size]) > 1;
}

// Pages for `token_count` tokens after those computed, even if all of a draft in verification is accepted.
std::int32_t PageKeeper::pages_with(const Sequence& sequence, std::int32_t token_count) const {
  return pool_.pages_for(sequence.computed() + sequence.drafting.flying().size() + token_count);
}

std::int32_t PageKeeper::missing_pages(const Sequence& sequence, std::int32_t token_count) const {
  const std::int32_t copied = starts_in_shared_page(sequence) ? 1 : 0;
  return std::max(0, pages_with(sequence, token_count) - sequence.hold.pages_.size()) + copied;
}

void PageKeeper::hold_pages(Sequence& sequence, std::int32_t token_count) {
  PageTable& pages = sequence.hold.pages_;
  if (starts_in_shared_page(sequence)) {
    const std::int32_t index = sequence.computed() / pool_.page_size();
    PageRef own = pool_.allocate();
    copies_.push_back({pages[index], own.id()});
    pages.replace(index, std::move(own));
    replaced_pages(sequence);
  }
  while (pages.size() < pages_with(sequence, token_count)) {
    pages.append(pool_.allocate());
  }
}

void PageKeeper::cover(Sequence& sequence, std::int32_t token_count) {
  PageTable& pages = sequence.hold.pages_;
  while (pages.size() < pool_.pages_for(token_count)) {
    pages.append(pool_.allocate());
  }
}

std::int64_t PageKeeper::tokens_within_reach(const Sequence& sequence) const {
  return std::int64_t{sequence.hold.pages_.size() + pool_.free_pages()} * pool_.page_size();
}

void PageKeeper::advance(Sequence& sequence) {
  PageHold& hold = sequence.hold;
  const std::int32_t needed = pool_.pages_for(std::max(sequence.token_count(), sequence.scheduled()));
  if (needed < hold.pages_.size()) {  // rejected drafts had more
    hold.pages_.truncate(needed);
    hold.identity_ = ++identities_;
  }
  show_computed(sequence);
  keep_prefixes(sequence);
  if (!hold.pin_tried_ && hold.computed_ >= sequence.tokens.prompt_count()) {
    hold.pin_tried_ = true;
    if (const Request& request = requests_[sequence.request].request; request.pin) {
      pins_.pin(request);
    }
  }
  if (journal_ != nullptr) {
    journal_->flush(tree_);
  }
}

void PageKeeper::show_computed(Sequence& sequence) {
  PageHold& hold = sequence.hold;
  const std::int32_t page_size = pool_.page_size();
  const std::int32_t shown_max = requests_[sequence.request].request.cache.write_tokens;
  const std::int32_t pages = std::min(hold.computed_, shown_max) / page_size;
  if (!prefix_cache_ || pages * page_size <= hold.cached()) {
    return;
  }
  const std::span<const TokenId> tokens(sequence.tokens.ids());
  const std::int32_t before = tree_.pages();
  if (tree_.extend(hold.lock_, tokens.first(static_cast<std::size_t>(pages * page_size)), hold.pages_) > 0) {
    replaced_pages(sequence);
  }
  // The pages that the tree did not have are the last ones.
  const std::int32_t had = std::max(pages - (tree_.pages() - before), hold.found_or_written_);
  hold.written_ += page_size * std::max(0, std::min(pages, sequence.tokens.prompt_count() / page_size) - had);
  hold.found_or_written_ = std::max(hold.found_or_written_, pages);
}

void PageKeeper::keep_prefixes(Sequence& sequence) {
  PageHold& hold = sequence.hold;
  const Request& request = requests_[sequence.request].request;
  const std::vector<KeepPrefix>& keeps = request.cache.keeps;
  for (; hold.keeps_done_ < static_cast<std::int32_t>(keeps.size()); ++hold.keeps_done_) {
    const KeepPrefix& keep = keeps[static_cast<std::size_t>(hold.keeps_done_)];
    const std::int32_t pages = keep.tokens / pool_.page_size();
    if (pages * pool_.page_size() > hold.cached()) {
      return;
    }
    if (pages > 0) {
      tree_.keep(hold.lock_, pages, account_of(request), keep.time);
    }
  }
}

// Of each page: the entries of page tables, of sequences and of pins, that name it.
std::vector<std::int32_t> PageKeeper::count_references() const {
  std::vector<std::int32_t> counts(static_cast<std::size_t>(pool_.pages()), 0);
  for (SequenceSlot slot = 0; slot < sequences_.slots(); ++slot) {
    if (!sequences_.is_live(slot)) {
      continue;
    }
    for (const PageId page : sequences_[slot].hold.pages_.ids()) {
      ++counts[static_cast<std::size_t>(page)];
    }
  }
  pins_.count_references(counts);
  return counts;
}

void PageKeeper::check_integrity() const {
  for (SequenceSlot slot = 0; slot < sequences_.slots(); ++slot) {
    if (!sequences_.is_live(slot)) {
      continue;
    }
    const Sequence& sequence = sequences_[slot];
    COPPICE_CHECK(sequence.cached() <= sequence.computed() && sequence.computed() <= sequence.scheduled() &&
                      sequence.scheduled() <= sequence.token_count() + sequence.chosen.draft_count(),
                  "sequence.counters");
    COPPICE_CHECK(sequence.hold.pages_.size() * pool_.page_size() >= sequence.scheduled(),
                  "pages cover what is computed");
  }
  const std::vector<std::int32_t> by_tables = count_references();
  const auto owned = static_cast<std::int32_t>(
      std::count_if(by_tables.begin(), by_tables.end(), [](std::int32_t count) { return count > 0; }));
  std::vector<PageId> tree_pages;
  tree_.append_pages(tree_pages);
  std::int32_t cached = 0;
  std::vector<std::int32_t> counts = by_tables;
  for (const PageId page : tree_pages) {
    ++counts[static_cast<std::size_t>(page)];
    cached += by_tables[static_cast<std::size_t>(page)] == 0 ? 1 : 0;
  }
  for (PageId page = 0; page < pool_.pages(); ++page) {
    COPPICE_CHECK(counts[static_cast<std::size_t>(page)] == pool_.references(page), "pool.counts");
  }
  COPPICE_CHECK(pool_.free_pages() + cached + owned == pool_.pages(), "pool.balance");
  COPPICE_CHECK(cached == tree_.evictable_pages() && static_cast<std::int32_t>(tree_pages.size()) == tree_.pages(),
                "radix.locked");
  tree_.check_integrity();
  order_.check_integrity();
}

}  // namespace coppice::engine
