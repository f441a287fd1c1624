// Choosing a step, finding its pages, booking what was computed. The door is scheduler_admission.cc.
#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/check.h"
#include "fmt/format.h"

namespace coppice::engine {

Scheduler::Scheduler(const Limits& limits, bool prefix_cache, SequenceTable& sequences, RequestTable& requests)
    : limits_(limits),
      prefix_cache_(prefix_cache),
      sequences_(sequences),
      requests_(requests),
      pool_(limits.pages, limits.page_size),
      tree_(pool_),
      order_([this](SequenceSlot slot) { return sequences_[slot].hold.pages_.ids(); }) {
  running_.reserve(static_cast<std::size_t>(limits.running_max));
}

void Scheduler::enqueue(Sequence& sequence) {
  COPPICE_CHECK(sequence.token_count() > 0, "a sequence starts with at least one token");
  sequence.line.state_ = SequenceState::kWaiting;
  sequence.line.state_since_ = step_;
  enter_line(sequence);
  const Key key{sequence.line.rank_, sequence.slot};
  waiting_.insert(key);
  if (sequence.line.rank_.fresh) {
    tenants_[sequence.line.tenant_].waiting.insert(key);
  }
}

void Scheduler::enter_line(Sequence& sequence) {
  if (sequence.line.tenant_ < 0) {
    const RequestState& state = requests_[sequence.request];
    sequence.line.rank_ = {.priority = state.request.priority, .order = state.order, .choice = sequence.choice};
    sequence.line.tenant_ = tenants_.enter(state.request.tenant);
    sequence.line.pin_ = state.request.pin;
  }
}

void Scheduler::remove(Sequence& sequence) {
  if (sequence.line.state_ == SequenceState::kRunning) {
    leave_running(sequence);
  } else if (sequence.line.state_ == SequenceState::kWaiting) {
    leave_waiting(sequence);
  }
  drop_pages(sequence);
  sequence.line.state_ = SequenceState::kDormant;
  if (sequence.line.tenant_ >= 0) {
    tenants_.leave(sequence.line.tenant_);
    sequence.line.tenant_ = -1;
  }
}

void Scheduler::leave_waiting(Sequence& sequence) {
  const Key key{sequence.line.rank_, sequence.slot};
  waiting_.erase(key);
  tenants_[sequence.line.tenant_].waiting.erase(key);
  std::erase(holders_, sequence.slot);
}

void Scheduler::leave_running(Sequence& sequence) {
  const auto place = std::lower_bound(running_.begin(), running_.end(), Key{sequence.line.rank_, sequence.slot});
  COPPICE_CHECK(place != running_.end() && place->slot == sequence.slot, "a running sequence is in the list");
  running_.erase(place);
  order_.remove(sequence.slot);
  --tenants_[sequence.line.tenant_].running;
}

void Scheduler::page_replaced(Sequence& sequence) {
  sequence.hold.identity_ = ++identities_;
  order_.refresh(sequence.slot);
}

// Pages before the lock: a page of an unlocked node is held by the tree alone (radix.locked).
void Scheduler::drop_pages(Sequence& sequence) {
  sequence.hold.pages_.truncate(0);
  sequence.hold.lock_.release();
  sequence.hold.computed_ = 0;
  leave_out(sequence);
}

void Scheduler::preempt(Sequence& sequence, EngineStats& stats) {
  COPPICE_CHECK(!sequence.in_step(), "a sequence of this step keeps its pages");
  COPPICE_CHECK(sequence.tokens.flight_row < 0, "nobody is set back while a step runs");
  leave_running(sequence);
  drop_pages(sequence);
  enqueue(sequence);
  ++stats.preemptions;
}

void Scheduler::fork(const Sequence& parent, Sequence& child) {
  const std::int32_t shared = child.tokens.prompt_count - 1;  // the last token is computed again, for its logits
  COPPICE_CHECK(parent.hold.computed_ >= parent.tokens.prompt_count && child.hold.pages_.empty(),
                "a fork needs the prompt's KV");
  enter_line(child);
  child.line.rank_.fresh = false;
  child.line.rank_.order = parent.line.rank_.order;
  child.line.admitted_ = true;
  child.line.found_tokens_ = parent.line.found_tokens_;
  child.hold.pages_ = PageTable(pool_);
  match_prefix(child);
  child.hold.computed_ = child.hold.pages_.size() * pool_.page_size();
  // Pages beyond the match are the parent's own, unless the tree has the prompt's last page: a page of the tree may
  // only be held under a lock that covers it, and that would cover the last token too.
  if (parent.cached() <= child.hold.computed_) {
    for (std::int32_t i = child.hold.pages_.size(); i < pool_.pages_for(shared); ++i) {
      child.hold.pages_.append(pool_.share(parent.hold.pages_[i]));
    }
    child.hold.computed_ = shared;
  }
  if (!child.hold.pages_.empty()) {
    holders_.push_back(child.slot);
  }
  enqueue(child);
}

bool Scheduler::select(Choosing choosing, std::vector<PageCopy>& copies, EngineStats& stats) {
  step_ += choosing.again ? 0 : 1;
  ahead_ = choosing.ahead;
  stalled_ = false;
  for (const Key& key : running_) {
    leave_out(sequences_[key.slot]);
  }
  unfit_.clear();
  rows_left_ = limits_.step_tokens_max;
  logits_left_ = limits_.step_logits_max;
  make_way(stats);
  make_way_for_tenants(stats);
  select_decoding(copies, stats);
  select_prompts(copies, stats);
  admit_waiting(copies, stats);
  top_up_prompts(copies, stats);
  return !stalled_;
}

void Scheduler::set_computed(Sequence& sequence, std::int32_t count) {
  sequence.hold.computed_ = count;
}

void Scheduler::leave_out(Sequence& sequence) {
  sequence.chosen = {};
}

bool Scheduler::may_preempt() {
  stalled_ = stalled_ || ahead_;
  return !ahead_;
}

void Scheduler::select_decoding(std::vector<PageCopy>& copies, EngineStats& stats) {
  scratch_.assign(running_.begin(), running_.end());
  for (const Key& key : scratch_) {
    Sequence& sequence = sequences_[key.slot];
    if (sequence.line.state_ == SequenceState::kRunning && sequence.pending() == 1) {
      plan_rows(sequence, rows_left_, copies, stats);
    }
  }
}

// A prompt that may use rows of the half that the first in rank leaves to others.
bool Scheduler::may_share_rows(const Sequence& first, const Sequence& other) const {
  return other.line.rank_.priority == first.line.rank_.priority &&
         (tenants_[other.line.tenant_].served < tenants_[first.line.tenant_].served ||
          other.pending() <= first.pending() / 2);
}

bool Scheduler::newcomer_wants_rows(const Sequence& first) const {
  if (running() >= limits_.running_max) {
    return false;
  }
  const std::vector<std::int32_t>& active = tenants_.active();
  return std::any_of(active.begin(), active.end(), [&](std::int32_t tenant) {
    const Key* head = first_of_line(tenant, first.line.rank_.priority);
    return head != nullptr && may_share_rows(first, sequences_[head->slot]);
  });
}

// The first in rank, then those who may share with it: least served tenant first, then the shortest.
void Scheduler::select_prompts(std::vector<PageCopy>& copies, EngineStats& stats) {
  scratch_.clear();
  std::copy_if(running_.begin(), running_.end(), std::back_inserter(scratch_),
               [this](const Key& key) { return sequences_[key.slot].pending() > 1; });
  if (scratch_.empty()) {
    return;
  }
  Sequence& first = sequences_[scratch_.front().slot];
  scratch_.erase(scratch_.begin());
  std::erase_if(scratch_, [&](const Key& key) { return !may_share_rows(first, sequences_[key.slot]); });
  const bool newcomer = newcomer_wants_rows(first);
  const std::int32_t reserved = newcomer ? rows_left_ / kNewcomersIn : 0;
  const bool alone = scratch_.empty() && !newcomer;
  plan_rows(first, alone ? rows_left_ : (rows_left_ + 1) / 2, copies, stats);
  std::sort(scratch_.begin(), scratch_.end(), [this](const Key& a, const Key& b) {
    const Sequence& left = sequences_[a.slot];
    const Sequence& right = sequences_[b.slot];
    return std::tuple(tenants_[left.line.tenant_].served, left.pending(), a.rank) <
           std::tuple(tenants_[right.line.tenant_].served, right.pending(), b.rank);
  });
  for (const Key& key : scratch_) {
    Sequence& sequence = sequences_[key.slot];
    if (sequence.line.state_ == SequenceState::kRunning) {
      plan_rows(sequence, rows_left_ - reserved, copies, stats);
    }
  }
}

// Rows that nobody with a better claim wanted, in rank.
void Scheduler::top_up_prompts(std::vector<PageCopy>& copies, EngineStats& stats) {
  scratch_.assign(running_.begin(), running_.end());
  for (const Key& key : scratch_) {
    Sequence& sequence = sequences_[key.slot];
    if (rows_left_ == 0) {
      return;
    }
    if (sequence.line.state_ == SequenceState::kRunning &&
        sequence.pending() > std::max(1, sequence.chosen.planned_count_)) {
      rows_left_ += sequence.chosen.planned_count_;
      logits_left_ += sequence.chosen.logits_count_;
      leave_out(sequence);
      plan_rows(sequence, rows_left_, copies, stats);
    }
  }
}

// The law for a step, for one sequence: how many of its uncomputed tokens, and which logits of those.
void Scheduler::plan_rows(Sequence& sequence, std::int32_t rows_max, std::vector<PageCopy>& copies,
                          EngineStats& stats) {
  std::int32_t count = std::min({sequence.pending(), limits_.chunk_tokens_max, rows_max});
  std::int32_t logits = 0;
  if (sequence.wants_scores()) {
    const std::int32_t from =
        std::max(sequence.hold.computed_, sequence.tokens.scored);  // first row whose logits are wanted
    count = std::min(count, from - sequence.hold.computed_ + logits_left_);
    logits = std::max(0, sequence.hold.computed_ + count - from);
  } else if (count == sequence.pending()) {
    if (logits_left_ > 0) {
      logits = 1;
    } else {
      --count;
    }
  }
  if (count <= 0 || !hold_pages(sequence, count, copies, stats)) {
    return;
  }
  sequence.chosen.planned_count_ = count;
  sequence.chosen.logits_count_ = logits;
  rows_left_ -= count;
  logits_left_ -= logits;
}

bool Scheduler::starts_in_shared_page(const Sequence& sequence) const {
  const std::int32_t page_size = pool_.page_size();
  return sequence.hold.computed_ % page_size != 0 &&
         pool_.references(sequence.hold.pages_[sequence.hold.computed_ / page_size]) > 1;
}

// Pages for so many positions more than are computed, even if all of a draft that is being verified is accepted.
std::int32_t Scheduler::pages_with(const Sequence& sequence, std::int32_t token_count) const {
  return pool_.pages_for(sequence.hold.computed_ + sequence.drafting.flying.size() + token_count);
}

std::int32_t Scheduler::missing_pages(const Sequence& sequence, std::int32_t token_count) const {
  const std::int32_t copied = starts_in_shared_page(sequence) ? 1 : 0;
  return std::max(0, pages_with(sequence, token_count) - sequence.hold.pages_.size()) + copied;
}

// Pages for the next `token_count` positions, none of them shared where it will be written. On false the sequence is
// not in this step: it waits for the next, or was preempted, or is unfit.
bool Scheduler::hold_pages(Sequence& sequence, std::int32_t token_count, std::vector<PageCopy>& copies,
                           EngineStats& stats) {
  switch (make_room(missing_pages(sequence, token_count), sequence, stats)) {
    case Room::kMade:
      break;
    case Room::kLater:
      return false;
    case Room::kYield:
      preempt(sequence, stats);
      return false;
    case Room::kNever:
      unfit_.push_back(sequence.slot);
      return false;
  }
  if (starts_in_shared_page(sequence)) {  // still: a preemption may have made it the only holder
    const std::int32_t index = sequence.hold.computed_ / pool_.page_size();
    PageRef own = pool_.allocate();
    copies.push_back({sequence.hold.pages_[index], own.id()});
    sequence.hold.pages_.replace(index, std::move(own));
    page_replaced(sequence);
  }
  while (sequence.hold.pages_.size() < pages_with(sequence, token_count)) {
    sequence.hold.pages_.append(pool_.allocate());
  }
  return true;
}

// Frees pages: cached ones first, then those of sequences behind the claimant in rank, the last one first.
Scheduler::Room Scheduler::make_room(std::int32_t pages, const Sequence& claimant, EngineStats& stats) {
  while (pool_.free_pages() < pages) {
    if (tree_.evict(pages - pool_.free_pages()) > 0) {
      continue;
    }
    if (!may_preempt()) {
      return Room::kLater;
    }
    Sequence* victim = nullptr;
    bool others = false;
    bool behind_in_step = false;
    const auto consider = [&](SequenceSlot slot) {
      Sequence& holder = sequences_[slot];
      if (slot == claimant.slot) {
        return;
      }
      others = true;
      if (claimant.line.rank_ < holder.line.rank_) {
        if (holder.in_step()) {
          behind_in_step = true;
        } else if (victim == nullptr || victim->line.rank_ < holder.line.rank_) {
          victim = &holder;
        }
      }
    };
    for (const Key& key : running_) {
      consider(key.slot);
    }
    for (const SequenceSlot slot : holders_) {
      consider(slot);
    }
    if (victim == nullptr) {
      return behind_in_step ? Room::kLater : others ? Room::kYield : Room::kNever;
    }
    if (victim->line.state_ == SequenceState::kRunning) {
      preempt(*victim, stats);
    } else {
      std::erase(holders_, victim->slot);
      drop_pages(*victim);
    }
  }
  return Room::kMade;
}

std::int32_t Scheduler::draft_room(const Sequence& sequence) const {
  const std::int64_t positions = std::int64_t{sequence.hold.pages_.size() + pool_.free_pages()} * pool_.page_size();
  return static_cast<std::int32_t>(
      std::min<std::int64_t>({rows_left_, logits_left_, positions - sequence.scheduled()}));
}

void Scheduler::take_draft(Sequence& sequence) {
  const std::int32_t count = sequence.drafting.draft.size();
  COPPICE_CHECK(count <= draft_room(sequence), "drafts stay within their room");
  sequence.chosen.draft_count_ = count;
  rows_left_ -= count;
  logits_left_ -= count;
  while (sequence.hold.pages_.size() < pool_.pages_for(sequence.scheduled())) {
    sequence.hold.pages_.append(pool_.allocate());
  }
}

void Scheduler::advance(Sequence& sequence) {
  tenants_.charge(sequence.line.tenant_,
                  kOutputCost * static_cast<std::uint64_t>(sequence.output_count() - sequence.line.charged_));
  sequence.line.charged_ = sequence.output_count();
  const std::int32_t needed = pool_.pages_for(std::max(sequence.token_count(), sequence.scheduled()));
  if (needed < sequence.hold.pages_.size()) {  // rejected drafts had more
    sequence.hold.pages_.truncate(needed);
    sequence.hold.identity_ = ++identities_;
  }
  const std::int32_t whole = sequence.hold.computed_ - sequence.hold.computed_ % pool_.page_size();
  if (prefix_cache_ && whole > sequence.cached()) {
    const std::span<const TokenId> tokens(sequence.tokens.ids);
    if (tree_.extend(sequence.hold.lock_, tokens.first(static_cast<std::size_t>(whole)), sequence.hold.pages_) > 0) {
      page_replaced(sequence);
    }
  }
  if (sequence.line.pin_ && sequence.hold.computed_ >= sequence.tokens.prompt_count) {
    sequence.line.pin_ = false;
    pin_prompt(sequence);
  }
}

std::string Scheduler::pin_refusal(std::int32_t tokens) const {
  if (!prefix_cache_) {
    return "a prompt can only be pinned in the prefix cache, which is off";
  }
  const std::int32_t room = pool_.pages() - pool_.pages_for(limits_.model_tokens_max) - pinned_pages_;
  if (tokens / pool_.page_size() > room) {
    return fmt::format(
        "a pinned prompt of {} tokens does not fit: {} are left for pins; raise --kv-memory or lower "
        "--max-model-len",
        tokens, std::max(0, room) * pool_.page_size());
  }
  return {};
}

void Scheduler::pin_prompt(const Sequence& sequence) {
  const Request& request = requests_[sequence.request].request;
  if (!pin_refusal(sequence.tokens.prompt_count).empty()) {
    return;  // another pin was faster since the request came
  }
  Pin pin;
  pin.pages = PageTable(pool_);
  pin.lock = tree_.match(request.tenant, request.prompt, pin.pages);
  pinned_pages_ += pin.pages.size();
  pins_.push_back(std::move(pin));
}

SequenceSlot Scheduler::oldest() const {
  if (running_.empty()) {
    return waiting_.empty() ? kNoSequence : waiting_.begin()->slot;
  }
  return !waiting_.empty() && *waiting_.begin() < running_.front() ? waiting_.begin()->slot : running_.front().slot;
}

void Scheduler::check_integrity() const {
  std::vector<std::int32_t> by_sequences(static_cast<std::size_t>(pool_.pages()), 0);
  for (SequenceSlot slot = 0; slot < sequences_.slots(); ++slot) {
    if (!sequences_.is_live(slot)) {
      continue;
    }
    const Sequence& sequence = sequences_[slot];
    COPPICE_CHECK(sequence.cached() <= sequence.hold.computed_ && sequence.hold.computed_ <= sequence.scheduled() &&
                      sequence.scheduled() <= sequence.token_count() + sequence.chosen.draft_count_,
                  "sequence.counters");
    COPPICE_CHECK(sequence.hold.pages_.size() * pool_.page_size() >= sequence.scheduled(),
                  "pages cover what is computed");
    for (const PageId page : sequence.hold.pages_.ids()) {
      ++by_sequences[static_cast<std::size_t>(page)];
    }
  }
  for (const Pin& pin : pins_) {
    for (const PageId page : pin.pages.ids()) {
      ++by_sequences[static_cast<std::size_t>(page)];
    }
  }
  std::vector<PageId> tree_pages;
  tree_.append_pages(tree_pages);
  std::int32_t owned = 0;
  for (const std::int32_t count : by_sequences) {
    owned += count > 0 ? 1 : 0;
  }
  std::int32_t cached = 0;
  std::vector<std::int32_t> counts = by_sequences;
  for (const PageId page : tree_pages) {
    ++counts[static_cast<std::size_t>(page)];
    cached += by_sequences[static_cast<std::size_t>(page)] == 0 ? 1 : 0;
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
