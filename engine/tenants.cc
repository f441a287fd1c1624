// Raising counters to the floor, and the memory of tenants that left.
#include "engine/tenants.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine {

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

}  // namespace coppice::engine
