// Token ids to text as they come, one at a time: what a stream sends to its client.
//
// The concatenation of everything push() and finish() return is Tokenizer::decode() of all ids,
// whatever the ids are; no piece ever ends inside a UTF-8 character.
#pragma once

#include <cstdint>
#include <string>

#include "models/text/tokenizer.h"

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

  // The text that is now certain; may be empty (half a character, a byte-fallback run, a leading
  // space).
  std::string push(TokenId id);

  // What was held back, invalid bytes replaced. The Detokenizer is then as new.
  std::string finish();

 private:
  void append_text(std::string_view bytes, bool is_special, std::string& out);
  void flush_run(std::string& out);
  void drain_run(std::string& out);

  const Tokenizer* tokenizer_;
  DetokenizeOptions options_;
  std::string pending_;  // bytes that are not text yet: part of a character or a byte-fallback run
  std::int32_t strip_left_ = 0;  // units that may still be stripped from the start
};

}  // namespace coppice::text
