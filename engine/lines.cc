// What tenants were given; moving sequences between the lists, and the tenants' counts that follow.
#include "engine/lines.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace coppice::engine {

namespace {

// Low bits of an aged order, which keep ranks apart: arrivals as far apart as 2^20 never age to the same place.
constexpr unsigned kArrivalBits = 20;

// The place in the order of arrival that a request waits at, as a number that no other request has.
std::uint64_t aged_order(std::uint64_t arrival, std::int32_t priority) {
  constexpr std::int64_t kFirst = kAgePerPriority * kPrioritySpan;  // so that none is negative
  const std::int64_t moved = kAgePerPriority * std::clamp(priority, -kPrioritySpan, kPrioritySpan);
  const std::uint64_t place = arrival + static_cast<std::uint64_t>(kFirst + moved);
  return place << kArrivalBits | (arrival & ((std::uint64_t{1} << kArrivalBits) - 1));
}

// Better is less. Where priorities order a tenant's own requests, all tenants' requests are of one class, but those of
// the background are of a worse one.
std::int32_t class_of(const Request& request, bool across_tenants) {
  if (request.background) {
    return std::numeric_limits<std::int32_t>::max();
  }
  return across_tenants ? request.priority : 0;
}

// What an account has run in the background is not held against its other requests.
std::string served_name(const Request& request) {
  return account_of(request) + (request.background ? "|background" : "");
}

}  // namespace

std::int32_t Tenants::enter(const std::string& name) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    ++(*this)[found->second].live;
    return found->second;
  }
  if (!active_.empty()) {
    const auto least = std::min_element(active_.begin(), active_.end(), [this](std::int32_t a, std::int32_t b) {
      return (*this)[a].served < (*this)[b].served;
    });
    raise_floor((*this)[*least].served);
  }
  if (free_.empty()) {
    free_.push_back(static_cast<std::int32_t>(entries_.size()));
    entries_.emplace_back();
  }
  const std::int32_t tenant = free_.back();
  free_.pop_back();
  Entry& entry = (*this)[tenant];
  entry.name = name;
  entry.served = std::max(floor_, recall(name));
  entry.live = 1;
  active_.push_back(tenant);
  by_name_.emplace(name, tenant);
  return tenant;
}

void Tenants::leave(std::int32_t tenant) {
  Entry& entry = (*this)[tenant];
  COPPICE_CHECK(entry.live > 0, "a tenant is left as often as entered");
  if (--entry.live > 0) {
    return;
  }
  COPPICE_CHECK(entry.running == 0 && entry.waiting.empty(), "a tenant without sequences has none waiting or running");
  std::erase(active_, tenant);
  by_name_.erase(entry.name);
  if (active_.empty()) {
    raise_floor(entry.served);
  }
  remember(entry);
  entry = Entry();
  free_.push_back(tenant);
}

// A tenant that would be raised anyway need not be remembered.
void Tenants::raise_floor(std::uint64_t served) {
  floor_ = std::max(floor_, served);
  while (!gone_.empty() && gone_.begin()->first <= floor_) {
    gone_served_.erase(gone_.begin()->second);
    gone_.erase(gone_.begin());
  }
}

std::uint64_t Tenants::recall(const std::string& name) {
  const auto found = gone_served_.find(name);
  if (found == gone_served_.end()) {
    return 0;
  }
  const std::uint64_t served = found->second;
  gone_.erase({served, name});
  gone_served_.erase(found);
  return served;
}

void Tenants::remember(const Entry& entry) {
  if (entry.served <= floor_) {
    return;
  }
  gone_.insert({entry.served, entry.name});
  gone_served_[entry.name] = entry.served;
  if (remembered() > kRememberedMax) {  // forget the one whose memory matters least
    gone_served_.erase(gone_.begin()->second);
    gone_.erase(gone_.begin());
  }
}

Lines::Lines(std::int32_t running_max, bool across_tenants, const RequestTable& requests)
    : across_tenants_(across_tenants), requests_(requests) {
  running_.reserve(static_cast<std::size_t>(running_max));
}

void Lines::enter(Sequence& sequence) {
  LineState& line = sequence.line;
  if (line.tenant_ < 0) {
    const RequestState& state = requests_[sequence.request];
    line.priority_ = state.request.priority;
    line.rank_ = {.priority = class_of(state.request, across_tenants_),
                  .order = across_tenants_ ? state.order : aged_order(state.order, line.priority_),
                  .choice = sequence.choice};
    line.tenant_ = tenants_.enter(served_name(state.request));
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
