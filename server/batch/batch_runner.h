// BatchRunner: runs the batches of a BatchStore on the engine that serves, in the background: a thread of its own with
// sessions like those of the front ends. What it was doing when the process ended it takes up again.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/batch/active_batch.h"
#include "server/batch/batch_job.h"
#include "server/batch/batch_store.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

struct BatchRunnerOptions {
  std::int32_t in_flight_max = 0;  // --batch-running: requests of batches at once; 0 = choose
};

// Owner: the app. REQUIRES: state.host is set; the engine outlives it, and no front end creates or cancels a batch
// while it comes or goes.
class BatchRunner {
 public:
  BatchRunner(ServerState& state, FileStore& files, BatchStore& store, const BatchRunnerOptions& options = {});
  ~BatchRunner();  // stop()
  BatchRunner(const BatchRunner&) = delete;
  BatchRunner& operator=(const BatchRunner&) = delete;

  void start();
  // What runs is cancelled, and done again by the next start.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;

  struct Running {
    std::unique_ptr<BatchJob> job;
    ActiveBatch* batch = nullptr;
    BatchInput::Entry entry;
  };

  void run();
  void wait();
  void wake();
  void work();

  void look_around();
  void open_waiting();
  bool advance(ActiveBatch& batch);
  bool begin(ActiveBatch& batch);
  void end(ActiveBatch& batch, openai::BatchStatus status);
  void fail(const BatchKey& key, std::vector<openai::BatchError> errors);
  void fail(const BatchKey& key, const absl::Status& status);
  void give_up(ActiveBatch& batch);
  absl::Status publish(ActiveBatch& batch, const openai::BatchCard& card);
  absl::Status refuse_rest(ActiveBatch& batch);
  void close(std::size_t index);

  void start_lines();
  bool waits_for_room() const;
  bool start_line(ActiveBatch& batch, const BatchInput::Entry& entry);
  bool start_job(ActiveBatch& batch, const BatchInput::Entry& entry, BatchLine line,
                 std::shared_ptr<MemoryBudget::Lease> memory);
  void settle(BatchJob& job, ActiveBatch& batch, const BatchInput::Entry& entry, const BatchJob::Outcome& outcome);
  void show(ActiveBatch& batch);
  void drop_jobs(ActiveBatch& batch);
  std::size_t window() const;

  ServerState& state_;
  const ModelHost& host_;
  FileStore& files_;
  BatchStore& store_;
  const BatchRunnerOptions options_;
  SessionHub hub_;
  std::vector<std::unique_ptr<ActiveBatch>> open_;
  std::vector<Running> running_;
  std::size_t turn_ = 0;  // of open_: whose line is next
  Clock::time_point look_at_{};
  std::atomic<bool> has_changed_{true};  // a batch was created, cancelled or has ended
  std::mutex mutex_;
  std::condition_variable condition_;
  bool is_woken_ = false;  // guarded by mutex_
  std::atomic<bool> is_stopping_{false};
  std::thread thread_;  // last
};

}  // namespace coppice::server
