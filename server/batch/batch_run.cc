// Sorting, the window of requests in flight, and the answers.
#include "server/batch/batch_run.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <tuple>
#include <utility>

#include "proto/openai/answer_writer.h"
#include "proto/openai/parse_request.h"
#include "server/sessions/session.h"

namespace coppice::server {
namespace {

// Requests in flight for each that may run: enough that the engine always finds one with a cached prefix.
constexpr std::size_t kWindowFills = 2;

}  // namespace

// One request in flight.
class BatchRun::Job final : public OutputSink {
 public:
  Job(BatchRun& run, const BatchLine& line) : run_(run), line_(line), session_(run.host_, run.hub_, *this) {}

  openai::MaybeError start(openai::GenerationRequest request) {
    writer_ = openai::make_answer_writer(request,
                                         {line_.id(), static_cast<std::int64_t>(std::time(nullptr)), run_.host_.name});
    return session_.start(std::move(request), "");
  }
  bool ended() const { return ended_; }

  void on_delta(openai::ChoiceDelta /*delta*/) override {}
  void on_done(openai::Answer answer) override {
    ended_ = true;
    run_.finish(line_, 200, writer_->whole(answer));
  }
  void on_error(openai::ApiError error) override {
    ended_ = true;
    run_.finish(line_, error);
  }
  void on_flush() override {}

 private:
  BatchRun& run_;
  const BatchLine& line_;
  std::unique_ptr<openai::AnswerWriter> writer_;  // null before start()
  bool ended_ = false;
  Session session_;  // last: its destructor cancels while everything else still stands
};

BatchRun::BatchRun(const ModelHost& host, BatchOutput& output, std::function<void(std::size_t, std::size_t)> progress)
    : host_(host), output_(output), progress_(std::move(progress)), hub_([] {}) {}

BatchRun::~BatchRun() = default;

absl::Status BatchRun::run(std::vector<BatchLine> lines) {
  total_ = lines.size();
  counts_.skipped =
      static_cast<std::size_t>(std::erase_if(lines, [this](const BatchLine& line) { return output_.has(line); }));
  std::sort(lines.begin(), lines.end(), [](const BatchLine& a, const BatchLine& b) {
    return std::tie(a.prefix_key, a.number) < std::tie(b.prefix_key, b.number);
  });
  const std::size_t window = kWindowFills * static_cast<std::size_t>(host_.engine_limits.running_max);
  std::size_t next = 0;
  while (write_status_.ok() && (next < lines.size() || !jobs_.empty())) {
    while (next < lines.size() && jobs_.size() < window && start(lines[next])) {
      ++next;
    }
    host_.engine->step();
    hub_.dispatch();
    std::erase_if(jobs_, [](const std::unique_ptr<Job>& job) { return job->ended(); });
  }
  jobs_.clear();
  return write_status_;
}

openai::Result<openai::GenerationRequest> BatchRun::parse(const BatchLine& line) const {
  openai::Result<openai::GenerationRequest> request =
      line.kind == openai::RequestKind::kChat ? openai::read_chat_request(line.body, host_.request_limits)
                                              : openai::read_completion_request(line.body, host_.request_limits);
  if (request.ok() && request.value().stream) {
    return openai::bad_value("stream", "'stream' cannot be used in a batch");
  }
  return request;
}

// False: the engine takes no more for now.
bool BatchRun::start(const BatchLine& line) {
  if (!line.refusal.empty()) {
    ++counts_.refused;
    write_status_.Update(output_.append(write_batch_refusal(line)));
    return true;
  }
  openai::Result<openai::GenerationRequest> request = parse(line);
  if (!request.ok()) {
    finish(line, request.error());
    return true;
  }
  auto job = std::make_unique<Job>(*this, line);
  if (const openai::MaybeError error = job->start(std::move(request.value()))) {
    if (error->status == openai::kOverloadedStatus && !jobs_.empty()) {
      return false;
    }
    finish(line, *error);
    return true;
  }
  jobs_.push_back(std::move(job));
  return true;
}

void BatchRun::finish(const BatchLine& line, int status, std::string_view body) {
  ++(status == 200 ? counts_.answered : counts_.refused);
  write_status_.Update(output_.append(write_batch_answer(line, status, body)));
  if (progress_) {
    progress_(counts_.answered + counts_.refused + counts_.skipped, total_);
  }
}

void BatchRun::finish(const BatchLine& line, const openai::ApiError& error) {
  finish(line, error.status, openai::write_error(error));
}

}  // namespace coppice::server
