// Tokens to certain text, certain text to items.
#include "server/output/choice_stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/output/token_entry.h"

namespace coppice::server {

ChoiceStream::ChoiceStream(const text::Tokenizer& tokenizer, const openai::GenerationRequest& request,
                           std::shared_ptr<const text::StopStrings> stops, text::Detokenizer detokenizer,
                           std::unique_ptr<OutputParser> parser, std::int64_t offset)
    : tokenizer_(tokenizer),
      request_(request),
      detokenizer_(std::move(detokenizer)),
      stops_(std::move(stops), request.include_stop_str_in_output),
      parser_(std::move(parser)),
      characters_pushed_(offset),
      characters_ready_(offset) {}

void ChoiceStream::read(const engine::Event& event) {
  const bool is_stop = event.finish == engine::FinishReason::kStop;
  std::optional<TokenId> end_token;
  for (std::size_t i = 0; i < event.tokens.size() && !stopped_by_string(); ++i) {
    const engine::TokenInfo& token = event.tokens[i];
    ++token_count_;
    logprob_sum_ += token.logprob;
    if (request_.return_token_ids) {
      ready_.token_ids.push_back(token.token);
    }
    if (is_stop && i + 1 == event.tokens.size()) {
      end_token = token.token;
    } else {
      push(token);
    }
  }
  if (stopped_by_string() || is_stop) {
    end(openai::FinishReason::kStop, end_token);
  } else if (event.finish == engine::FinishReason::kLength) {
    end(openai::FinishReason::kLength, std::nullopt);
  }
}

void ChoiceStream::push(const engine::TokenInfo& token) {
  if (request_.top_logprobs) {
    held_.push_back(make_token_entry(tokenizer_, token, characters_pushed_));
  }
  openai::TextDelta text;
  add_text(detokenizer_.push(token.token), text);
  release_tokens(stops_.empty(), text);
  parser_->push(token.token, std::move(text), ready_.items);
}

void ChoiceStream::add_text(std::string_view text, openai::TextDelta& out) {
  characters_pushed_ += count_characters(text);
  text::StopMatch match = stops_.push(text);
  characters_ready_ += count_characters(match.text);
  out.text += match.text;
  stop_index_ = match.index;
}

void ChoiceStream::release_tokens(bool all, openai::TextDelta& out) {
  while (!held_.empty() && (all || held_.front().text_offset < characters_ready_)) {
    out.tokens.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

void ChoiceStream::end(openai::FinishReason reason, std::optional<TokenId> end_token) {
  openai::TextDelta rest;
  if (!stopped_by_string()) {
    add_text(detokenizer_.finish(), rest);  // may complete a stop string
    if (!stopped_by_string()) {
      const std::string held = stops_.finish();
      characters_ready_ += count_characters(held);
      rest.text += held;
    }
    release_tokens(!stopped_by_string(), rest);
  }
  openai::Finish finish;
  finish.reason = stopped_by_string() ? openai::FinishReason::kStop : reason;
  finish.end_token = end_token;
  const std::vector<std::int64_t>& stop_tokens = request_.sampling.stop_token_ids;
  if (stopped_by_string()) {
    finish.cause = request_.stop[*stop_index_];
  } else if (end_token && std::find(stop_tokens.begin(), stop_tokens.end(), *end_token) != stop_tokens.end()) {
    finish.cause = *end_token;
  }
  end_reason_ = finish.reason;
  parser_->end(std::move(rest), std::move(finish), ready_.items);
}

openai::ChoiceDelta ChoiceStream::take() {
  return std::exchange(ready_, {});
}

}  // namespace coppice::server
