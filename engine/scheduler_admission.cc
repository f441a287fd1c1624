// The scheduler's door: which waiting sequences come in, what of their prefix is found, and who steps aside for them.
#include <algorithm>

#include "base/check.h"
#include "engine/scheduler.h"

namespace coppice::engine {
namespace {

// Leading tokens that a and b have in common, in whole pages.
std::int32_t common_pages_tokens(std::span<const TokenId> a, std::span<const TokenId> b, std::int32_t page_size) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  const auto common =
      static_cast<std::int32_t>(std::mismatch(a.begin(), a.begin() + count, b.begin()).first - a.begin());
  return common - common % page_size;
}

}  // namespace

// A waiting sequence of strictly better priority than the last running one takes its place and pages.
void Scheduler::make_way(EngineStats& stats) {
  while (!running_.empty()) {
    const auto first = std::find_if(waiting_.begin(), waiting_.end(),
                                    [this](const Key& key) { return !waits_for_leader(sequences_[key.slot]); });
    const Key last = running_.back();
    if (first == waiting_.end() || first->rank.priority >= last.rank.priority) {
      return;
    }
    const Sequence& sequence = sequences_[first->slot];
    const std::int32_t need = missing_pages(sequence, sequence.pending());
    if (running() < limits_.running_max && available_pages() >= need + running()) {
      return;
    }
    preempt(sequences_[last.slot], stats);
  }
}

void Scheduler::admit_waiting(std::vector<PageCopy>& copies, EngineStats& stats) {
  while (running() < limits_.running_max && rows_left_ > 0) {
    if (!admit_some(copies, stats)) {
      return;
    }
  }
}

// Admits from the head of the waiting line. False when the line is through or the next does not fit.
bool Scheduler::admit_some(std::vector<PageCopy>& copies, EngineStats& stats) {
  choose_candidates();
  bool any = false;
  Key full;  // the first in rank that did not fit: nobody behind it comes in, so a large request does not starve
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    if (running() >= limits_.running_max || rows_left_ == 0) {
      return false;
    }
    const Key key = candidates_[i].key;
    if (full.slot != kNoSequence && full < key) {
      continue;
    }
    Sequence& sequence = sequences_[key.slot];
    const Entry entry = try_admit(sequence, stats);
    if (entry == Entry::kFull) {
      full = key;
    }
    if (entry != Entry::kAdmitted) {
      continue;
    }
    any = true;
    for (std::size_t later = i + 1; later < candidates_.size(); ++later) {
      if (candidates_[later].key < key) {
        ++sequences_[candidates_[later].key.slot].overtaken;
      }
    }
    plan_rows(sequence, copies, stats);
  }
  return any && full.slot == kNoSequence;
}

// The head of the waiting line, longest cached prefix first: one priority, and nobody from behind one that may not be
// overtaken.
void Scheduler::choose_candidates() {
  constexpr std::size_t kCandidatesMax = 32;
  candidates_.clear();
  for (const Key& key : waiting_) {
    const Sequence& sequence = sequences_[key.slot];
    if (waits_for_leader(sequence)) {
      continue;
    }
    if (candidates_.size() == kCandidatesMax ||
        (!candidates_.empty() && key.rank.priority != candidates_.front().key.rank.priority)) {
      break;
    }
    const bool last = sequence.admitted || sequence.overtaken >= kOvertakenMax;
    std::int32_t cached = sequence.computed;
    if (prefix_cache_ && waiting_.size() > 1 && sequence.pages.empty()) {
      cached = tree_.peek(requests_[sequence.request].request.tenant, sequence.tokens);
    }
    candidates_.push_back({key, cached});
    if (last) {
      break;
    }
  }
  std::stable_sort(candidates_.begin(), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.cached > b.cached; });
}

Scheduler::Entry Scheduler::try_admit(Sequence& sequence, EngineStats& stats) {
  if (waits_for_leader(sequence)) {
    return Entry::kBlocked;
  }
  if (available_pages() <= sequence.refused_pages && !running_.empty()) {
    return Entry::kFull;
  }
  const bool fresh = sequence.pages.empty();
  if (fresh) {
    sequence.pages = PageTable(pool_);
    match_prefix(sequence);
    sequence.computed = sequence.scheduled = sequence.pages.size() * pool_.page_size();
    if (find_leader(sequence)) {
      drop_pages(sequence);
      return Entry::kBlocked;
    }
  }
  const std::int32_t need = missing_pages(sequence, sequence.pending());
  if (!enough_pages(sequence, need)) {
    if (fresh) {
      drop_pages(sequence);
    }
    sequence.refused_pages = available_pages();
    return Entry::kFull;
  }
  enter_running(sequence, need, stats);
  return Entry::kAdmitted;
}

// Room for the whole of the sequence, and a page of growth for each that runs already. Forked sequences that wait with
// pages, behind this one in rank, give theirs up for it.
bool Scheduler::enough_pages(const Sequence& sequence, std::int32_t need) {
  const std::int32_t wanted = need + running();
  while (available_pages() < wanted) {
    const auto last = std::max_element(holders_.begin(), holders_.end(), [this](SequenceSlot a, SequenceSlot b) {
      return sequences_[a].rank < sequences_[b].rank;
    });
    if (last == holders_.end() || !(sequence.rank < sequences_[*last].rank)) {
      return false;
    }
    Sequence& holder = sequences_[*last];
    holders_.erase(last);
    drop_pages(holder);
  }
  return true;
}

void Scheduler::enter_running(Sequence& sequence, std::int32_t need, EngineStats& stats) {
  const Room room = make_room(need, sequence, stats);
  COPPICE_CHECK(room == Room::kMade, "available pages can be had");
  while (sequence.pages.size() < pool_.pages_for(sequence.token_count())) {
    sequence.pages.append(pool_.allocate());
  }
  waiting_.erase({sequence.rank, sequence.slot});
  std::erase(holders_, sequence.slot);
  const Key key{sequence.rank, sequence.slot};
  running_.insert(std::upper_bound(running_.begin(), running_.end(), key), key);
  order_.insert(sequence.slot);
  sequence.state = SequenceState::kRunning;
  sequence.leader = kNoSequence;
  sequence.refused_pages = -1;
  sequence.pages_identity = ++identities_;
  if (!sequence.admitted) {
    sequence.admitted = true;
    sequence.usage.cached_tokens = sequence.computed;
    stats.prompt_tokens += static_cast<std::uint64_t>(sequence.prompt_count);
    if (prefix_cache_) {
      stats.prefix_queries += static_cast<std::uint64_t>(sequence.prompt_count);
      stats.prefix_hits += static_cast<std::uint64_t>(sequence.computed);
    }
  }
}

// Takes the longest cached prefix, but never the last token: its logits are wanted. Prompt logprobs need every row.
void Scheduler::match_prefix(Sequence& sequence) {
  if (!prefix_cache_) {
    return;
  }
  const std::span<const TokenId> tokens(sequence.tokens);
  sequence.lock = tree_.match(requests_[sequence.request].request.tenant,
                              tokens.first(sequence.wants_scores() ? 0 : tokens.size() - 1), sequence.pages);
}

bool Scheduler::waits_for_leader(const Sequence& sequence) const {
  if (!sequences_.is_live(sequence.leader)) {
    return false;
  }
  const Sequence& leader = sequences_[sequence.leader];
  return leader.rank == sequence.leader_rank && leader.state == SequenceState::kRunning &&
         leader.computed < sequence.leader_tokens;
}

// In-flight dedupe: a running sequence of the same tenant and no worse priority that is about to compute at least one
// more page of this one's prefix than the cache has. Remembers the one with most in common.
bool Scheduler::find_leader(Sequence& sequence) const {
  if (!prefix_cache_ || sequence.wants_scores()) {
    return false;
  }
  const std::int32_t page_size = pool_.page_size();
  const std::span<const TokenId> wanted = std::span<const TokenId>(sequence.tokens).first(sequence.tokens.size() - 1);
  const auto matched = static_cast<std::size_t>(sequence.computed);
  const auto page_end = matched + static_cast<std::size_t>(page_size);
  if (page_end > wanted.size()) {
    return false;
  }
  std::int32_t best = sequence.computed;
  for (const Key& key : running_) {
    const Sequence& other = sequences_[key.slot];
    if (other.rank.priority > sequence.rank.priority || other.tokens.size() < page_end ||
        !std::equal(wanted.begin() + sequence.computed, wanted.begin() + sequence.computed + page_size,
                    other.tokens.begin() + sequence.computed) ||
        requests_[other.request].request.tenant != requests_[sequence.request].request.tenant) {
      continue;
    }
    const std::int32_t common = common_pages_tokens(wanted, other.tokens, page_size);
    if (common > best && other.computed < common) {
      best = common;
      sequence.leader = key.slot;
      sequence.leader_rank = other.rank;
      sequence.leader_tokens = common;
    }
  }
  return best > sequence.computed;
}

}  // namespace coppice::engine
