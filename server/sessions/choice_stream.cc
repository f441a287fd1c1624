// Tokens to certain text. A token's logprobs leave together with the first certain character of its text, so that in a
// stream, as in a whole answer, tokens and text always agree.
#include "server/sessions/choice_stream.h"

#include <algorithm>
#include <utility>

namespace coppice::server {

std::int64_t count_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; });
}

openai::TokenEntry make_token_entry(const text::Tokenizer& tokenizer, const engine::TokenInfo& info,
                                    std::int64_t text_offset) {
  openai::TokenEntry entry;
  entry.token = info.token;
  entry.logprob = info.logprob;
  entry.bytes = tokenizer.token_bytes(info.token);
  entry.text_offset = text_offset;
  entry.top.reserve(info.top.size());
  for (const engine::TokenLogprob& top : info.top) {
    entry.top.push_back({top.token, top.logprob, tokenizer.token_bytes(top.token)});
  }
  return entry;
}

ChoiceStream::ChoiceStream(const text::Tokenizer& tokenizer, text::Detokenizer detokenizer,
                           text::StopStringMatcher stops, const ChoiceOptions& options, std::int64_t offset)
    : tokenizer_(&tokenizer),
      detokenizer_(std::move(detokenizer)),
      stops_(std::move(stops)),
      options_(options),
      characters_pushed_(offset),
      characters_ready_(offset) {}

void ChoiceStream::push(const engine::TokenInfo& token, bool is_end) {
  ++token_count_;
  logprob_sum_ += token.logprob;
  if (options_.token_ids) {
    ready_.token_ids.push_back(token.token);
  }
  if (is_end) {
    return;
  }
  if (options_.logprobs) {
    held_.push_back(make_token_entry(*tokenizer_, token, characters_pushed_));
  }
  add_text(detokenizer_.push(token.token));
  release_tokens(stops_.empty());
}

void ChoiceStream::add_text(std::string_view text) {
  characters_pushed_ += count_characters(text);
  text::StopMatch match = stops_.push(text);
  characters_ready_ += count_characters(match.text);
  ready_.text += match.text;
  stop_index_ = match.index;
}

void ChoiceStream::release_tokens(bool all) {
  while (!held_.empty() && (all || held_.front().text_offset < characters_ready_)) {
    ready_.tokens.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

void ChoiceStream::finish() {
  if (stopped()) {
    return;
  }
  add_text(detokenizer_.finish());
  if (!stopped()) {
    const std::string rest = stops_.finish();
    characters_ready_ += count_characters(rest);
    ready_.text += rest;
  }
  release_tokens(!stopped());
}

openai::ChoiceDelta ChoiceStream::take() {
  return std::exchange(ready_, {});
}

}  // namespace coppice::server
