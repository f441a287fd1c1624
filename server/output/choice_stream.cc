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
  if (!stopped_by_string() && is_watched(token.token)) {
    add_hidden(tokenizer_.piece(token.token), text);
  }
  release_tokens(stops_.empty(), text);
  parser_->push(token.token, std::move(text), ready_.items);
}

// Whether a token gives no text, and a stop string spells it.
bool ChoiceStream::is_watched(TokenId token) const {
  if (stops_.empty() || !request_.skip_special_tokens || !tokenizer_.is_special(token)) {
    return false;
  }
  const std::string piece = tokenizer_.piece(token);
  return !piece.empty() && std::any_of(request_.stop.begin(), request_.stop.end(), [&piece](const std::string& stop) {
    return stop.find(piece) != std::string::npos;
  });
}

void ChoiceStream::add_text(std::string_view text, openai::TextDelta& out) {
  characters_pushed_ += count_characters(text);
  match(text, out);
}

void ChoiceStream::add_hidden(std::string_view text, openai::TextDelta& out) {
  hidden_.push_back({bytes_matched_, bytes_matched_ + text.size()});
  match(text, out);
}

void ChoiceStream::match(std::string_view text, openai::TextDelta& out) {
  bytes_matched_ += text.size();
  const text::StopMatch found = stops_.push(text);
  give(found.text, out);
  stop_index_ = found.index;
}

// Adds what has come out of the matcher, except hidden text.
void ChoiceStream::give(std::string_view certain, openai::TextDelta& out) {
  while (!certain.empty()) {
    const bool in_hidden = !hidden_.empty() && hidden_.front().begin <= bytes_given_;
    const std::size_t end = hidden_.empty() ? std::string_view::npos
                            : in_hidden     ? hidden_.front().end
                                            : hidden_.front().begin;
    const std::string_view part = certain.substr(0, end - bytes_given_);
    if (!in_hidden) {
      characters_ready_ += count_characters(part);
      out.text += part;
    }
    bytes_given_ += part.size();
    certain.remove_prefix(part.size());
    if (in_hidden && bytes_given_ == hidden_.front().end) {
      hidden_.pop_front();
    }
  }
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
      give(stops_.finish(), rest);
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
