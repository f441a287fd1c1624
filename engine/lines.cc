// Moving sequences between the lists, and the tenants' counts that follow.
#include "engine/lines.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine {

Lines::Lines(std::int32_t running_max, const RequestTable& requests) : requests_(requests) {
  running_.reserve(static_cast<std::size_t>(running_max));
}

void Lines::enter(Sequence& sequence) {
  LineState& line = sequence.line;
  if (line.tenant_ < 0) {
    const RequestState& state = requests_[sequence.request];
    line.rank_ = {.priority = state.request.priority, .order = state.order, .choice = sequence.choice};
    line.tenant_ = tenants_.enter(state.request.tenant);
  }
}

void Lines::wait(Sequence& sequence) {
  COPPICE_CHECK(sequence.token_count() > 0, "a sequence starts with at least one token");
  enter(sequence);
  LineState& line = sequence.line;
  line.state_ = SequenceState::kWaiting;
  line.since_ = step_;
  const SequenceKey key{line.rank_, sequence.slot};
  waiting_.insert(key);
  if (line.rank_.fresh) {
    tenants_[line.tenant_].waiting.insert(key);
  }
}

void Lines::wait_beside(const Sequence& parent, Sequence& child) {
  enter(child);
  child.line.rank_.fresh = false;
  child.line.rank_.order = parent.line.rank_.order;
  if (!child.hold.pages().empty()) {
    holders_.push_back(child.slot);
  }
  wait(child);
}

void Lines::run(Sequence& sequence) {
  leave_waiting(sequence);
  LineState& line = sequence.line;
  if (line.rank_.fresh) {
    line.rank_.fresh = false;
    line.rank_.order = ++admissions_;
  }
  const SequenceKey key{line.rank_, sequence.slot};
  running_.insert(std::upper_bound(running_.begin(), running_.end(), key), key);
  ++tenants_[line.tenant_].running;
  line.state_ = SequenceState::kRunning;
  line.since_ = step_;
}

void Lines::stop(Sequence& sequence) {
  leave_running(sequence);
  wait(sequence);
}

void Lines::forget_holder(SequenceSlot slot) {
  std::erase(holders_, slot);
}

void Lines::remove(Sequence& sequence) {
  LineState& line = sequence.line;
  if (line.state_ == SequenceState::kRunning) {
    leave_running(sequence);
  } else if (line.state_ == SequenceState::kWaiting) {
    leave_waiting(sequence);
  }
  line.state_ = SequenceState::kDormant;
  if (line.tenant_ >= 0) {
    tenants_.leave(line.tenant_);
    line.tenant_ = -1;
  }
}

void Lines::leave_waiting(const Sequence& sequence) {
  const SequenceKey key{sequence.line.rank_, sequence.slot};
  waiting_.erase(key);
  tenants_[sequence.line.tenant_].waiting.erase(key);
  forget_holder(sequence.slot);
}

void Lines::leave_running(const Sequence& sequence) {
  const SequenceKey key{sequence.line.rank_, sequence.slot};
  const auto found = std::lower_bound(running_.begin(), running_.end(), key);
  COPPICE_CHECK(found != running_.end() && found->slot == sequence.slot, "a running sequence is in the list");
  running_.erase(found);
  --tenants_[sequence.line.tenant_].running;
}

void Lines::charge_prompt(const Sequence& sequence, std::int32_t tokens) {
  tenants_.charge(sequence.line.tenant_, kInputCost * static_cast<std::uint64_t>(tokens));
}

void Lines::charge_output(Sequence& sequence) {
  LineState& line = sequence.line;
  tenants_.charge(line.tenant_, kOutputCost * static_cast<std::uint64_t>(sequence.output_count() - line.charged_));
  line.charged_ = sequence.output_count();
}

SequenceSlot Lines::oldest() const {
  if (running_.empty()) {
    return waiting_.empty() ? kNoSequence : waiting_.begin()->slot;
  }
  return !waiting_.empty() && *waiting_.begin() < running_.front() ? waiting_.begin()->slot : running_.front().slot;
}

}  // namespace coppice::engine
