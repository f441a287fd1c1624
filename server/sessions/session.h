// Session: one request from validation to its last event, whatever API it came by: submits it to the engine, routes the
// engine's events to its choices, and hands their items to a sink. Its destructor cancels.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/events.h"
#include "engine/request.h"
#include "proto/openai/answer.h"
#include "proto/openai/request.h"
#include "server/output/choice_stream.h"
#include "server/output/output_parser.h"
#include "server/output/prediction_match.h"
#include "server/sessions/model_host.h"
#include "server/sessions/prepared_request.h"
#include "server/sessions/session_hub.h"
#include "server/sessions/session_meter.h"

namespace coppice::server {

// Where a session's output goes. All calls come on the session's thread, from inside SessionHub::dispatch(), and must
// neither block nor destroy the session. After on_done or on_error only one on_flush comes.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // Before all others: the first token is there. `known`: tokens of the prompt, and how many of them came from the
  // prefix cache.
  virtual void on_begin(const openai::AnswerUsage& /*known*/) {}
  virtual void on_delta(openai::ChoiceDelta delta) = 0;  // streaming requests only
  // The end. Streaming: `answer.choices` is empty, the deltas were the answer.
  virtual void on_done(openai::Answer answer) = 0;
  virtual void on_error(openai::ApiError error) = 0;
  virtual void on_flush() = 0;  // after the last call of one dispatch: send what there is
};

// Owner: the front end's request object. Thread: its hub's. The host, the hub and the sink outlive it.
class Session final : public EventListener {
 public:
  // `memory` pays for what the session holds; null: nothing is counted. The request came at `arrival`.
  Session(const ModelHost& host, SessionHub& hub, OutputSink& sink,
          std::shared_ptr<MemoryBudget::Lease> memory = nullptr,
          SessionMeter::Clock::time_point arrival = SessionMeter::Clock::now());
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Submits. `tenant` is the API key's name or "". REQUIRES: called once. ERRORS: 429; then the sink is not called at
  // all.
  openai::MaybeError start(PreparedRequest prepared, const std::string& tenant);
  // The same after prepare() on this thread. REQUIRES, ERRORS: its, too.
  openai::MaybeError start(openai::GenerationRequest request, const std::string& tenant);

  // Runs on what requests that are not leave. Call before start().
  void run_in_background() { is_background_ = true; }
  // The client waits no longer than this; --request-timeout may end it sooner. Call before start().
  void end_by(SessionMeter::Clock::time_point deadline) { client_deadline_ = deadline; }

  // From the hub.
  std::size_t handle(engine::Event&& event) override;
  void flush() override { sink_.on_flush(); }
  void abort(const openai::ApiError& error) override;

  bool ended() const { return ended_; }
  std::int64_t prompt_tokens() const { return totals_.prompt_tokens; }
  std::int64_t completion_tokens() const { return totals_.completion_tokens; }
  const char* finish_label() const { return finish_label_; }  // for the log: how it ended
  const SessionMeter& meter() const { return meter_; }
  std::size_t held_bytes() const { return held_bytes_; }

 private:
  struct Choice {
    ChoiceStream stream;
    PredictionMatch prediction;
    openai::ChoiceDelta whole = {};  // not streaming: everything so far
    SessionMeter::Clock::time_point last_tokens{};
    bool has_begun = false;    // its first delta, which repeats the prompt if asked to, is out
    bool engine_done = false;  // the engine's last event of it has come
  };
  struct PromptRun {
    engine::RequestId id = 0;
    std::vector<TokenId> tokens;
    std::string echo;  // text to repeat
    bool has_open_echo = false;
    std::vector<engine::KeepPrefix> keeps;  // of the prompt, in the prefix cache
    std::vector<engine::TokenInfo> scores;  // prompt logprobs; entry i is of token i + 1
    std::vector<Choice> choices;
    engine::Usage usage;  // cached of the prompt; drafts summed over choices
    bool is_submitted = false;
  };

  std::int32_t tokens_max(const PromptRun& run) const;
  engine::Request make_engine_request(const PromptRun& run, const TokenIds& prediction) const;
  // What the choices of a request share.
  struct Shared {
    std::shared_ptr<const text::StopStrings> stops;
    std::shared_ptr<const Prediction> prediction;  // null: none
    ParserSetup parsing;
  };
  void make_choices(PromptRun& run, const Shared& shared);
  openai::MaybeError submit(const TokenIds& prediction);

  void begin(const engine::Event& event);
  void emit(PromptRun& run, std::int32_t index, openai::ChoiceDelta delta);
  openai::MaybeError keep(Choice& choice, openai::ChoiceDelta delta);
  openai::TextDelta echo_of(const PromptRun& run) const;
  std::vector<openai::TokenEntry> prompt_entries(const PromptRun& run) const;
  void end_choice(PromptRun& run, Choice& choice, const engine::Event& event);
  void count_unfinished(FinishLabel label);
  void fail(openai::ApiError error);
  void leave();
  void complete();
  openai::Answer make_answer();

  const ModelHost& host_;
  SessionHub& hub_;
  OutputSink& sink_;
  const std::shared_ptr<MemoryBudget::Lease> memory_;
  SessionMeter meter_;
  openai::GenerationRequest request_;
  std::string tenant_;
  std::optional<SessionMeter::Clock::time_point> client_deadline_;
  std::shared_ptr<const engine::ConstraintSource> constraint_;  // of every prompt's answers
  std::vector<PromptRun> runs_;                                 // in the order of the prompts; ids are consecutive
  std::int64_t choices_per_prompt_ = 1;                         // best_of or n
  std::size_t choices_left_ = 0;
  openai::AnswerUsage totals_;            // prompt and completion tokens so far
  std::size_t held_bytes_ = 0;            // of memory, the answer so far included
  std::size_t counted_bytes_ = 0;         // of them, known to the lease
  const char* finish_label_ = "refused";  // until it ends
  bool has_begun_ = false;                // the sink knows
  bool ended_ = false;
  bool is_background_ = false;
};

}  // namespace coppice::server
