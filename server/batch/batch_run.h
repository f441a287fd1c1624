// BatchRun: requests of a file through the engine in this thread, the same sessions that serve HTTP doing the work.
// Requests go in sorted by prompt, so that those with a prefix in common run together and compute it once.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "server/batch/batch_input.h"
#include "server/batch/batch_job.h"
#include "server/batch/batch_output.h"
#include "server/sessions/model_host.h"
#include "server/sessions/session_hub.h"

namespace coppice::server {

struct BatchRunCounts {
  std::size_t answered = 0;  // 200
  std::size_t refused = 0;   // any other status, and lines that could not be read
  std::size_t skipped = 0;   // had an answer already
};

// Owner and thread: the command's. The host's engine has no other thread.
class BatchRun {
 public:
  // progress(done, total) after every answer; may be empty.
  BatchRun(const ModelHost& host, BatchOutput& output, std::function<void(std::size_t, std::size_t)> progress);
  ~BatchRun();
  BatchRun(const BatchRun&) = delete;
  BatchRun& operator=(const BatchRun&) = delete;

  // Every line gets one line of output. REQUIRES: the input is scanned. ERRORS: Internal when the output cannot be
  // written; DataLoss when the input has shrunk.
  absl::Status run(const BatchInput& input);
  const BatchRunCounts& counts() const { return counts_; }

 private:
  absl::StatusOr<bool> start(BatchLine line);
  void answer(const BatchLine& line, const BatchJob::Outcome& outcome);

  const ModelHost& host_;
  BatchOutput& output_;
  const std::function<void(std::size_t, std::size_t)> progress_;
  SessionHub hub_;
  std::vector<std::unique_ptr<BatchJob>> jobs_;
  absl::Status write_status_;
  std::size_t total_ = 0;
  BatchRunCounts counts_;
};

}  // namespace coppice::server
