// Fuzz target: sentencepiece models. The input is read as a whole model, and as the charsmap of one that is sound. What
// is accepted must encode and decode: the library underneath checks little of what it is given.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/tokenizer/charsmap_check.h"
#include "text/tokenizer/sentencepiece_flags.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"
#include "text/utf8.h"

namespace {

using coppice::TokenId;

void append_field(std::string& message, char number, std::string_view bytes) {
  message.push_back(static_cast<char>(number << 3 | 2));
  std::size_t length = bytes.size();
  for (; length >= 0x80; length >>= 7) {
    message.push_back(static_cast<char>(length | 0x80));
  }
  message.push_back(static_cast<char>(length));
  message += bytes;
}

// A model of a few pieces: <unk>, and letters.
std::string small_model() {
  std::string model;
  const auto add = [&model](std::string_view text, char type) {
    std::string piece;
    append_field(piece, 1, text);
    piece += {static_cast<char>(0x18), type};
    append_field(model, 1, piece);
  };
  add("<unk>", 2);
  for (const char* text : {"a", "b", "ab", "\xE2\x96\x81",
                           "\xE2\x96\x81"
                           "a"}) {
    add(text, 1);
  }
  append_field(model, 2, std::string("\x18\x02", 2));  // trainer_spec.model_type: BPE
  return model;
}

void encode_and_decode(const coppice::text::Tokenizer& tokenizer, const std::string& text) {
  COPPICE_CHECK(tokenizer.encode_memory(text) >= text.size(), "less memory than the text has");
  const auto ids = tokenizer.encode(text, {});
  if (!ids.ok()) {
    return;
  }
  for (const TokenId id : *ids) {
    COPPICE_CHECK(id >= 0 && id < tokenizer.vocab_size(), "an id outside the vocabulary");
  }
  COPPICE_CHECK(coppice::text::is_valid_utf8(tokenizer.decode(*ids, true)), "half a character");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(data, data + size);
  const std::string text = coppice::text::replace_invalid_utf8("ab a\xC2\xBD\xEF\xB7\xBA b\n" + input.substr(0, 200));
  const auto whole = coppice::text::SentencePieceTokenizer::create(input, {});
  if (whole.ok()) {
    encode_and_decode(**whole, text);
  }
  static const std::string kModel = small_model();
  const auto mapped =
      coppice::text::SentencePieceTokenizer::create(coppice::text::with_settings(kModel, input, true), {});
  if (mapped.ok()) {
    encode_and_decode(**mapped, text);
    encode_and_decode(**mapped, input);
  }
  return 0;
}
