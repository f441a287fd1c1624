// The second half of a session: the engine's events to items, to the end.
#include "server/sessions/session.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <type_traits>
#include <utility>
#include <variant>

#include "server/output/token_entry.h"
#include "server/sessions/event_error.h"

namespace coppice::server {
namespace {

constexpr std::size_t kCountedAtOnce = std::size_t{64} << 10U;  // bytes of an answer between two looks at the budget
constexpr std::size_t kEntryCopies = 3;  // of an answer's logprobs at its peak: entries, JSON, socket

std::size_t memory_of(const std::vector<openai::TokenEntry>& entries) {
  std::size_t bytes = 0;
  for (const openai::TokenEntry& entry : entries) {
    bytes += (sizeof(entry) + entry.top.size() * sizeof(entry.top[0])) * kEntryCopies;
  }
  return bytes;
}

std::size_t memory_of(const openai::ChoiceDelta& delta) {
  std::size_t bytes = delta.token_ids.size() * sizeof(TokenId);
  for (const openai::OutputItem& item : delta.items) {
    bytes += std::visit(
        [](const auto& piece) -> std::size_t {
          using Piece = std::decay_t<decltype(piece)>;
          if constexpr (std::is_same_v<Piece, openai::Finish>) {
            return 0;
          } else if constexpr (std::is_same_v<Piece, openai::ToolCallBegin>) {
            return sizeof(piece) + piece.id.size() + piece.name.size() + memory_of(piece.tokens);
          } else {
            return piece.text.size() + memory_of(piece.tokens);
          }
        },
        item);
  }
  return bytes;
}

FinishLabel label_of(const ChoiceStream& stream, FinishLabel unfinished) {
  if (!stream.ended()) {
    return unfinished;
  }
  return stream.end_reason() == openai::FinishReason::kLength ? FinishLabel::kLength : FinishLabel::kStop;
}

void append_items(std::vector<openai::OutputItem>& to, std::vector<openai::OutputItem>&& from) {
  for (openai::OutputItem& item : from) {
    append_item(to, std::move(item));
  }
}

}  // namespace

Session::Session(const ModelHost& host, SessionHub& hub, OutputSink& sink, std::shared_ptr<MemoryBudget::Lease> memory,
                 SessionMeter::Clock::time_point arrival)
    : host_(host), hub_(hub), sink_(sink), memory_(std::move(memory)), meter_(*host.metrics, arrival) {}

Session::~Session() {
  if (!ended_) {
    count_unfinished(FinishLabel::kAbort);
    leave();
  }
}

void Session::count_unfinished(FinishLabel label) {
  for (const PromptRun& run : runs_) {
    for (const Choice& choice : run.choices) {
      if (run.is_submitted && !choice.engine_done) {
        meter_.count_finish(label_of(choice.stream, label));
      }
    }
  }
}

void Session::leave() {
  for (const PromptRun& run : runs_) {
    const bool is_done =
        std::all_of(run.choices.begin(), run.choices.end(), [](const Choice& choice) { return choice.engine_done; });
    if (run.is_submitted && !is_done) {
      host_.engine->cancel(run.id, -1);
    }
    hub_.forget(run.id);
  }
}

std::size_t Session::handle(engine::Event&& event) {
  if (ended_) {
    return 1;
  }
  PromptRun& run = runs_[event.request - runs_.front().id];
  Choice& choice = run.choices[static_cast<std::size_t>(event.choice)];
  const bool is_last = event.finish != engine::FinishReason::kNone;
  const bool had_begun = choice.has_begun;
  meter_.mark_event(event.queued_ns);
  std::size_t entries = 1 + event.tokens.size() + event.prompt.size();
  if (!event.prompt.empty()) {
    run.scores = std::move(event.prompt);
  }
  if (!choice.stream.ended()) {
    meter_.observe_tokens(event.tokens.size(), choice.last_tokens);
    const std::int64_t before = choice.stream.token_count();
    choice.stream.read(event);
    const std::int64_t read = choice.stream.token_count() - before;
    totals_.completion_tokens += read;
    for (std::int64_t i = 0; i < read; ++i) {
      choice.prediction.push(event.tokens[static_cast<std::size_t>(i)].token);
    }
    if (!choice.stream.ended()) {
      if (openai::MaybeError error = error_of(event)) {
        fail(std::move(*error));
        return entries;
      }
    }
    begin(event);
    emit(run, event.choice, choice.stream.take());
    entries += request_.echo && !had_begun ? run.tokens.size() : 0;
    if (choice.stream.stopped_early() && !is_last) {
      host_.engine->cancel(run.id, event.choice);
    }
  }
  if (is_last && !ended_) {
    end_choice(run, choice, event);
    entries += ended_ && request_.prompt_logprobs ? static_cast<std::size_t>(prompt_tokens()) : 0;
  }
  return entries;
}

void Session::begin(const engine::Event& event) {
  if (!has_begun_) {
    has_begun_ = true;
    openai::AnswerUsage known;
    known.prompt_tokens = prompt_tokens();
    known.cached_tokens = event.usage.cached_tokens;
    sink_.on_begin(known);
  }
}

void Session::emit(PromptRun& run, std::int32_t index, openai::ChoiceDelta delta) {
  Choice& choice = run.choices[static_cast<std::size_t>(index)];
  if (delta.empty()) {
    return;
  }
  if (request_.echo && !choice.has_begun) {
    std::vector<openai::OutputItem> items;
    append_item(items, echo_of(run));
    append_items(items, std::exchange(delta.items, {}));
    delta.items = std::move(items);
  }
  choice.has_begun = true;
  if (request_.stream) {
    const auto run_number = static_cast<std::int64_t>(run.id - runs_.front().id);
    delta.index = static_cast<std::int32_t>(run_number * request_.n + index);
    delta.so_far = totals_;
    sink_.on_delta(std::move(delta));
    return;
  }
  if (openai::MaybeError error = keep(choice, std::move(delta))) {
    fail(std::move(*error));
  }
}

// Adds `delta` to the answer that is sent at the end. ERRORS: as Lease::set.
openai::MaybeError Session::keep(Choice& choice, openai::ChoiceDelta delta) {
  held_bytes_ += memory_of(delta);
  append_items(choice.whole.items, std::move(delta.items));
  choice.whole.token_ids.insert(choice.whole.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
  if (memory_ == nullptr || held_bytes_ < counted_bytes_ + kCountedAtOnce) {
    return std::nullopt;
  }
  counted_bytes_ = held_bytes_;
  return memory_->set(MemoryPart::kWork, held_bytes_);
}

openai::TextDelta Session::echo_of(const PromptRun& run) const {
  openai::TextDelta echo;
  echo.text = run.echo;
  if (request_.top_logprobs) {
    echo.tokens = prompt_entries(run);
  }
  return echo;
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

void Session::end_choice(PromptRun& run, Choice& choice, const engine::Event& event) {
  if (choice.engine_done) {
    return;
  }
  choice.engine_done = true;
  run.usage.cached_tokens = std::max(run.usage.cached_tokens, event.usage.cached_tokens);
  run.usage.cache_write_tokens += event.usage.cache_write_tokens;
  run.usage.drafted_tokens += event.usage.drafted_tokens;
  run.usage.accepted_tokens += event.usage.accepted_tokens;
  meter_.count_finish(label_of(choice.stream, FinishLabel::kError));
  if (--choices_left_ == 0) {
    complete();
  }
}

void Session::fail(openai::ApiError error) {
  const bool is_deadline = error.status == openai::kTimeoutStatus;
  const bool is_abort = error.status == openai::kUnavailableStatus;
  count_unfinished(is_deadline ? FinishLabel::kDeadline : is_abort ? FinishLabel::kAbort : FinishLabel::kError);
  finish_label_ = is_deadline ? "deadline" : is_abort ? "abort" : "error";
  leave();
  ended_ = true;
  sink_.on_error(std::move(error));
}

void Session::abort(const openai::ApiError& error) {
  if (!ended_) {
    fail(error);
  }
}

void Session::complete() {
  const ChoiceStream& first = runs_.front().choices.front().stream;
  finish_label_ = first.end_reason() == openai::FinishReason::kLength ? "length" : "stop";
  meter_.observe_end({.prompt_tokens = prompt_tokens(),
                      .completion_tokens = completion_tokens(),
                      .choices = request_.n,
                      .tokens_max = tokens_max(runs_.front())});
  leave();
  ended_ = true;
  sink_.on_done(make_answer());
}

openai::Answer Session::make_answer() {
  openai::Answer answer;
  answer.choices_per_prompt = request_.n;
  answer.usage = totals_;
  for (PromptRun& run : runs_) {
    answer.usage.cached_tokens += run.usage.cached_tokens;
    answer.usage.cache_write_tokens += run.usage.cache_write_tokens;
    const std::int32_t kept = run.keeps.empty() ? 0 : run.keeps.back().tokens;
    const std::int32_t in_pages = kept - kept % std::max(1, host_.engine_limits.page_size);
    answer.usage.kept_write_tokens += std::clamp(in_pages - run.usage.cached_tokens, 0, run.usage.cache_write_tokens);
    answer.speculation.drafted_tokens += run.usage.drafted_tokens;
    answer.speculation.accepted_tokens += run.usage.accepted_tokens;
    for (const Choice& choice : run.choices) {
      answer.usage.reasoning_tokens += choice.stream.reasoning_tokens();
      answer.usage.accepted_prediction_tokens += choice.prediction.accepted();
      answer.usage.rejected_prediction_tokens += choice.prediction.rejected();
    }
    if (request_.prompt_logprobs) {
      answer.prompt_scores.push_back(prompt_entries(run));
    }
    if (request_.stream) {
      continue;
    }
    std::vector<Choice*> ranked;
    std::transform(run.choices.begin(), run.choices.end(), std::back_inserter(ranked),
                   [](Choice& choice) { return &choice; });
    if (choices_per_prompt_ > request_.n) {  // best_of: the likeliest first
      std::stable_sort(ranked.begin(), ranked.end(), [](const Choice* a, const Choice* b) {
        return a->stream.logprob_mean() > b->stream.logprob_mean();
      });
    }
    for (std::int64_t i = 0; i < request_.n; ++i) {
      openai::ChoiceDelta& whole = ranked[static_cast<std::size_t>(i)]->whole;
      whole.index = static_cast<std::int32_t>(answer.choices.size());
      answer.choices.push_back(std::move(whole));
    }
  }
  return answer;
}

}  // namespace coppice::server
