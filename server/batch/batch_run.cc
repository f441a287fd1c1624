// The window of requests in flight, and the answers.
#include "server/batch/batch_run.h"

#include <memory>
#include <utility>

#include "base/status_macros.h"

namespace coppice::server {
namespace {

// Requests in flight for each that may run: enough that the engine always finds one with a cached prefix.
constexpr std::size_t kWindowFills = 2;

}  // namespace

BatchRun::BatchRun(const ModelHost& host, BatchOutput& output, std::function<void(std::size_t, std::size_t)> progress)
    : host_(host), output_(output), progress_(std::move(progress)), hub_([] {}) {}

BatchRun::~BatchRun() = default;

absl::Status BatchRun::run(const BatchInput& input) {
  total_ = input.entries().size();
  const std::size_t window = kWindowFills * static_cast<std::size_t>(host_.engine_limits.running_max);
  std::size_t next = 0;
  while (write_status_.ok() && (next < total_ || !jobs_.empty())) {
    for (bool goes_on = true; goes_on && next < total_ && jobs_.size() < window;) {
      COPPICE_ASSIGN_OR_RETURN(BatchLine line, input.read(input.entries()[next]));
      COPPICE_ASSIGN_OR_RETURN(goes_on, start(std::move(line)));
      next += goes_on ? 1 : 0;
    }
    const std::size_t before = jobs_.size();
    do {  // a line that the engine has no room for is tried again when another has ended
      host_.engine->step();
      hub_.dispatch();
      std::erase_if(jobs_, [](const std::unique_ptr<BatchJob>& job) { return job->ended(); });
    } while (write_status_.ok() && before > 0 && jobs_.size() == before);
  }
  jobs_.clear();
  return write_status_;
}

// False: the engine takes no more for now.
absl::StatusOr<bool> BatchRun::start(BatchLine line) {
  if (output_.has(line)) {
    ++counts_.skipped;
    return true;
  }
  if (!line.refusal.empty()) {
    ++counts_.refused;
    write_status_.Update(output_.append(write_batch_refusal(line, "invalid_line", line.refusal)));
    return true;
  }
  auto job = std::make_unique<BatchJob>(
      host_, hub_, std::move(line), BatchJobOptions(),
      [this](BatchJob& done, const BatchJob::Outcome& outcome) { answer(done.line(), outcome); });
  if (const openai::MaybeError error = job->start()) {
    if (!jobs_.empty()) {
      return false;
    }
    answer(job->line(), {error->status, openai::write_error(*error), {}});
    return true;
  }
  if (!job->ended()) {
    jobs_.push_back(std::move(job));
  }
  return true;
}

void BatchRun::answer(const BatchLine& line, const BatchJob::Outcome& outcome) {
  ++(outcome.status == 200 ? counts_.answered : counts_.refused);
  write_status_.Update(output_.append(write_batch_answer(line, outcome.status, outcome.body)));
  if (progress_) {
    progress_(counts_.answered + counts_.refused + counts_.skipped, total_);
  }
}

}  // namespace coppice::server
