// BatchJob: one request of a batch in flight: a session like those that serve HTTP, and the answer that it makes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/openai/answer_writer.h"
#include "server/batch/batch_line.h"
#include "server/sessions/model_host.h"
#include "server/sessions/session.h"
#include "server/sessions/session_hub.h"
#include "server/work/memory_budget.h"

namespace coppice::server {

// On whose behalf a request runs, and how.
struct BatchJobOptions {
  std::string tenant;      // an API key's name, or ""
  std::string request_id;  // "" = the line's id
  bool in_background = false;
  std::shared_ptr<MemoryBudget::Lease> memory;  // null: nothing is counted
};

// Owner: a run of a batch, which outlives it, as do host and hub. Thread: the hub's. Destroying it cancels.
class BatchJob final : public OutputSink {
 public:
  // The answer: 200 and a body, or an error and its envelope.
  struct Outcome {
    int status = 200;
    std::string body;
    openai::AnswerUsage usage;
  };
  using Done = std::function<void(BatchJob& job, const Outcome& outcome)>;

  // `done` is called once, from inside start() or the hub's dispatch, unless start() returns an error.
  BatchJob(const ModelHost& host, SessionHub& hub, BatchLine line, BatchJobOptions options, Done done);

  // ERRORS: 429 when engine or memory take no more for now. What is wrong with the request itself is an outcome.
  openai::MaybeError start();
  const BatchLine& line() const { return line_; }
  bool ended() const { return ended_; }
  // Sequences of the engine that it may have.
  std::int32_t sequences() const { return sequences_; }

  void on_delta(openai::ChoiceDelta /*delta*/) override {}
  void on_done(openai::Answer answer) override;
  void on_error(openai::ApiError error) override { finish(error); }
  void on_flush() override {}

 private:
  openai::Result<openai::GenerationRequest> read();
  void finish(const openai::ApiError& error);

  const ModelHost& host_;
  BatchLine line_;
  const BatchJobOptions options_;
  const Done done_;
  std::unique_ptr<openai::AnswerWriter> writer_;  // null before the session starts
  bool ended_ = false;
  std::int32_t sequences_ = 0;
  Session session_;  // last: its destructor cancels while everything else still stands
};

}  // namespace coppice::server
