// Turns: among the tenants that have a job waiting, the next in the order of names after the one that had the last
// turn.
#include "server/work/work_pool.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace coppice::server {

namespace {

// A quarter of the time of a core that another thread wants too.
constexpr int kYieldingNice = 6;

// Of this thread alone: on Linux each has its own.
void yield_to_others() {
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kYieldingNice);
}

}  // namespace

WorkPool::WorkPool(const WorkPoolOptions& options) : options_(options) {
  const std::int32_t threads = std::max(options_.threads, 2);
  const std::lock_guard<std::mutex> lock(mutex_);  // none looks how many there are before all are there
  for (std::int32_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { run_jobs(); });
  }
}

WorkPool::~WorkPool() {
  close();
}

bool WorkPool::post(std::string_view tenant, std::size_t bytes, std::function<void()> job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (is_closed_ || jobs_ >= options_.jobs_max || bytes > options_.bytes_max - std::min(bytes_, options_.bytes_max)) {
      return false;
    }
    auto found = tenants_.find(tenant);
    if (found == tenants_.end()) {
      found = tenants_.emplace(std::string(tenant), Tenant()).first;
    }
    Tenant& theirs = found->second;
    if (theirs.jobs >= options_.tenant_jobs_max || theirs.bytes + bytes > options_.tenant_bytes_max) {
      if (theirs.jobs == 0) {
        tenants_.erase(found);
      }
      return false;
    }
    (bytes > kLargeBytes ? theirs.large : theirs.small).push_back({bytes, std::move(job)});  // first: it may throw
    ++jobs_;
    bytes_ += bytes;
    ++theirs.jobs;
    theirs.bytes += bytes;
  }
  work_.notify_one();
  return true;
}

bool WorkPool::take_from(Line line, std::string& last, Tenants::iterator& tenant, Job& job) {
  const auto has_work = [line](const auto& entry) { return !(entry.second.*line).empty(); };
  const auto after = tenants_.upper_bound(last);
  tenant = std::find_if(after, tenants_.end(), has_work);
  if (tenant == tenants_.end()) {
    tenant = std::find_if(tenants_.begin(), after, has_work);
    if (tenant == after) {
      return false;
    }
  }
  std::deque<Job>& waiting = tenant->second.*line;
  job = std::move(waiting.front());
  waiting.pop_front();
  last = tenant->first;
  return true;
}

bool WorkPool::take(Tenants::iterator& tenant, Job& job) {
  if (take_from(&Tenant::small, last_small_, tenant, job)) {
    return true;
  }
  if (large_running_ + 1 < threads_.size() && take_from(&Tenant::large, last_large_, tenant, job)) {
    ++large_running_;
    return true;
  }
  return false;
}

void WorkPool::leave(Tenants::iterator tenant, std::size_t bytes) {
  --jobs_;
  bytes_ -= bytes;
  tenant->second.bytes -= bytes;
  if (--tenant->second.jobs == 0) {
    tenants_.erase(tenant);
  }
}

void WorkPool::run_jobs() {
  if (options_.is_yielding) {
    yield_to_others();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    Tenants::iterator tenant;
    Job job;
    work_.wait(lock, [&] { return is_closed_ || take(tenant, job); });
    if (job.run == nullptr) {
      return;  // closed
    }
    lock.unlock();
    try {
      job.run();
    } catch (const std::exception& error) {
      spdlog::error("a job failed: {}", error.what());
    }
    job.run = nullptr;  // what it holds goes before its place is free
    lock.lock();
    if (job.bytes > kLargeBytes) {
      --large_running_;
      work_.notify_one();  // a large one that had to wait may run
    }
    leave(tenant, job.bytes);
  }
}

void WorkPool::close() {
  std::vector<Job> dropped;  // destroyed without the lock: jobs own what others lock
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_closed_ = true;
    for (auto entry = tenants_.begin(); entry != tenants_.end();) {
      const auto tenant = entry++;
      for (const Line line : {&Tenant::small, &Tenant::large}) {
        std::deque<Job> waiting = std::exchange(tenant->second.*line, {});
        for (Job& job : waiting) {
          jobs_ -= 1;
          bytes_ -= job.bytes;
          tenant->second.jobs -= 1;
          tenant->second.bytes -= job.bytes;
          dropped.push_back(std::move(job));
        }
      }
      if (tenant->second.jobs == 0) {
        tenants_.erase(tenant);
      }
    }
  }
  dropped.clear();
  work_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) {
      thread.join();
    }
  }
}

std::size_t WorkPool::jobs() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return jobs_;
}

}  // namespace coppice::server
