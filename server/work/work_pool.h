// WorkPool: threads for what is too much for an I/O thread: parsing, rendering, tokenising, detokenising, writing large
// answers. Its queue is bounded in jobs and in bytes, as a whole and for each tenant; tenants take turns.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace coppice::server {

// Set when the client that waits for a job has left. Jobs look at it between slices.
using CancelFlag = std::atomic<bool>;

struct WorkPoolOptions {
  std::int32_t threads = 2;                                // at least 2: one is kept for small jobs
  std::size_t jobs_max = 1024;                             // waiting or running: as many as requests may wait
  std::size_t bytes_max = std::size_t{256} << 20U;         // of the jobs' inputs: sixteen of the largest bodies
  std::size_t tenant_jobs_max = 512;                       // half, so that one tenant never fills the queue
  std::size_t tenant_bytes_max = std::size_t{128} << 20U;  // likewise
  bool is_yielding = false;                                // its threads take what time others leave, most of it
};

// Owner: the app. Thread: any. A job runs to its end once it has begun, so every job must be bounded.
//
// Jobs over kLargeBytes never occupy the last thread: a small request waits for small ones alone.
class WorkPool {
 public:
  // 64 KiB of JSON are parsed and tokenised in some milliseconds.
  static constexpr std::size_t kLargeBytes = std::size_t{64} << 10U;

  explicit WorkPool(const WorkPoolOptions& options = {});
  ~WorkPool();  // close()
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // Queues `job`, whose input has `bytes` bytes. False when the queue, or the tenant's part of it, is full, or the pool
  // is closed; the job is dropped. What a job throws is logged and lost: a job that a client waits for catches
  // it itself.
  bool post(std::string_view tenant, std::size_t bytes, std::function<void()> job);

  // Drops the jobs that wait, ends when those that run have ended.
  void close();

  std::size_t jobs() const;  // waiting or running

 private:
  struct Job {
    std::size_t bytes = 0;
    std::function<void()> run;
  };
  // What one tenant has in the pool; gone with its last job.
  struct Tenant {
    std::deque<Job> small;
    std::deque<Job> large;
    std::size_t jobs = 0;  // waiting or running
    std::size_t bytes = 0;
  };
  using Tenants = std::map<std::string, Tenant, std::less<>>;
  using Line = std::deque<Job> Tenant::*;

  void run_jobs();
  bool take(Tenants::iterator& tenant, Job& job);
  bool take_from(Line line, std::string& last, Tenants::iterator& tenant, Job& job);
  void leave(Tenants::iterator tenant, std::size_t bytes);

  const WorkPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  Tenants tenants_;
  std::string last_small_;  // the tenant that had the last turn
  std::string last_large_;
  std::size_t jobs_ = 0;  // waiting or running
  std::size_t bytes_ = 0;
  std::size_t large_running_ = 0;
  bool is_closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace coppice::server
