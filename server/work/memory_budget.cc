// One mutex for all leases: parts change some times in a request's life, and for a slow reader once an event.
#include "server/work/memory_budget.h"

#include <fmt/format.h>
#include <malloc.h>

#include <numeric>
#include <utility>

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 1;                       // requests come and go within a second
constexpr std::size_t kTrimBytes = std::size_t{16} << 20U;  // less is not worth walking the heap
constexpr std::chrono::seconds kTrimPeriod{1};              // under load: what is given back is soon taken again
// After the last request: what the engine holds of it goes a moment later than its lease.
constexpr std::int32_t kIdleTrims = 2;
constexpr std::size_t kArrivingShare = 2;  // half of each bound for bodies on their way

std::size_t counted(std::size_t bytes) {
  return bytes > MemoryBudget::kFreeBytes ? bytes - MemoryBudget::kFreeBytes : 0;
}

openai::ApiError full(const char* whose, const char* flag) {
  return openai::overloaded(
      fmt::format("{} requests hold as much memory as they may ({}); try again later", whose, flag), kRetryAfterSeconds,
      "memory_full");
}

}  // namespace

MemoryBudget::Lease::~Lease() {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  budget_.returned_ += std::accumulate(parts_.begin(), parts_.end(), std::size_t{0});
  budget_.count(*this, counted_, 0);
}

void MemoryBudget::Lease::set_tenant(std::string tenant) {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  if (tenant == tenant_) {
    return;
  }
  if (counted_ == 0) {
    tenant_ = std::move(tenant);
    return;
  }
  budget_.tenants_.try_emplace(tenant);  // first: it may throw
  budget_.count(*this, counted_, 0);
  tenant_ = std::move(tenant);
  budget_.count(*this, 0, counted_);
}

openai::MaybeError MemoryBudget::Lease::set(MemoryPart part, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  return set_locked(part, bytes);
}

openai::MaybeError MemoryBudget::Lease::receive(std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  is_arriving_ = true;  // nothing else is counted yet
  return set_locked(MemoryPart::kBody, bytes);
}

void MemoryBudget::Lease::received() {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  if (std::exchange(is_arriving_, false) && counted_ > 0) {
    budget_.used_.arriving -= counted_;
    budget_.tenants_.at(tenant_).arriving -= counted_;
  }
}

openai::MaybeError MemoryBudget::Lease::set_locked(MemoryPart part, std::size_t bytes) {
  std::size_t& place = parts_[static_cast<std::size_t>(part)];
  const std::size_t total = std::accumulate(parts_.begin(), parts_.end(), std::size_t{0}) - place + bytes;
  const std::size_t after = counted(total);
  if (after > counted_) {
    if (openai::MaybeError error = budget_.refusal(*this, total, after - counted_)) {
      return error;
    }
  }
  budget_.returned_ += place > bytes ? place - bytes : 0;
  place = bytes;
  if (after != counted_) {
    budget_.count(*this, counted_, after);
    counted_ = after;
  }
  return std::nullopt;
}

openai::MaybeError MemoryBudget::refusal(const Lease& lease, std::size_t request_bytes, std::size_t more) const {
  if (request_bytes > limits_.request_bytes) {
    return openai::too_large(
        fmt::format("the request needs {} bytes of memory; a request may hold {} "
                    "(--memory-per-request)",
                    request_bytes, limits_.request_bytes));
  }
  if (counted(request_bytes) > std::min(limits_.tenant_bytes, limits_.server_bytes)) {  // later is no better
    return openai::too_large(
        fmt::format("the request needs {} bytes of memory; all of yours may hold {} (--memory-per-tenant, "
                    "--memory-of-requests)",
                    request_bytes, std::min(limits_.tenant_bytes, limits_.server_bytes)));
  }
  const auto is_full = [&](const Use& use, std::size_t most) {
    return use.bytes + more > most || (lease.is_arriving_ && use.arriving + more > most / kArrivingShare);
  };
  const auto found = tenants_.find(lease.tenant_);
  if (is_full(found == tenants_.end() ? Use() : found->second, limits_.tenant_bytes)) {
    return full("your", "--memory-per-tenant");
  }
  if (is_full(used_, limits_.server_bytes)) {
    return full("the server's", "--memory-of-requests");
  }
  return std::nullopt;
}

// Giving back takes no memory: a tenant that holds something has its entry.
void MemoryBudget::count(const Lease& lease, std::size_t before, std::size_t after) {
  if (before == after) {
    return;
  }
  if (before > after) {
    trims_due_ = kIdleTrims;
  }
  auto place = tenants_.find(lease.tenant_);
  if (place == tenants_.end()) {
    place = tenants_.emplace(lease.tenant_, Use()).first;
  }
  for (Use* const use : {&used_, &place->second}) {
    use->bytes += after - before;
    use->arriving += lease.is_arriving_ ? after - before : 0;
  }
  if (place->second.bytes == 0) {
    tenants_.erase(place);
  }
}

void MemoryBudget::give_back(std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  returned_ += bytes;
}

std::size_t MemoryBudget::used() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return used_.bytes;
}

bool MemoryBudget::is_trim_due(Clock::time_point now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool is_idle = used_.bytes == 0 && trims_due_ > 0;
  if (!is_idle && (returned_ < kTrimBytes || now - trimmed_ < kTrimPeriod)) {
    return false;
  }
  returned_ = 0;
  trimmed_ = now;
  trims_due_ -= is_idle ? 1 : 0;
  return true;
}

void MemoryBudget::trim(Clock::time_point now) {
  if (is_trim_due(now)) {
    malloc_trim(0);
  }
}

}  // namespace coppice::server
