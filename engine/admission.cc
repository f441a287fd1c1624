// Choosing candidates, admitting them, and making way for them.
#include "engine/admission.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/check.h"

namespace coppice::engine {
namespace {

// next_served_ when there is no other tenant.
constexpr std::uint64_t kNoOther = std::numeric_limits<std::uint64_t>::max();

}  // namespace

Admission::Admission(std::int32_t running_max, SequenceTable& sequences, Lines& lines, PageKeeper& pages,
                     Preemption& preemption, RowBudget& rows)
    : running_max_(running_max),
      sequences_(sequences),
      lines_(lines),
      pages_(pages),
      preemption_(preemption),
      rows_(rows) {}

void Admission::fork(const Sequence& parent, Sequence& child, std::int32_t tokens) {
  if (tokens >= child.tokens.prompt_count()) {
    child.admission.admitted_ = true;
    child.admission.found_tokens_ = parent.admission.found_tokens_;
  } else {
    child.admission.forked_tokens_ = tokens;
  }
}

// --- making way ------------------------------------------------------------------------------------------------------

void Admission::make_way() {
  make_way_for_priority();
  make_way_within_tenants();
  make_way_for_tenants();
}

// A free place, pages for all its tokens, and a page of growth for each sequence that runs.
bool Admission::fits(const Sequence& sequence) const {
  const std::int32_t need = pages_.missing_pages(sequence, sequence.pending());
  return lines_.running_count() < running_max_ && pages_.available() >= need + lines_.running_count();
}

// A waiting sequence of strictly better priority than the last running one takes its place and pages.
void Admission::make_way_for_priority() {
  while (lines_.running_count() > 0) {
    const SequenceKey* first = first_in_rank();
    const SequenceKey last = lines_.running().back();
    if (first == nullptr || first->rank.priority >= last.rank.priority || fits(sequences_[first->slot]) ||
        !preemption_.allowed()) {
      return;
    }
    preemption_.preempt(sequences_[last.slot]);
  }
}

// The first of a tenant's line is admitted in the place of those of its own tenant that have a worse priority and have
// run kPatienceSteps. (Where priorities count across tenants, make_way_for_priority() has done that.)
void Admission::make_way_within_tenants() {
  for (const std::int32_t tenant : lines_.tenants().active()) {
    const auto& line = lines_.tenants()[tenant].waiting;
    const SequenceKey* head = line.empty() ? nullptr : first_of_line(tenant, line.begin()->rank.priority);
    if (head == nullptr) {
      continue;
    }
    Sequence& sequence = sequences_[head->slot];
    const auto is_worse = [&](const Sequence& other) {
      return other.line.tenant() == tenant && other.line.priority() > sequence.line.priority() &&
             other.slot != lines_.running().front().slot && lines_.steps_in_state(other) >= kPatienceSteps;
    };
    if (!could_have_room(sequence, is_worse)) {
      continue;
    }
    if (!preemption_.allowed()) {
      return;
    }
    for (Sequence* last = last_of(is_worse); last != nullptr && !fits(sequence); last = last_of(is_worse)) {
      preemption_.preempt(*last);
    }
    try_admit(sequence);
  }
}

// The last in rank of the running sequences that `may_go`, or null.
template <typename MayGo>
Sequence* Admission::last_of(const MayGo& may_go) {
  for (std::size_t i = lines_.running().size(); i > 0; --i) {
    Sequence& sequence = sequences_[lines_.running()[i - 1].slot];
    if (may_go(sequence)) {
      return &sequence;
    }
  }
  return nullptr;
}

bool Admission::out_of_patience(const Sequence& sequence) const {
  return lines_.tenant_of(sequence).running == 0 && lines_.steps_in_state(sequence) >= kPatienceSteps;
}

// The first of the line of a tenant with nothing running that is out of patience is admitted in the place of sequences
// that are last in rank of tenants with two or more running. The first in rank of all is never among those.
void Admission::make_way_for_tenants() {
  const Tenants& tenants = lines_.tenants();
  if (lines_.waiting().empty() || tenants.active().size() < 2) {
    return;
  }
  for (const std::int32_t tenant : tenants.active()) {
    const auto& line = tenants[tenant].waiting;
    const SequenceKey* head = line.empty() ? nullptr : first_of_line(tenant, line.begin()->rank.priority);
    if (head == nullptr || !out_of_patience(sequences_[head->slot]) ||
        !could_have_room(sequences_[head->slot],
                         [&](const Sequence& other) { return may_give_way(other, sequences_[head->slot]); })) {
      continue;
    }
    if (!preemption_.allowed()) {
      return;
    }
    Sequence& sequence = sequences_[head->slot];
    bool admitted = false;
    for (Sequence* last = last_to_give_way(sequence); last != nullptr && !admitted; last = last_to_give_way(sequence)) {
      preemption_.preempt(*last);
      admitted = try_admit(sequence) == Entry::kAdmitted;
    }
    if (!admitted) {
      lines_.restart_wait(sequence);  // there was no room even so: not again at once
    }
  }
}

bool Admission::may_give_way(const Sequence& sequence, const Sequence& claimant) const {
  return sequence.line.tenant() != claimant.line.tenant() && lines_.tenant_of(sequence).running >= 2 &&
         sequence.line.rank().priority >= claimant.line.rank().priority &&
         lines_.steps_in_state(sequence) >= kPatienceSteps;
}

// The last in rank of those that may give way, of the tenant with the most running; null when there is none.
Sequence* Admission::last_to_give_way(const Sequence& claimant) {
  Sequence* found = nullptr;
  for (const SequenceKey& key : lines_.running()) {
    Sequence& sequence = sequences_[key.slot];
    // The first in rank of all is never preempted: not even when its tenant's others have not run long enough.
    if (may_give_way(sequence, claimant) && key.slot != lines_.running().front().slot &&
        (found == nullptr || lines_.tenant_of(sequence).running >= lines_.tenant_of(*found).running)) {
      found = &sequence;
    }
  }
  return found;
}

// Whether `claimant` fits only if others give way, and would fit if all did that `may_go`. Counts shared pages as if
// each of them would come free, so it may return true where there is no room.
template <typename MayGo>
bool Admission::could_have_room(const Sequence& claimant, const MayGo& may_go) const {
  if (fits(claimant)) {
    return false;
  }
  std::int64_t pages = pages_.available();
  bool has_place = lines_.running_count() < running_max_;
  for (const SequenceKey& key : lines_.running()) {
    const Sequence& sequence = sequences_[key.slot];
    if (may_go(sequence)) {
      pages += sequence.hold.pages().size();
      has_place = true;
    }
  }
  return has_place && pages >= pages_.missing_pages(claimant, claimant.pending());
}

// --- candidates ------------------------------------------------------------------------------------------------------

bool Admission::newcomer_wants_rows(const Sequence& first) const {
  if (lines_.running_count() >= running_max_) {
    return false;
  }
  const std::vector<std::int32_t>& active = lines_.tenants().active();
  return std::any_of(active.begin(), active.end(), [&](std::int32_t tenant) {
    const auto& line = lines_.tenants()[tenant].waiting;
    if (line.empty() || line.begin()->rank.priority > first.line.rank().priority) {
      return false;
    }
    const SequenceKey* head = first_of_line(tenant, line.begin()->rank.priority);
    return head != nullptr && rows_.may_share(first, sequences_[head->slot]);
  });
}

// The first waiting sequence that does not wait for a leader, or null.
const SequenceKey* Admission::first_in_rank() const {
  for (const SequenceKey& key : lines_.waiting()) {
    if (!waits_for_leader(sequences_[key.slot])) {
      return &key;
    }
  }
  return nullptr;
}

// The first of the tenant's line with this priority that does not wait for a leader, or null.
const SequenceKey* Admission::first_of_line(std::int32_t tenant, std::int32_t priority) const {
  for (const SequenceKey& key : lines_.tenants()[tenant].waiting) {
    if (key.rank.priority == priority && !waits_for_leader(sequences_[key.slot])) {
      return &key;
    }
    if (key.rank.priority > priority) {
      break;
    }
  }
  return nullptr;
}

// Candidates of one priority: a sequence that has run before, or the head of one tenant's line.
void Admission::choose_candidates() {
  candidates_.clear();
  next_served_ = kNoOther;
  const SequenceKey* first = first_in_rank();
  if (first == nullptr) {
    return;
  }
  if (!first->rank.fresh) {
    candidates_.push_back({*first, sequences_[first->slot].computed()});
    return;
  }
  choose_tenant(first->rank.priority);
}

// The tenant whose first is out of patience, the one that has waited longest if there are several; else the one served
// least.
void Admission::choose_tenant(std::int32_t priority) {
  const SequenceKey* impatient = nullptr;
  const SequenceKey* least = nullptr;
  const auto waited = [this](const SequenceKey* key) { return lines_.steps_in_state(sequences_[key->slot]); };
  const auto served = [this](const SequenceKey* key) { return lines_.tenant_of(sequences_[key->slot]).served; };
  for (const std::int32_t tenant : lines_.tenants().active()) {
    const SequenceKey* head = first_of_line(tenant, priority);
    if (head == nullptr) {
      continue;
    }
    if (out_of_patience(sequences_[head->slot]) && (impatient == nullptr || waited(head) > waited(impatient))) {
      impatient = head;
    }
    if (least == nullptr) {
      least = head;
    } else if (std::tuple(served(head), head->rank) < std::tuple(served(least), least->rank)) {
      next_served_ = std::min(next_served_, served(least));
      least = head;
    } else {
      next_served_ = std::min(next_served_, served(head));
    }
  }
  if (impatient != nullptr && next_served_ != kNoOther) {
    candidates_.push_back({*impatient, 0});
    return;
  }
  choose_from_line(sequences_[least->slot].line.tenant(), priority);
}

// The head of the tenant's line, longest cached prefix first; none from behind one that may not be overtaken.
void Admission::choose_from_line(std::int32_t tenant, std::int32_t priority) {
  // Prefixes looked up for one choice: enough to find sequences that share one, and it bounds the time of a step.
  constexpr std::size_t kCandidatesMax = 32;
  for (const SequenceKey& key : lines_.tenants()[tenant].waiting) {
    const Sequence& sequence = sequences_[key.slot];
    if (key.rank.priority < priority || waits_for_leader(sequence)) {
      continue;
    }
    const bool is_worse =
        !candidates_.empty() && sequence.line.priority() != sequences_[candidates_.front().key.slot].line.priority();
    if (candidates_.size() == kCandidatesMax || key.rank.priority != priority || is_worse) {
      break;
    }
    const bool has_rivals = lines_.waiting().size() > 1;
    const bool looks_up = has_rivals && pages_.reads_cache(sequence) && sequence.hold.pages().empty();
    candidates_.push_back({key, looks_up ? pages_.peek_prefix(sequence) : sequence.computed()});
    if (sequence.admission.overtaken_ >= kOvertakenMax) {
      break;
    }
  }
  std::stable_sort(candidates_.begin(), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.cached > b.cached; });
}

// --- admitting -------------------------------------------------------------------------------------------------------

void Admission::admit_waiting() {
  is_short_of_pages_ = false;
  while (lines_.running_count() < running_max_ && rows_.rows_left() > 0) {
    if (!admit_some()) {
      return;
    }
  }
}

// Admits from the head of the line. False when the line is through or the next does not fit.
bool Admission::admit_some() {
  choose_candidates();
  bool any = false;
  SequenceKey full;  // the first in rank that did not fit: none behind it is admitted, so a large request never starves
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    if (lines_.running_count() >= running_max_ || rows_.rows_left() == 0) {
      return false;
    }
    const SequenceKey key = candidates_[i].key;
    if (full.slot != kNoSequence && full < key) {
      continue;
    }
    Sequence& sequence = sequences_[key.slot];
    const Entry entry = try_admit(sequence);
    if (entry == Entry::kFull) {
      is_short_of_pages_ = true;
      full = key;
      continue;
    }
    any = true;  // admitted, or it waits for a leader and leaves the line to others
    if (entry == Entry::kAdmitted) {
      count_overtaking(key, i + 1);
      rows_.plan(sequence, rows_.rows_left());
      if (full.slot == kNoSequence && lines_.tenant_of(sequence).served > next_served_) {
        return true;  // another tenant's turn
      }
    }
  }
  return any && full.slot == kNoSequence;
}

void Admission::count_overtaking(const SequenceKey& admitted, std::size_t later) {
  for (; later < candidates_.size(); ++later) {
    if (candidates_[later].key < admitted) {
      ++sequences_[candidates_[later].key.slot].admission.overtaken_;
    }
  }
}

Admission::Entry Admission::try_admit(Sequence& sequence) {
  if (waits_for_leader(sequence)) {
    return Entry::kBlocked;
  }
  if (pages_.available() <= sequence.admission.refused_pages_ && lines_.running_count() > 0) {
    return Entry::kFull;
  }
  const bool held_none = sequence.hold.pages().empty();
  if (held_none) {
    pages_.find_prefix(sequence);
    if (find_leader(sequence)) {
      pages_.drop(sequence);
      return Entry::kBlocked;
    }
  }
  const std::int32_t missing = pages_.missing_pages(sequence, sequence.pending());
  // A page of growth for each sequence that runs. Forks that wait with pages, behind in rank, give theirs up for it.
  if (!preemption_.take_from_holders(missing + lines_.running_count(), sequence)) {
    if (held_none) {
      pages_.drop(sequence);
    }
    sequence.admission.refused_pages_ = pages_.available();
    return Entry::kFull;
  }
  run(sequence, missing);
  return Entry::kAdmitted;
}

void Admission::run(Sequence& sequence, std::int32_t missing_pages) {
  const Preemption::Room room = preemption_.make_room(missing_pages, sequence);
  COPPICE_CHECK(room == Preemption::Room::kMade, "available pages can be had");
  pages_.cover(sequence, sequence.token_count());
  lines_.run(sequence);
  pages_.enter_order(sequence);
  AdmissionState& state = sequence.admission;
  state.leader_ = kNoSequence;
  state.refused_pages_ = -1;
  if (!state.admitted_) {
    state.admitted_ = true;
    state.found_tokens_ = std::max(0, sequence.computed() - state.forked_tokens_);
    lines_.charge_prompt(sequence, sequence.pending());
    const auto own = static_cast<std::uint64_t>(sequence.tokens.prompt_count() - state.forked_tokens_);
    counts_.prompt_tokens += own;
    if (pages_.reads_cache(sequence)) {
      counts_.prefix_queries += own;
      counts_.prefix_hits += static_cast<std::uint64_t>(state.found_tokens_);
    }
  }
}

// --- leaders ---------------------------------------------------------------------------------------------------------

std::int32_t Admission::deferred() const {
  constexpr std::int32_t kLookedAtMax = 256;  // sequences: ten microseconds
  std::int32_t looked_at = 0;
  std::int32_t deferred = 0;
  for (auto key = lines_.waiting().begin(); key != lines_.waiting().end() && looked_at < kLookedAtMax; ++key) {
    ++looked_at;
    deferred += waits_for_leader(sequences_[key->slot]) ? 1 : 0;
  }
  return deferred;
}

bool Admission::waits_for_leader(const Sequence& sequence) const {
  const AdmissionState& state = sequence.admission;
  if (!sequences_.is_live(state.leader_)) {
    return false;
  }
  const Sequence& leader = sequences_[state.leader_];
  return leader.line.rank() == state.leader_rank_ && leader.line.is_running() && leader.cached() < state.leader_tokens_;
}

// Looks for a running sequence of the same tenant and no worse priority that will show the cache at least one page more
// of this one's prefix than the cache has now. Remembers the one with the longest common prefix. A sequence that does
// not read the cache has no leader.
bool Admission::find_leader(Sequence& sequence) const {
  if (!pages_.reads_cache(sequence)) {
    return false;
  }
  const std::int32_t page_size = pages_.pool().page_size();
  const std::span<const TokenId> tokens(sequence.tokens.ids());
  const std::span<const TokenId> prefix = tokens.first(tokens.size() - 1);  // the last token's output is needed
  const std::int32_t computed = sequence.computed();
  if (computed + page_size > static_cast<std::int32_t>(prefix.size())) {
    return false;
  }
  // The page after those computed: few others have it, so it is compared before the whole prefix.
  const auto page = prefix.subspan(static_cast<std::size_t>(computed), static_cast<std::size_t>(page_size));
  const auto has_page = [&](const std::vector<TokenId>& ids) {
    return ids.size() >= static_cast<std::size_t>(computed + page_size) &&
           std::equal(page.begin(), page.end(), ids.begin() + computed);
  };
  std::int32_t best = computed;
  for (const SequenceKey& key : lines_.running()) {
    const Sequence& other = sequences_[key.slot];
    if (other.line.rank().priority > sequence.line.rank().priority || other.line.tenant() != sequence.line.tenant() ||
        !has_page(other.tokens.ids())) {
      continue;
    }
    const std::int32_t common = std::min(common_prefix(prefix, other.tokens.ids()), pages_.shown_max(other, sequence));
    const std::int32_t whole = common - common % page_size;
    if (whole > best && other.cached() < whole) {
      best = whole;
      sequence.admission.leader_ = key.slot;
      sequence.admission.leader_rank_ = other.line.rank();
      sequence.admission.leader_tokens_ = whole;
    }
  }
  return best > computed;
}

}  // namespace coppice::engine
