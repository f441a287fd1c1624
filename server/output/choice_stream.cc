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
  for (std::size_t i = 0; i < event.tokens.size() && !is_stopped(); ++i) {
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
  if (is_stopped() || is_stop) {
    end(openai::FinishReason::kStop, end_token);
  } else if (event.finish == engine::FinishReason::kLength) {
    end(openai::FinishReason::kLength, std::nullopt);
  }
}

void ChoiceStream::push(const engine::TokenInfo& token) {
  if (request_.top_logprobs) {
    held_.push_back(make_token_entry(tokenizer_, token, characters_pushed_));
  }
  if (!parser_->reasoning().is_over) {
    thought_.begins.push_back(thought_.place);
  }
  add_text(detokenizer_.push(token.token));
  if (!stop_index_ && is_watched(token.token)) {
    add_hidden(tokenizer_.piece(token.token));
  }
  if (const std::optional<Terminal> mark = parser_->mark_of(token.token); mark && !stop_index_) {
    marks_.push_back({bytes_matched_, *mark});
    ++thought_.place;
    give_marks();
  }
  parse(stops_.empty());
  count_reasoning();
}

// Hands what is certain to the parser.
void ChoiceStream::parse(bool all_tokens) {
  release_tokens(all_tokens);
  parser_->push(std::exchange(certain_, {}), ready_.items);
}

void ChoiceStream::count_reasoning() {
  const OutputParser::Reasoning reasoning = parser_->reasoning();
  while (!thought_.begins.empty() && thought_.begins.front() < reasoning.end) {
    thought_.begins.pop_front();
    ++thought_.tokens;
  }
  if (reasoning.is_over) {
    thought_.begins.clear();
  }
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

void ChoiceStream::add_text(std::string_view text) {
  characters_pushed_ += count_characters(text);
  thought_.place += static_cast<std::int64_t>(text.size());
  match(text);
}

void ChoiceStream::add_hidden(std::string_view text) {
  hidden_.push_back({bytes_matched_, bytes_matched_ + text.size()});
  match(text);
}

void ChoiceStream::match(std::string_view text) {
  bytes_matched_ += text.size();
  const text::StopMatch found = stops_.push(text);
  give(found.text);
  stop_index_ = found.index;
}

// Adds what has come out of the matcher, except hidden text.
void ChoiceStream::give(std::string_view certain) {
  while (!certain.empty()) {
    give_marks();
    const bool in_hidden = !hidden_.empty() && hidden_.front().begin <= bytes_given_;
    std::size_t end = hidden_.empty() ? std::string_view::npos
                      : in_hidden     ? hidden_.front().end
                                      : hidden_.front().begin;
    end = marks_.empty() ? end : std::min(end, marks_.front().at);
    const std::string_view part = certain.substr(0, end - bytes_given_);
    if (!in_hidden) {
      characters_ready_ += count_characters(part);
      certain_.text += part;
    }
    bytes_given_ += part.size();
    certain.remove_prefix(part.size());
    if (in_hidden && bytes_given_ == hidden_.front().end) {
      hidden_.pop_front();
    }
  }
  give_marks();
}

// Hands over the marks whose place has been reached, behind what comes before them.
void ChoiceStream::give_marks() {
  while (!marks_.empty() && marks_.front().at <= bytes_given_) {
    parse(/*all_tokens=*/false);
    parser_->push_mark(marks_.front().terminal, ready_.items);
    marks_.pop_front();
  }
}

void ChoiceStream::release_tokens(bool all) {
  while (!held_.empty() && (all || held_.front().text_offset < characters_ready_)) {
    certain_.tokens.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

void ChoiceStream::end(openai::FinishReason reason, std::optional<TokenId> end_token) {
  if (!is_stopped()) {
    add_text(detokenizer_.finish());  // may complete a stop string
    if (!stop_index_) {
      give(stops_.finish());
    }
    release_tokens(!stop_index_);
  }
  openai::Finish finish;
  finish.reason = is_stopped() ? openai::FinishReason::kStop : reason;
  finish.end_token = end_token;
  const std::vector<std::int64_t>& stop_tokens = request_.sampling.stop_token_ids;
  if (stop_index_) {
    finish.cause = request_.stop[*stop_index_];
  } else if (end_token && std::find(stop_tokens.begin(), stop_tokens.end(), *end_token) != stop_tokens.end()) {
    finish.cause = *end_token;
  }
  end_reason_ = finish.reason;
  parser_->end(std::exchange(certain_, {}), std::move(finish), ready_.items);
  count_reasoning();
}

openai::ChoiceDelta ChoiceStream::take() {
  return std::exchange(ready_, {});
}

}  // namespace coppice::server
