// Fuzzes what a model folder's text files can do: tokenizer.json, tokenizer_config.json, sentencepiece's wire format
// and pre-tokenizer patterns. Whatever loads must encode and decode within its promises.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/sentencepiece_flags.h"
#include "text/tokenizer/tokenizer_config.h"
#include "text/tokenizer/tokenizer_json.h"
#include "text/utf8.h"

namespace {

using coppice::TokenId;
using coppice::text::Detokenizer;
using coppice::text::Tokenizer;

void encode_and_decode(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, {special, special});
    if (!ids.ok()) {
      continue;  // the pattern gave up
    }
    Detokenizer detokenizer(tokenizer, {!special});
    std::string streamed;
    for (const TokenId id : *ids) {
      COPPICE_CHECK(id >= 0 && id < tokenizer.vocab_size(), "an id outside the vocabulary");
      streamed += detokenizer.push(id);
      COPPICE_CHECK(coppice::text::is_valid_utf8(streamed), "half a character");
    }
    streamed += detokenizer.finish();
    COPPICE_CHECK(streamed == tokenizer.decode(*ids, !special), "streaming differs");
  }
}

void fuzz_pattern(std::string_view source, std::string_view text) {
  const auto pattern = coppice::text::Pattern::compile(source);
  if (!pattern.ok()) {
    return;
  }
  std::vector<coppice::text::Span> matches;
  if (!pattern->find_all(text, {0, static_cast<std::uint32_t>(text.size())}, matches).ok()) {
    return;
  }
  std::size_t last = 0;
  for (const coppice::text::Span& match : matches) {
    COPPICE_CHECK(match.begin >= last && match.end >= match.begin && match.end <= text.size(), "matches out of order");
    last = match.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(data, data + size);
  const std::string text = coppice::text::replace_invalid_utf8("It's 12 \xC3\xA9\xE4\xB8\xAD <s>  x\n" +
                                                               input.substr(size - (size < 64 ? size : 64)));
  static_cast<void>(coppice::text::tokenizer_config_from_json(input));
  static_cast<void>(coppice::text::read_sentencepiece_flags(input));
  if (size < 200) {
    fuzz_pattern(input, text);
  }
  const auto tokenizer = coppice::text::tokenizer_from_json(input, {});
  if (tokenizer.ok()) {
    encode_and_decode(**tokenizer, text);
    encode_and_decode(**tokenizer, input.substr(0, 200));
  }
  return 0;
}
