// Session: one request from validation to its last event, whatever door it came through. Tokenises, submits to the
// engine, turns events into text, stops, counts, and hands pieces to a sink. Its destructor cancels.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/events.h"
#include "engine/request.h"
#include "proto/openai/answer.h"
#include "proto/openai/request.h"
#include "server/model/model_host.h"
#include "server/sessions/choice_stream.h"
#include "server/sessions/session_hub.h"
#include "server/sessions/tool_calls.h"

namespace coppice::server {

// Where a session's output goes. All calls come on the session's thread, from inside SessionHub::dispatch(), and must
// neither block nor destroy the session. After on_done or on_error nothing but one on_flush comes.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void on_delta(openai::ChoiceDelta delta) = 0;  // streaming requests only
  // The end. Streaming: `choices` is empty, the deltas have said it all.
  virtual void on_done(openai::Answer answer) = 0;
  virtual void on_error(openai::ApiError error) = 0;
  virtual void on_flush() = 0;  // after the last call of one dispatch: send what there is
};

// Owner: the door's request object. Thread: its hub's. The host, the hub and the sink outlive it.
class Session {
 public:
  Session(const ModelHost& host, SessionHub& hub, OutputSink& sink);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Tokenises, checks lengths, submits. REQUIRES: `request` passed openai::validate(); called once. `tenant` is the API
  // key's name or "". ERRORS: 400, 404 (model), 429; then the sink is not called at all.
  openai::MaybeError start(openai::GenerationRequest request, const std::string& tenant);

  // From the hub.
  void handle(engine::Event&& event);
  void flush() { sink_.on_flush(); }
  void abort(const openai::ApiError& error);

  bool ended() const { return ended_; }
  std::int64_t prompt_tokens() const;
  std::int64_t completion_tokens() const;
  const char* finish_label() const { return finish_label_; }  // for the log: how it ended
  double first_token_s() const { return first_token_s_; }     // after arrival; 0: none came

 private:
  struct ChoiceRun {
    ChoiceStream stream;
    ToolCallScanner tools = {};
    openai::ChoiceDelta whole = {};  // not streaming: everything so far
    openai::Finish finish = openai::Finish::kNone;
    std::optional<TokenId> stop_token = std::nullopt;  // of the request, not the model's own end
    std::chrono::steady_clock::time_point last_token{};
    bool has_begun = false;    // its first delta, which repeats the prompt if asked to, is out
    bool engine_done = false;  // the engine's last event of it has come
  };
  struct PromptRun {
    engine::RequestId id = 0;
    std::vector<TokenId> tokens;
    std::string echo;                       // text to repeat
    std::vector<engine::TokenInfo> scores;  // prompt logprobs; entry i is of token i + 1
    std::vector<ChoiceRun> choices;
    engine::Usage usage;  // prompt and cached of the prompt; predictions summed over choices
    bool is_submitted = false;
  };

  openai::MaybeError tokenize_prompts();
  openai::MaybeError check_lengths();
  openai::Result<std::vector<TokenId>> tokenize(const openai::Prompt& prompt) const;
  std::int32_t tokens_max(const PromptRun& run) const;
  engine::Request make_engine_request(const PromptRun& run) const;
  void make_choices(PromptRun& run);
  openai::MaybeError submit();

  void take_tokens(PromptRun& run, std::int32_t index, engine::Event& event);
  void observe_tokens(ChoiceRun& choice, std::size_t count);
  openai::MaybeError unexpected_end(const engine::Event& event) const;
  void end_text(PromptRun& run, std::int32_t index, const engine::Event& event);
  void end_choice(PromptRun& run, ChoiceRun& choice, const engine::Event& event);
  void emit(PromptRun& run, std::int32_t index, openai::ChoiceDelta delta);
  std::vector<openai::TokenEntry> prompt_entries(const PromptRun& run) const;
  void fail(openai::ApiError error);
  void leave();
  void finish();
  openai::Answer make_answer();
  void count_finish(const ChoiceRun& choice, FinishLabel otherwise) const;

  const ModelHost& host_;
  SessionHub& hub_;
  OutputSink& sink_;
  openai::GenerationRequest request_;
  std::string tenant_;
  std::vector<PromptRun> runs_;  // in the order of the prompts; ids are consecutive
  std::chrono::steady_clock::time_point arrival_;
  std::int64_t choices_per_prompt_ = 1;  // best_of or n
  std::size_t choices_left_ = 0;
  double first_token_s_ = 0;
  const char* finish_label_ = "refused";  // until it ends
  bool ended_ = false;
};

}  // namespace coppice::server
