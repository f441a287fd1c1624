// ChoiceStream: one choice's engine events in, items out. Joins the streaming detokenizer, the stop strings and the
// output parser, and decides why the choice ends.
//
// A token's logprob entry leaves with the first certain character of its text, so that in a stream, as in a whole
// answer, tokens and text always agree.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>

#include "engine/events.h"
#include "proto/openai/answer.h"
#include "proto/openai/request.h"
#include "server/output/output_parser.h"
#include "text/output/stop_matcher.h"
#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// Owner: a session. Thread: its session's. The tokenizer and the request outlive it.
class ChoiceStream {
 public:
  // `detokenizer` has been fed the prompt, so that what follows continues it. `offset` is the number of characters of
  // the answer's text before the first token (an echoed prompt). `stops` are the request's, for all its choices.
  ChoiceStream(const text::Tokenizer& tokenizer, const openai::GenerationRequest& request,
               std::shared_ptr<const text::StopStrings> stops, text::Detokenizer detokenizer,
               std::unique_ptr<OutputParser> parser, std::int64_t offset);

  // Reads an event's tokens, up to a stop string. After the engine's stop or length, or a stop string, the choice has
  // ended. An event that ends otherwise leaves it open: the session says what happened. REQUIRES: !ended().
  void read(const engine::Event& event);

  // The Finish item has been made, maybe not yet taken.
  bool ended() const { return end_reason_.has_value(); }
  // By a stop string, or by an item after which no more is needed: the engine does not know of it.
  bool stopped_early() const { return is_stopped(); }
  // Why the engine or a stop string ended it. REQUIRES: ended().
  openai::FinishReason end_reason() const { return *end_reason_; }

  std::int64_t token_count() const { return token_count_; }
  // Tokens that began inside the model's reasoning, its marks included.
  std::int64_t reasoning_tokens() const { return thought_.tokens; }
  double logprob_mean() const { return token_count_ == 0 ? 0.0 : logprob_sum_ / static_cast<double>(token_count_); }

  // Moves out what has become certain since the last call. The index is left to the caller.
  openai::ChoiceDelta take();

 private:
  bool is_stopped() const { return stop_index_.has_value() || parser_->is_complete(); }
  void push(const engine::TokenInfo& token);
  void parse(bool all_tokens);
  void count_reasoning();
  bool is_watched(TokenId token) const;
  void end(openai::FinishReason reason, std::optional<TokenId> end_token);
  void add_text(std::string_view text);
  void add_hidden(std::string_view text);
  void match(std::string_view text);
  void give(std::string_view certain);
  void give_marks();
  void release_tokens(bool all);

  const text::Tokenizer& tokenizer_;
  const openai::GenerationRequest& request_;
  text::Detokenizer detokenizer_;
  text::StopStringMatcher stops_;
  std::unique_ptr<OutputParser> parser_;
  openai::ChoiceDelta ready_;
  openai::TextDelta certain_;            // not parsed yet
  std::deque<openai::TokenEntry> held_;  // tokens whose text may yet be part of a stop string
  std::int64_t characters_pushed_;       // of text out of the detokenizer
  std::int64_t characters_ready_;        // of text out of the stop matcher
  // The stop matcher also sees special tokens that give no text, where a stop string spells them.
  struct HiddenText {
    std::size_t begin = 0;  // bytes of what the matcher has seen before
    std::size_t end = 0;
  };
  std::deque<HiddenText> hidden_;  // not yet out of the matcher
  // Special tokens that the parser wants, at their place in what the matcher sees.
  struct Mark {
    std::size_t at = 0;
    Terminal terminal = Terminal::kCall;
  };
  std::deque<Mark> marks_;         // not parsed yet
  std::size_t bytes_matched_ = 0;  // into the matcher,
  std::size_t bytes_given_ = 0;    // and out of it
  std::optional<std::size_t> stop_index_;
  std::optional<openai::FinishReason> end_reason_;
  std::int64_t token_count_ = 0;
  // Places as OutputParser::Reasoning counts them.
  struct ReasoningCount {
    std::deque<std::int64_t> begins;  // of tokens that may be reasoning
    std::int64_t place = 0;           // behind the last token's text
    std::int64_t tokens = 0;
  };
  ReasoningCount thought_;
  double logprob_sum_ = 0;
};

}  // namespace coppice::server
