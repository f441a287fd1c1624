// Decodes a stream of token ids, one at a time.
//
// ENSURES: the concatenation of what push() and finish() return equals Tokenizer::decode() of all ids, for any ids;
// each returned text is valid UTF-8.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

struct DetokenizeOptions {
  bool skip_special = true;
};

// Streaming decoder of one sequence. Copying forks the stream. push() costs amortised O(bytes of the token).
// Owner: its session; the tokenizer must outlive it. Thread: one at a time.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, DetokenizeOptions options = {});

  // Returns a decoder in the state after pushing all of `prompt`. Reads only the prompt's end, so the cost does not
  // grow with the prompt, unless it ends in a long run of byte tokens.
  static Detokenizer after(const Tokenizer& tokenizer, DetokenizeOptions options, std::span<const TokenId> prompt);

  // Returns the text that is now certain. It is empty while a character or a byte-fallback run is not complete, and for
  // a leading space that is dropped.
  std::string push(TokenId id);

  // The bytes held back so far are not of the text from here on: a prompt's. A character that they begin and later
  // tokens complete is still given out; otherwise they give nothing, no U+FFFD either.
  void disown_pending() { disowned_ = pending_.size(); }

  // Returns the held-back text, invalid bytes replaced by U+FFFD, and resets the decoder.
  std::string finish();

 private:
  void flush_pending(std::string& out);
  void strip_start(std::string& text);

  const Tokenizer* tokenizer_;
  DetokenizeOptions options_;
  std::string pending_;          // held-back bytes: part of a character, or a run of byte tokens
  std::size_t disowned_ = 0;     // of them, at the front: given out only as part of a longer character
  bool is_first_ = true;         // the next token is decoded as a first one
  std::int32_t strip_left_ = 0;  // strip_units that may still be removed from the start of the text
};

}  // namespace coppice::text
