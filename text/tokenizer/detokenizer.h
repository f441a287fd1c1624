// Token ids to text as they come, one at a time: what a stream sends to its client.
//
// The concatenation of everything push() and finish() return is Tokenizer::decode() of all ids,
// whatever the ids are; no piece ever ends inside a UTF-8 character.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

struct DetokenizeOptions {
  bool skip_special = true;
};

// Streaming decoder of one sequence. A value: owned by its session, used by one thread at a time;
// the tokenizer must outlive it. Copying forks the stream. push() costs O(bytes of the token),
// amortised.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, DetokenizeOptions options = {});

  // A decoder in the state that pushing all of `prompt` leaves, reached from the prompt's end: the cost does not grow
  // with the prompt (except for a prompt that ends in a long run of byte tokens).
  static Detokenizer after(const Tokenizer& tokenizer, DetokenizeOptions options, std::span<const TokenId> prompt);

  // The text that is now certain; may be empty (half a character, a byte-fallback run, a leading
  // space).
  std::string push(TokenId id);

  // What was held back, invalid bytes replaced. The Detokenizer is then as new.
  std::string finish();

 private:
  void flush_pending(std::string& out);
  void strip_start(std::string& text);

  const Tokenizer* tokenizer_;
  DetokenizeOptions options_;
  std::string pending_;          // not text yet: part of a character, or a run of byte tokens
  bool is_first_ = true;         // the next token is decoded as the first one
  std::int32_t strip_left_ = 0;  // units that may still be stripped from the start of the text
};

}  // namespace coppice::text
