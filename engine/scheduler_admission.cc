// The scheduler's door: which waiting sequences come in, what of their prefix is found, and who steps aside for them.
#include <algorithm>
#include <limits>
#include <tuple>

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
    if ((running() < limits_.running_max && available_pages() >= need + running()) || !may_preempt()) {
      return;
    }
    preempt(sequences_[last.slot], stats);
  }
}

bool Scheduler::out_of_patience(const Sequence& sequence) const {
  return tenants_[sequence.line.tenant_].running == 0 && step_ - sequence.line.state_since_ >= kPatienceSteps;
}

// The first of the line of a tenant with nothing running has waited long enough: it comes in now, in the place of those
// who are last in rank of tenants with two or more. The first in rank of all is never among them.
void Scheduler::make_way_for_tenants(EngineStats& stats) {
  if (waiting_.empty() || tenants_.active().size() < 2) {
    return;
  }
  for (const std::int32_t tenant : tenants_.active()) {
    const Tenants::Entry& entry = tenants_[tenant];
    const Key* head = entry.waiting.empty() ? nullptr : first_of_line(tenant, entry.waiting.begin()->rank.priority);
    if (head == nullptr || !out_of_patience(sequences_[head->slot]) || !could_have_room(sequences_[head->slot])) {
      continue;
    }
    if (!may_preempt()) {
      return;
    }
    Sequence& sequence = sequences_[head->slot];
    bool admitted = false;
    for (Sequence* last = last_of_others(sequence); last != nullptr && !admitted; last = last_of_others(sequence)) {
      preempt(*last, stats);
      admitted = try_admit(sequence, stats) == Entry::kAdmitted;
    }
    if (!admitted) {
      sequence.line.state_since_ = step_;  // there was no room even so: not again at once
    }
  }
}

bool Scheduler::may_give_way(const Sequence& sequence, const Sequence& claimant) const {
  return sequence.line.tenant_ != claimant.line.tenant_ && tenants_[sequence.line.tenant_].running >= 2 &&
         sequence.line.rank_.priority >= claimant.line.rank_.priority &&
         step_ - sequence.line.state_since_ >= kPatienceSteps;
}

// Who gives way to `claimant`: the last in rank of those who may, of the tenant with the most running. Null: nobody.
Sequence* Scheduler::last_of_others(const Sequence& claimant) {
  Sequence* chosen = nullptr;
  for (const Key& key : running_) {
    Sequence& sequence = sequences_[key.slot];
    const std::int32_t mates = tenants_[sequence.line.tenant_].running;
    // The first in rank of all is never set back: not even when its mates have not run long enough to give way.
    if (may_give_way(sequence, claimant) && key.slot != running_.front().slot &&
        (chosen == nullptr || mates >= tenants_[chosen->line.tenant_].running)) {
      chosen = &sequence;
    }
  }
  return chosen;
}

// Whether `claimant` would fit only because others give way, and if all did. Counts pages that others share as if they
// came free, so it may say true where there is no room.
bool Scheduler::could_have_room(const Sequence& claimant) const {
  const std::int32_t need = missing_pages(claimant, claimant.pending());
  if (running() < limits_.running_max && available_pages() >= need + running()) {
    return false;
  }
  std::int64_t pages = available_pages();
  bool place = running() < limits_.running_max;
  for (const Key& key : running_) {
    const Sequence& sequence = sequences_[key.slot];
    if (may_give_way(sequence, claimant)) {
      pages += sequence.hold.pages_.size();
      place = true;
    }
  }
  return place && pages >= need;
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
      continue;
    }
    any = true;  // admitted, or it waits for a leader and leaves the line to others
    if (entry == Entry::kAdmitted) {
      count_overtaking(key, i + 1);
      plan_rows(sequence, rows_left_, copies, stats);
      if (full.slot == kNoSequence && tenants_[sequence.line.tenant_].served > next_served_) {
        return true;  // another tenant's turn
      }
    }
  }
  return any && full.slot == kNoSequence;
}

void Scheduler::count_overtaking(const Key& admitted, std::size_t later) {
  for (; later < candidates_.size(); ++later) {
    if (candidates_[later].key < admitted) {
      ++sequences_[candidates_[later].key.slot].line.overtaken_;
    }
  }
}

// The first of the tenant's line with this priority that does not wait for a leader, or null.
const SequenceKey* Scheduler::first_of_line(std::int32_t tenant, std::int32_t priority) const {
  for (const Key& key : tenants_[tenant].waiting) {
    if (key.rank.priority == priority && !waits_for_leader(sequences_[key.slot])) {
      return &key;
    }
    if (key.rank.priority > priority) {
      break;
    }
  }
  return nullptr;
}

// Those who may come in now, of one priority: one that has run before, or the head of one tenant's line.
void Scheduler::choose_candidates() {
  candidates_.clear();
  next_served_ = std::numeric_limits<std::uint64_t>::max();
  const auto first = std::find_if(waiting_.begin(), waiting_.end(),
                                  [this](const Key& key) { return !waits_for_leader(sequences_[key.slot]); });
  if (first == waiting_.end()) {
    return;
  }
  if (!first->rank.fresh) {
    candidates_.push_back({*first, sequences_[first->slot].hold.computed_});
    return;
  }
  choose_tenant(first->rank.priority);
}

// Whose first is out of patience, the first of them in rank; else the tenant served least.
void Scheduler::choose_tenant(std::int32_t priority) {
  const Key* impatient = nullptr;
  const Key* least = nullptr;
  const auto served = [this](const Key* key) { return tenants_[sequences_[key->slot].line.tenant_].served; };
  for (const std::int32_t tenant : tenants_.active()) {
    const Key* head = first_of_line(tenant, priority);
    if (head == nullptr) {
      continue;
    }
    if (out_of_patience(sequences_[head->slot]) && (impatient == nullptr || *head < *impatient)) {
      impatient = head;
    }
    const bool better =
        least == nullptr || std::tuple(served(head), head->rank) < std::tuple(served(least), least->rank);
    next_served_ = std::min(next_served_, better ? least == nullptr ? next_served_ : served(least) : served(head));
    least = better ? head : least;
  }
  const bool lone = next_served_ == std::numeric_limits<std::uint64_t>::max();  // then there is no other to wait for
  if (impatient != nullptr && !lone) {
    chosen_tenant_ = sequences_[impatient->slot].line.tenant_;
    candidates_.push_back({*impatient, 0});
    return;
  }
  chosen_tenant_ = sequences_[least->slot].line.tenant_;
  choose_from_line(priority);
}

// The head of the chosen tenant's line, longest cached prefix first, and nobody from behind one that may not be
// overtaken.
void Scheduler::choose_from_line(std::int32_t priority) {
  constexpr std::size_t kCandidatesMax = 32;
  for (const Key& key : tenants_[chosen_tenant_].waiting) {
    const Sequence& sequence = sequences_[key.slot];
    if (key.rank.priority < priority || waits_for_leader(sequence)) {
      continue;
    }
    if (candidates_.size() == kCandidatesMax || key.rank.priority != priority) {
      break;
    }
    std::int32_t cached = sequence.hold.computed_;
    if (prefix_cache_ && waiting_.size() > 1 && sequence.hold.pages_.empty()) {
      cached = tree_.peek(requests_[sequence.request].request.tenant, sequence.tokens.ids);
    }
    candidates_.push_back({key, cached});
    if (sequence.line.overtaken_ >= kOvertakenMax) {
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
  if (available_pages() <= sequence.line.refused_pages_ && !running_.empty()) {
    return Entry::kFull;
  }
  const bool fresh = sequence.hold.pages_.empty();
  if (fresh) {
    sequence.hold.pages_ = PageTable(pool_);
    match_prefix(sequence);
    sequence.hold.computed_ = sequence.hold.pages_.size() * pool_.page_size();
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
    sequence.line.refused_pages_ = available_pages();
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
      return sequences_[a].line.rank_ < sequences_[b].line.rank_;
    });
    if (last == holders_.end() || !(sequence.line.rank_ < sequences_[*last].line.rank_)) {
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
  while (sequence.hold.pages_.size() < pool_.pages_for(sequence.token_count())) {
    sequence.hold.pages_.append(pool_.allocate());
  }
  leave_waiting(sequence);
  if (sequence.line.rank_.fresh) {
    sequence.line.rank_.fresh = false;
    sequence.line.rank_.order = ++admissions_;
  }
  const Key key{sequence.line.rank_, sequence.slot};
  running_.insert(std::upper_bound(running_.begin(), running_.end(), key), key);
  order_.insert(sequence.slot);
  ++tenants_[sequence.line.tenant_].running;
  sequence.line.state_ = SequenceState::kRunning;
  sequence.line.state_since_ = step_;
  sequence.line.leader_ = kNoSequence;
  sequence.line.refused_pages_ = -1;
  sequence.hold.identity_ = ++identities_;
  if (!sequence.line.admitted_) {
    sequence.line.admitted_ = true;
    tenants_.charge(sequence.line.tenant_, kInputCost * static_cast<std::uint64_t>(sequence.pending()));
    sequence.line.found_tokens_ = sequence.hold.computed_;
    stats.prompt_tokens += static_cast<std::uint64_t>(sequence.tokens.prompt_count);
    if (prefix_cache_) {
      stats.prefix_queries += static_cast<std::uint64_t>(sequence.tokens.prompt_count);
      stats.prefix_hits += static_cast<std::uint64_t>(sequence.hold.computed_);
    }
  }
}

// Takes the longest cached prefix, but never the last token: its logits are wanted. Prompt logprobs need every row.
void Scheduler::match_prefix(Sequence& sequence) {
  if (!prefix_cache_) {
    return;
  }
  const std::span<const TokenId> tokens(sequence.tokens.ids);
  sequence.hold.lock_ =
      tree_.match(requests_[sequence.request].request.tenant,
                  tokens.first(sequence.wants_scores() ? 0 : tokens.size() - 1), sequence.hold.pages_);
}

bool Scheduler::waits_for_leader(const Sequence& sequence) const {
  if (!sequences_.is_live(sequence.line.leader_)) {
    return false;
  }
  const Sequence& leader = sequences_[sequence.line.leader_];
  return leader.line.rank_ == sequence.line.leader_rank_ && leader.line.state_ == SequenceState::kRunning &&
         leader.cached() < sequence.line.leader_tokens_;
}

// In-flight dedupe: a running sequence of the same tenant and no worse priority that is about to show the cache at
// least one more page of this one's prefix than it has. Remembers the one with most in common.
bool Scheduler::find_leader(Sequence& sequence) const {
  if (!prefix_cache_ || sequence.wants_scores()) {
    return false;
  }
  const std::int32_t page_size = pool_.page_size();
  const std::span<const TokenId> wanted =
      std::span<const TokenId>(sequence.tokens.ids).first(sequence.tokens.ids.size() - 1);
  const auto matched = static_cast<std::size_t>(sequence.hold.computed_);
  const auto page_end = matched + static_cast<std::size_t>(page_size);
  if (page_end > wanted.size()) {
    return false;
  }
  std::int32_t best = sequence.hold.computed_;
  for (const Key& key : running_) {
    const Sequence& other = sequences_[key.slot];
    if (other.line.rank_.priority > sequence.line.rank_.priority || other.tokens.ids.size() < page_end ||
        !std::equal(wanted.begin() + sequence.hold.computed_, wanted.begin() + sequence.hold.computed_ + page_size,
                    other.tokens.ids.begin() + sequence.hold.computed_) ||
        requests_[other.request].request.tenant != requests_[sequence.request].request.tenant) {
      continue;
    }
    const std::int32_t common = common_pages_tokens(wanted, other.tokens.ids, page_size);
    if (common > best && other.cached() < common) {
      best = common;
      sequence.line.leader_ = key.slot;
      sequence.line.leader_rank_ = other.line.rank_;
      sequence.line.leader_tokens_ = common;
    }
  }
  return best > sequence.hold.computed_;
}

}  // namespace coppice::engine
