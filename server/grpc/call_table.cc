// A call is cancelled under its own lock alone: gRPC may call back at once.
#include "server/grpc/call_table.h"

#include <utility>
#include <vector>

namespace coppice::server {

void CallTable::Entry::waits_for_client(bool waits) {
  const std::lock_guard lock(mutex_);
  waiting_since_ = waits ? Clock::now() : Clock::time_point();
}

void CallTable::Entry::leave() {
  const std::lock_guard lock(mutex_);
  context_ = nullptr;
}

void CallTable::Entry::cancel_if_unread_since(Clock::time_point time) {
  const std::lock_guard lock(mutex_);
  if (context_ != nullptr && waiting_since_ != Clock::time_point() && waiting_since_ <= time) {
    context_->TryCancel();
    waiting_since_ = {};
  }
}

std::unique_ptr<CallTable::Place> CallTable::enter(const std::string& tenant, grpc::CallbackServerContext& context) {
  const std::lock_guard lock(mutex_);
  const auto alive = static_cast<std::int64_t>(entries_.size());
  std::int64_t& theirs = tenants_[tenant];
  const bool is_full = alive >= most_ || (!tenant.empty() && theirs >= most_ / 2);
  if (is_full) {
    if (theirs == 0) {
      tenants_.erase(tenant);
    }
    return nullptr;
  }
  auto entry = std::make_shared<Entry>(context);
  auto place = std::make_unique<Place>(*this, tenant, entry);
  entries_.emplace(entry.get(), std::move(entry));
  ++theirs;
  return place;
}

CallTable::Place::~Place() {
  const std::lock_guard lock(table_.mutex_);
  table_.entries_.erase(entry_.get());
  table_.endless_ -= is_endless_ ? 1 : 0;
  const auto theirs = table_.tenants_.find(tenant_);
  if (--theirs->second == 0) {
    table_.tenants_.erase(theirs);
  }
}

void CallTable::Place::goes_on_for_ever() {
  const std::lock_guard lock(table_.mutex_);
  is_endless_ = true;
  ++table_.endless_;
}

std::int64_t CallTable::ending() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(entries_.size()) - endless_;
}

std::int64_t CallTable::alive() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(entries_.size());
}

void CallTable::cancel_unread(std::chrono::milliseconds patience, Clock::time_point now) {
  std::vector<std::shared_ptr<Entry>> entries;
  {
    const std::lock_guard lock(mutex_);
    entries.reserve(entries_.size());
    for (const auto& [key, entry] : entries_) {
      entries.push_back(entry);
    }
  }
  for (const std::shared_ptr<Entry>& entry : entries) {
    entry->cancel_if_unread_since(now - patience);
  }
}

}  // namespace coppice::server
