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
// After the last request: what the engine holds of it goes a moment later than its lease.
constexpr std::int32_t kIdleTrims = 2;

std::size_t counted(std::size_t bytes) {
  return bytes > MemoryBudget::kFreeBytes ? bytes - MemoryBudget::kFreeBytes : 0;
}

openai::ApiError full(const char* whose, const char* flag) {
  openai::ApiError error =
      openai::overloaded(fmt::format("{} requests hold as much memory as they may ({}); try again later", whose, flag),
                         kRetryAfterSeconds);
  error.code = "memory_full";
  return error;
}

}  // namespace

MemoryBudget::Lease::~Lease() {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  budget_.count(tenant_, counted_, 0);
}

void MemoryBudget::Lease::set_tenant(std::string tenant) {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  budget_.count(tenant_, counted_, 0);
  tenant_ = std::move(tenant);
  budget_.count(tenant_, 0, counted_);
}

openai::MaybeError MemoryBudget::Lease::set(MemoryPart part, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(budget_.mutex_);
  std::size_t& place = parts_[static_cast<std::size_t>(part)];
  const std::size_t total = std::accumulate(parts_.begin(), parts_.end(), std::size_t{0}) - place + bytes;
  const std::size_t after = counted(total);
  if (after > counted_) {
    if (openai::MaybeError error = budget_.refusal(tenant_, total, after - counted_)) {
      return error;
    }
  }
  place = bytes;
  if (after != counted_) {
    budget_.count(tenant_, counted_, after);
    counted_ = after;
  }
  return std::nullopt;
}

openai::MaybeError MemoryBudget::refusal(const std::string& tenant, std::size_t request_bytes, std::size_t more) const {
  if (request_bytes > limits_.request_bytes) {
    return openai::too_large(
        fmt::format("the request needs {} bytes of memory; a request may hold {} "
                    "(--memory-per-request)",
                    request_bytes, limits_.request_bytes));
  }
  const auto found = tenants_.find(tenant);
  if (found != tenants_.end() && found->second + more > limits_.tenant_bytes) {
    return full("your", "--memory-per-tenant");
  }
  if (more > limits_.tenant_bytes) {
    return full("your", "--memory-per-tenant");
  }
  if (used_ + more > limits_.server_bytes) {
    return full("the server's", "--memory-of-requests");
  }
  return std::nullopt;
}

void MemoryBudget::count(const std::string& tenant, std::size_t before, std::size_t after) {
  if (before == after) {
    return;
  }
  used_ += after - before;
  if (before > after) {
    returned_ += before - after;
    trims_due_ = kIdleTrims;
  }
  const auto place = tenants_.emplace(tenant, 0).first;
  place->second += after - before;
  if (place->second == 0) {
    tenants_.erase(place);
  }
}

std::size_t MemoryBudget::used() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return used_;
}

void MemoryBudget::trim() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool is_idle = used_ == 0 && trims_due_ > 0;
    if (returned_ < kTrimBytes && !is_idle) {
      return;
    }
    returned_ = 0;
    trims_due_ -= is_idle ? 1 : 0;
  }
  malloc_trim(0);
}

}  // namespace coppice::server
