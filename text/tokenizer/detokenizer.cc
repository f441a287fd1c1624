// Streaming decoding. Token texts are bytes. Only bytes whose text a later token can change are held back:
//   kMaximalSubpart  the bytes of an incomplete character (at most 3)
//   kEachByte        the same, within a run of byte tokens
//   kWholeRun        a whole run of byte tokens, because one invalid byte replaces all of it
#include "text/tokenizer/detokenizer.h"

#include <algorithm>

#include "text/utf8.h"

namespace coppice::text {
namespace {

// Tokens that after() starts from. Enough for kSettledBytes of text unless most are special or byte tokens.
constexpr std::size_t kTailTokens = 16;
// Bytes of text. One token byte gives at most 3 bytes (U+FFFD), so 12 come from at least 4 token bytes: one more than
// an incomplete character has.
constexpr std::size_t kSettledBytes = 12;

// Moves the certain part of `pending` to `out`: characters, and a replacement for each invalid byte or maximal subpart;
// nothing for what lies in the first `disowned` bytes. An incomplete character at the end stays, unless this is the end
// of the text.
void drain(std::string& pending, std::size_t& disowned, bool per_byte, bool at_end, std::string& out) {
  std::size_t at = 0;
  while (at < pending.size()) {
    const Utf8Step step = utf8_step(pending, at);
    if (step.cut_short && !at_end) {
      break;
    }
    const std::size_t length = step.valid || !per_byte ? step.length : 1;
    if (at + length > disowned) {
      out += step.valid ? std::string_view(pending).substr(at, length) : kReplacementCharacter;
    }
    at += length;
  }
  pending.erase(0, at);
  disowned -= std::min(disowned, at);
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DetokenizeOptions options)
    : tokenizer_(&tokenizer), options_(options), strip_left_(tokenizer.decode_rules().strip_count) {}

// The state after a token depends on few bytes before it: where the last character or run of byte tokens began, whether
// text has begun, and how much may still be stripped from its start. All three are independent of the starting token
// once the pushed tokens have given kSettledBytes of text and nothing can be stripped.
Detokenizer Detokenizer::after(const Tokenizer& tokenizer, DetokenizeOptions options, std::span<const TokenId> prompt) {
  for (std::size_t count = std::min(kTailTokens, prompt.size());; count = std::min(2 * count, prompt.size())) {
    Detokenizer decoder(tokenizer, options);
    std::size_t bytes = 0;
    for (const TokenId id : prompt.last(count)) {
      bytes += decoder.push(id).size();
    }
    const bool is_settled = bytes >= kSettledBytes && decoder.strip_left_ == 0;
    if (is_settled || count == prompt.size()) {
      return decoder;
    }
  }
}

std::string Detokenizer::push(TokenId id) {
  std::string out;
  const DecodeRules& rules = tokenizer_->decode_rules();
  const TokenText token = tokenizer_->token_text(id, is_first_);
  if (token.form == TokenForm::kAbsent || (token.is_special && options_.skip_special)) {
    return out;
  }
  const bool holds_runs = rules.invalid_bytes != InvalidBytes::kMaximalSubpart;
  if (token.form == TokenForm::kByte) {
    pending_ += token.bytes;
    if (rules.invalid_bytes == InvalidBytes::kEachByte) {
      drain(pending_, disowned_, true, false, out);
    }
  } else {
    if (holds_runs) {
      flush_pending(out);
      out += token.bytes;
    } else {
      pending_ += token.bytes;
      drain(pending_, disowned_, false, false, out);
    }
  }
  if (!rules.first_until_text || !token.bytes.empty()) {
    is_first_ = false;
  }
  if (token.next_is_first) {
    is_first_ = true;
  }
  strip_start(out);
  return out;
}

std::string Detokenizer::finish() {
  std::string out;
  flush_pending(out);
  strip_start(out);
  is_first_ = true;
  strip_left_ = tokenizer_->decode_rules().strip_count;
  return out;
}

// Ends a run of byte tokens or an incomplete character.
void Detokenizer::flush_pending(std::string& out) {
  const InvalidBytes rule = tokenizer_->decode_rules().invalid_bytes;
  if (rule != InvalidBytes::kWholeRun) {
    drain(pending_, disowned_, rule == InvalidBytes::kEachByte, true, out);
    return;
  }
  if (is_valid_utf8(pending_)) {
    drain(pending_, disowned_, true, true, out);
    return;
  }
  for (std::size_t index = disowned_; index < pending_.size(); ++index) {
    out += kReplacementCharacter;
  }
  pending_.clear();
  disowned_ = 0;
}

void Detokenizer::strip_start(std::string& text) {
  const std::string& unit = tokenizer_->decode_rules().strip_unit;
  std::size_t stripped = 0;
  while (strip_left_ > 0 && stripped < text.size()) {
    if (!std::string_view(text).substr(stripped).starts_with(unit)) {
      strip_left_ = 0;
      break;
    }
    stripped += unit.size();
    --strip_left_;
  }
  text.erase(0, stripped);
}

}  // namespace coppice::text
