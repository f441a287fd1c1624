// Choosing which sequence gives up its pages; dividing the rows of a step.
#include "engine/row_budget.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/check.h"

namespace coppice::engine {

bool Preemption::allowed() {
  needed_ = needed_ || ahead_;
  return !ahead_;
}

void Preemption::preempt(Sequence& sequence) {
  COPPICE_CHECK(!sequence.in_step(), "a sequence of this step keeps its pages");
  COPPICE_CHECK(!ahead_, "no sequence is preempted while a step runs");
  COPPICE_CHECK(sequence.drafting.draft().size() == 0 && sequence.drafting.flying().size() == 0,
                "a preempted sequence has no draft");
  pages_.drop(sequence);
  lines_.stop(sequence);
  ++count_;
}

void Preemption::drop_holder(Sequence& sequence) {
  lines_.forget_holder(sequence.slot);
  pages_.drop(sequence);
}

Preemption::Room Preemption::make_room(std::int32_t pages, const Sequence& claimant) {
  while (pages_.pool().free_pages() < pages) {
    if (pages_.evict(pages - pages_.pool().free_pages()) > 0) {
      continue;
    }
    if (!allowed()) {
      return Room::kLater;
    }
    Sequence* victim = nullptr;
    bool others_hold = false;
    bool behind_in_step = false;
    const auto consider = [&](SequenceSlot slot) {
      Sequence& holder = sequences_[slot];
      if (slot == claimant.slot) {
        return;
      }
      others_hold = true;
      if (claimant.line.rank() < holder.line.rank()) {
        if (holder.in_step()) {
          behind_in_step = true;
        } else if (victim == nullptr || victim->line.rank() < holder.line.rank()) {
          victim = &holder;
        }
      }
    };
    for (const SequenceKey& key : lines_.running()) {
      consider(key.slot);
    }
    for (const SequenceSlot slot : lines_.holders()) {
      consider(slot);
    }
    if (victim == nullptr) {
      return behind_in_step ? Room::kLater : others_hold ? Room::kYield : Room::kNever;
    }
    if (victim->line.is_running()) {
      preempt(*victim);
    } else {
      drop_holder(*victim);
    }
  }
  return Room::kMade;
}

bool Preemption::take_from_holders(std::int32_t pages, const Sequence& claimant) {
  while (pages_.available() < pages) {
    const std::vector<SequenceSlot>& holders = lines_.holders();
    const auto last = std::max_element(holders.begin(), holders.end(), [this](SequenceSlot a, SequenceSlot b) {
      return sequences_[a].line.rank() < sequences_[b].line.rank();
    });
    if (last == holders.end() || !(claimant.line.rank() < sequences_[*last].line.rank())) {
      return false;
    }
    drop_holder(sequences_[*last]);
  }
  return true;
}

RowBudget::RowBudget(const Limits& limits, SequenceTable& sequences, const Lines& lines, PageKeeper& pages,
                     Preemption& preemption)
    : limits_(limits), sequences_(sequences), lines_(lines), pages_(pages), preemption_(preemption) {}

void RowBudget::begin_step() {
  for (const SequenceKey& key : lines_.running()) {
    leave_out(sequences_[key.slot]);
  }
  unfit_.clear();
  rows_left_ = limits_.step_tokens_max;
  outputs_left_ = limits_.step_logits_max;
}

void RowBudget::select_decoding() {
  scratch_ = lines_.running();
  for (const SequenceKey& key : scratch_) {
    Sequence& sequence = sequences_[key.slot];
    if (sequence.line.is_running() && sequence.pending() == 1) {
      plan(sequence, rows_left_);
    }
  }
}

bool RowBudget::may_share(const Sequence& first, const Sequence& other) const {
  const std::int32_t others = other.line.rank().priority;
  const std::int32_t firsts = first.line.rank().priority;
  return others < firsts || (others == firsts && (lines_.tenant_of(other).served < lines_.tenant_of(first).served ||
                                                  other.pending() <= first.pending() / 2));
}

const Sequence* RowBudget::first_prompt() const {
  for (const SequenceKey& key : lines_.running()) {
    if (sequences_[key.slot].pending() > 1) {
      return &sequences_[key.slot];
    }
  }
  return nullptr;
}

void RowBudget::select_prompts(bool newcomer) {
  scratch_.clear();
  std::copy_if(lines_.running().begin(), lines_.running().end(), std::back_inserter(scratch_),
               [this](const SequenceKey& key) { return sequences_[key.slot].pending() > 1; });
  if (scratch_.empty()) {
    return;
  }
  Sequence& first = sequences_[scratch_.front().slot];
  scratch_.erase(scratch_.begin());
  std::erase_if(scratch_, [&](const SequenceKey& key) { return !may_share(first, sequences_[key.slot]); });
  const std::int32_t reserved = newcomer ? rows_left_ / kNewcomersIn : 0;
  const bool alone = scratch_.empty() && !newcomer;
  plan(first, alone ? rows_left_ : (rows_left_ + 1) / 2);
  std::sort(scratch_.begin(), scratch_.end(), [this](const SequenceKey& a, const SequenceKey& b) {
    const Sequence& left = sequences_[a.slot];
    const Sequence& right = sequences_[b.slot];
    return std::tuple(lines_.tenant_of(left).served, left.pending(), a.rank) <
           std::tuple(lines_.tenant_of(right).served, right.pending(), b.rank);
  });
  for (const SequenceKey& key : scratch_) {
    Sequence& sequence = sequences_[key.slot];
    if (sequence.line.is_running()) {
      plan(sequence, rows_left_ - reserved);
    }
  }
}

void RowBudget::top_up_prompts() {
  scratch_ = lines_.running();
  for (const SequenceKey& key : scratch_) {
    Sequence& sequence = sequences_[key.slot];
    if (rows_left_ == 0) {
      return;
    }
    if (sequence.line.is_running() && sequence.pending() > std::max(1, sequence.chosen.planned_count())) {
      rows_left_ += sequence.chosen.planned_count();
      outputs_left_ += sequence.chosen.output_count();
      leave_out(sequence);
      plan(sequence, rows_left_);
    }
  }
}

// The law for a step (README.md), for one sequence: how many of its pending tokens, and how many of those with an
// output: logits, or a hidden state.
void RowBudget::plan(Sequence& sequence, std::int32_t rows_max) {
  std::int32_t count = std::min({sequence.pending(), limits_.chunk_tokens_max, rows_max});
  std::int32_t outputs = 0;
  if (sequence.wants_rows()) {
    const std::int32_t from =
        std::max(sequence.computed(), sequence.tokens.rows_reported());  // first row with an output
    count = std::min(count, from - sequence.computed() + outputs_left_);
    outputs = std::max(0, sequence.computed() + count - from);
  } else if (count == sequence.pending()) {
    if (outputs_left_ > 0) {
      outputs = 1;
    } else {
      --count;
    }
  }
  if (count <= 0 || !hold_pages(sequence, count)) {
    return;
  }
  sequence.chosen.planned_count_ = count;
  sequence.chosen.output_count_ = outputs;
  rows_left_ -= count;
  outputs_left_ -= outputs;
}

// False: the sequence is not in this step.
bool RowBudget::hold_pages(Sequence& sequence, std::int32_t token_count) {
  switch (preemption_.make_room(pages_.missing_pages(sequence, token_count), sequence)) {
    case Preemption::Room::kMade:
      pages_.hold_pages(sequence, token_count);
      return true;
    case Preemption::Room::kLater:
      return false;
    case Preemption::Room::kYield:
      preemption_.preempt(sequence);
      return false;
    case Preemption::Room::kNever:
      unfit_.push_back(sequence.slot);
      return false;
  }
  return false;
}

std::int32_t RowBudget::draft_room(const Sequence& sequence) const {
  const std::int64_t tokens = pages_.tokens_within_reach(sequence) - sequence.scheduled();
  return static_cast<std::int32_t>(std::min<std::int64_t>({rows_left_, outputs_left_, tokens}));
}

void RowBudget::take_draft(Sequence& sequence, std::int32_t count) {
  COPPICE_CHECK(count <= draft_room(sequence), "drafts stay within their room");
  sequence.chosen.draft_count_ = count;
  rows_left_ -= count;
  outputs_left_ -= count;
  pages_.cover(sequence, sequence.scheduled());
}

}  // namespace coppice::engine
