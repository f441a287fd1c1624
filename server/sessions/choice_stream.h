// ChoiceStream: one choice's tokens in, certain text out. Joins the streaming detokenizer, the stop strings and the
// bookkeeping of offsets and logprobs; knows nothing of doors or engines' queues.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "engine/events.h"
#include "proto/openai/answer.h"
#include "text/output/stop_matcher.h"
#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

struct ChoiceOptions {
  bool logprobs = false;   // fill ChoiceDelta::tokens
  bool token_ids = false;  // fill ChoiceDelta::token_ids
};

// A logprob entry of `info`, its bytes looked up.
openai::TokenEntry make_token_entry(const text::Tokenizer& tokenizer, const engine::TokenInfo& info,
                                    std::int64_t text_offset);

// Unicode characters in valid UTF-8.
std::int64_t count_characters(std::string_view utf8);

// Owner: a session; its thread.
class ChoiceStream {
 public:
  // `detokenizer` has been fed the prompt, so that what follows continues it. `offset` is the number of characters of
  // the answer's text before the first token (an echoed prompt).
  ChoiceStream(const text::Tokenizer& tokenizer, text::Detokenizer detokenizer, text::StopStringMatcher stops,
               const ChoiceOptions& options, std::int64_t offset);

  // REQUIRES: not stopped(). `is_end`: the token ends the choice and has no text.
  void push(const engine::TokenInfo& token, bool is_end);

  // No more tokens will come: lets go of what was held back. May find a stop string in it.
  void finish();

  // A stop string was found; nothing after it is text.
  bool stopped() const { return stop_index_.has_value(); }
  std::size_t stop_index() const { return *stop_index_; }

  std::int64_t token_count() const { return token_count_; }
  double logprob_mean() const { return token_count_ == 0 ? 0.0 : logprob_sum_ / static_cast<double>(token_count_); }

  // Moves out what has become certain since the last call: text, tokens, token_ids.
  openai::ChoiceDelta take();

 private:
  void add_text(std::string_view text);
  void release_tokens(bool all);

  const text::Tokenizer* tokenizer_;
  text::Detokenizer detokenizer_;
  text::StopStringMatcher stops_;
  ChoiceOptions options_;
  openai::ChoiceDelta ready_;
  std::deque<openai::TokenEntry> held_;  // tokens whose text may yet be part of a stop string
  std::int64_t characters_pushed_;       // of text out of the detokenizer
  std::int64_t characters_ready_;        // of text out of the stop matcher
  std::optional<std::size_t> stop_index_;
  std::int64_t token_count_ = 0;
  double logprob_sum_ = 0;
};

}  // namespace coppice::server
