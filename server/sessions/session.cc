// The second half of a session: the engine's events to pieces of text, to the end.
#include "server/sessions/session.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace coppice::server {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

bool has_content(const openai::ChoiceDelta& delta) {
  return !delta.text.empty() || !delta.tokens.empty() || !delta.token_ids.empty() || !delta.tool_calls.empty() ||
         delta.finish != openai::Finish::kNone;
}

template <typename T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

Session::Session(const ModelHost& host, SessionHub& hub, OutputSink& sink) : host_(host), hub_(hub), sink_(sink) {}

Session::~Session() {
  if (ended_) {
    return;
  }
  for (const PromptRun& run : runs_) {
    for (const ChoiceRun& choice : run.choices) {
      if (run.is_submitted) {
        count_finish(choice, FinishLabel::kAbort);
      }
    }
  }
  leave();
}

void Session::leave() {
  for (const PromptRun& run : runs_) {
    const bool is_done =
        std::all_of(run.choices.begin(), run.choices.end(), [](const ChoiceRun& choice) { return choice.engine_done; });
    if (run.is_submitted && !is_done) {
      host_.engine->cancel(run.id, -1);
    }
    hub_.forget(run.id);
  }
}

void Session::handle(engine::Event&& event) {
  if (ended_) {
    return;
  }
  PromptRun& run = runs_[event.request - runs_.front().id];
  ChoiceRun& choice = run.choices[static_cast<std::size_t>(event.choice)];
  if (!event.prompt.empty()) {
    run.scores = std::move(event.prompt);
  }
  if (choice.finish == openai::Finish::kNone) {
    take_tokens(run, event.choice, event);
    if (!choice.stream.stopped()) {
      if (openai::MaybeError error = unexpected_end(event)) {
        fail(std::move(*error));
        return;
      }
    }
    const bool is_last = event.finish != engine::FinishReason::kNone;
    if (is_last || choice.stream.stopped()) {
      end_text(run, event.choice, event);
    } else {
      emit(run, event.choice, choice.stream.take());
    }
    if (choice.stream.stopped() && !is_last) {
      host_.engine->cancel(run.id, event.choice);
    }
  }
  if (event.finish != engine::FinishReason::kNone) {
    end_choice(run, choice, event);
  }
}

void Session::take_tokens(PromptRun& run, std::int32_t index, engine::Event& event) {
  ChoiceRun& choice = run.choices[static_cast<std::size_t>(index)];
  if (event.tokens.empty() || request_.sampling.max_tokens == 0) {
    return;
  }
  observe_tokens(choice, event.tokens.size());
  for (std::size_t i = 0; i < event.tokens.size() && !choice.stream.stopped(); ++i) {
    const bool is_end = event.finish == engine::FinishReason::kStop && i + 1 == event.tokens.size();
    choice.stream.push(event.tokens[i], is_end);
    const std::vector<std::int64_t>& stops = request_.sampling.stop_token_ids;
    if (is_end && std::find(stops.begin(), stops.end(), event.tokens[i].token) != stops.end()) {
      choice.stop_token = event.tokens[i].token;
    }
  }
}

void Session::observe_tokens(ChoiceRun& choice, std::size_t count) {
  const Clock::time_point now = Clock::now();
  if (first_token_s_ == 0) {
    first_token_s_ = seconds_between(arrival_, now);
    host_.metrics->observe_first_token(first_token_s_);
  }
  if (choice.last_token != Clock::time_point()) {
    host_.metrics->observe_inter_token(seconds_between(choice.last_token, now), static_cast<std::int64_t>(count));
  }
  choice.last_token = now;
}

openai::MaybeError Session::unexpected_end(const engine::Event& event) const {
  switch (event.finish) {
    case engine::FinishReason::kCancelled:
      return openai::unavailable("cancelled", "the server is shutting down; the answer was cut off", 1);
    case engine::FinishReason::kDeadline:
      return openai::deadline_exceeded("the answer was not complete within the server's --request-timeout");
    case engine::FinishReason::kError:
      if (event.overloaded) {
        return openai::overloaded(event.error, 1);
      }
      return event.client_error ? openai::bad_value("", event.error) : openai::internal_error(event.error);
    default:
      return std::nullopt;
  }
}

void Session::end_text(PromptRun& run, std::int32_t index, const engine::Event& event) {
  ChoiceRun& choice = run.choices[static_cast<std::size_t>(index)];
  choice.stream.finish();
  openai::ChoiceDelta delta = choice.stream.take();
  const bool is_stop = choice.stream.stopped() || event.finish == engine::FinishReason::kStop;
  delta.finish = is_stop && request_.sampling.max_tokens != 0 ? openai::Finish::kStop : openai::Finish::kLength;
  choice.finish = delta.finish;
  if (choice.stream.stopped()) {
    delta.stop_reason = request_.stop[choice.stream.stop_index()];
  } else if (choice.stop_token) {
    delta.stop_reason = *choice.stop_token;
  }
  emit(run, index, std::move(delta));
}

void Session::emit(PromptRun& run, std::int32_t index, openai::ChoiceDelta delta) {
  ChoiceRun& choice = run.choices[static_cast<std::size_t>(index)];
  if (!has_content(delta)) {
    return;
  }
  delta.text = choice.tools.filter(delta.text);
  if (delta.finish != openai::Finish::kNone) {
    choice.tools.finish(delta);
  }
  if (request_.echo && !choice.has_begun) {
    delta.text.insert(0, run.echo);
    if (request_.top_logprobs) {
      std::vector<openai::TokenEntry> entries = prompt_entries(run);
      append(entries, std::move(delta.tokens));
      delta.tokens = std::move(entries);
    }
  }
  choice.has_begun = true;
  if (request_.stream) {
    const auto run_number = static_cast<std::int64_t>(run.id - runs_.front().id);
    delta.index = static_cast<std::int32_t>(run_number * request_.n + index);
    if (has_content(delta)) {
      sink_.on_delta(std::move(delta));
    }
    return;
  }
  choice.whole.text += delta.text;
  append(choice.whole.tokens, std::move(delta.tokens));
  append(choice.whole.token_ids, std::move(delta.token_ids));
  append(choice.whole.tool_calls, std::move(delta.tool_calls));
  choice.whole.finish = delta.finish;
  choice.whole.stop_reason = std::move(delta.stop_reason);
}

std::vector<openai::TokenEntry> Session::prompt_entries(const PromptRun& run) const {
  std::vector<openai::TokenEntry> entries;
  entries.reserve(run.tokens.size());
  text::DetokenizeOptions options;
  options.skip_special = request_.skip_special_tokens;
  text::Detokenizer detokenizer(*host_.tokenizer, options);
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < run.tokens.size(); ++i) {
    engine::TokenInfo info;
    info.token = run.tokens[i];
    const bool has_score = i > 0 && i - 1 < run.scores.size();
    entries.push_back(make_token_entry(*host_.tokenizer, has_score ? run.scores[i - 1] : info, offset));
    if (!has_score) {
      entries.back().logprob.reset();
    }
    offset += count_characters(detokenizer.push(run.tokens[i]));
  }
  return entries;
}

void Session::end_choice(PromptRun& run, ChoiceRun& choice, const engine::Event& event) {
  if (choice.engine_done) {
    return;
  }
  choice.engine_done = true;
  run.usage.cached_tokens = std::max(run.usage.cached_tokens, event.usage.cached_tokens);
  run.usage.accepted_prediction_tokens += event.usage.accepted_prediction_tokens;
  run.usage.rejected_prediction_tokens += event.usage.rejected_prediction_tokens;
  count_finish(choice, FinishLabel::kError);
  if (--choices_left_ == 0) {
    finish();
  }
}

void Session::count_finish(const ChoiceRun& choice, FinishLabel otherwise) const {
  const bool is_stop = choice.finish == openai::Finish::kStop;
  const FinishLabel label = is_stop                                    ? FinishLabel::kStop
                            : choice.finish == openai::Finish::kLength ? FinishLabel::kLength
                                                                       : otherwise;
  host_.metrics->count_finish(label);
}

void Session::fail(openai::ApiError error) {
  const FinishLabel label = error.status == 408   ? FinishLabel::kDeadline
                            : error.status == 503 ? FinishLabel::kAbort
                                                  : FinishLabel::kError;
  for (const PromptRun& run : runs_) {
    for (const ChoiceRun& choice : run.choices) {
      if (!choice.engine_done) {
        count_finish(choice, label);
      }
    }
  }
  finish_label_ = error.status == 408 ? "deadline" : error.status == 503 ? "abort" : "error";
  leave();
  ended_ = true;
  sink_.on_error(std::move(error));
}

void Session::abort(const openai::ApiError& error) {
  if (!ended_) {
    fail(error);
  }
}

void Session::finish() {
  finish_label_ = runs_.front().choices.front().finish == openai::Finish::kLength ? "length" : "stop";
  host_.metrics->observe_end(seconds_between(arrival_, Clock::now()));
  host_.metrics->observe_lengths(prompt_tokens(), completion_tokens());
  leave();
  ended_ = true;
  sink_.on_done(make_answer());
}

std::int64_t Session::prompt_tokens() const {
  return std::accumulate(runs_.begin(), runs_.end(), std::int64_t{0}, [](std::int64_t sum, const PromptRun& run) {
    return sum + static_cast<std::int64_t>(run.tokens.size());
  });
}

std::int64_t Session::completion_tokens() const {
  std::int64_t sum = 0;
  for (const PromptRun& run : runs_) {
    for (const ChoiceRun& choice : run.choices) {
      sum += choice.stream.token_count();
    }
  }
  return sum;
}

openai::Answer Session::make_answer() {
  openai::Answer answer;
  answer.choices_per_prompt = request_.n;
  answer.usage.prompt_tokens = prompt_tokens();
  answer.usage.completion_tokens = completion_tokens();
  for (PromptRun& run : runs_) {
    answer.usage.cached_tokens += run.usage.cached_tokens;
    answer.usage.accepted_prediction_tokens += run.usage.accepted_prediction_tokens;
    answer.usage.rejected_prediction_tokens += run.usage.rejected_prediction_tokens;
    if (request_.prompt_logprobs) {
      answer.prompt_scores.push_back(prompt_entries(run));
    }
    if (request_.stream) {
      continue;
    }
    if (choices_per_prompt_ > request_.n) {  // best_of: the likeliest first
      std::stable_sort(run.choices.begin(), run.choices.end(), [](const ChoiceRun& a, const ChoiceRun& b) {
        return a.stream.logprob_mean() > b.stream.logprob_mean();
      });
    }
    for (std::int64_t i = 0; i < request_.n; ++i) {
      openai::ChoiceDelta& whole = run.choices[static_cast<std::size_t>(i)].whole;
      whole.index = static_cast<std::int32_t>(answer.choices.size());
      answer.choices.push_back(std::move(whole));
    }
  }
  return answer;
}

}  // namespace coppice::server
