// What a text may become, against what normalizers and pre-tokenizers make of it.
#include "text/tokenizer/growth.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // "▁"

std::size_t characters_of(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += utf8_step(text, at).length) {
    ++count;
  }
  return count;
}

Normalizer normalizer_of(const std::string& json) {
  const Json parsed = Json::parse(json);
  return Normalizer::from_json(&parsed, "normalizer").value();
}

TEST_CASE("no normalizer makes more of a text than its growth says") {
  const std::vector<std::string> texts = {
      "",
      "plain words, and more words",
      "    ",
      "\xEF\xB7\xBA\xEF\xB7\xBA",  // U+FDFA, 18 characters in NFKC
      "\xCE\x90\xF0\x9D\x85\xA0",  // three times as much in NFD, and in NFC
      "\xC7\x98\xCC\xA3",          // a mark that takes a letter from the marks that it was composed with
      "\xEA\xB0\x81\xEA\xB0\x81",  // Hangul
      "a\xC2\xA0"
      "b",  // a space in NFKC
  };
  for (const std::string json : {R"({"type":"NFC"})", R"({"type":"NFD"})", R"({"type":"NFKC"})", R"({"type":"NFKD"})",
                                 R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})",
                                 R"({"type":"Replace","pattern":{"String":"  "},"content":"long content"})",
                                 R"({"type":"Replace","pattern":{"Regex":"x*"},"content":"ab"})",
                                 R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "})",
                                 R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"  "},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
                                 R"({"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Prepend","prepend":" "},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"},
            {"type":"Replace","pattern":{"String":"▁▁"},"content":"seven b"}]})"}) {
    const Normalizer normalizer = normalizer_of(json);
    for (const std::string& text : texts) {
      Growth growth(text, characters_of);
      normalizer.grow(growth);
      const std::string made = normalizer.normalize(text).value();
      INFO(json << " of '" << text << "': '" << made << "'");
      CHECK(made.size() <= growth.bytes());
      CHECK(characters_of(made) <= growth.symbols());
    }
  }
}

TEST_CASE("nor does a pre-tokenizer") {
  for (const std::string json :
       {R"({"type":"Metaspace"})", R"({"type":"ByteLevel"})",
        R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"."},"behavior":"Isolated"},
            {"type":"Metaspace"}]})",
        R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel"}]})"}) {
    const Json parsed = Json::parse(json);
    const PreTokenizer pre_tokenizer = PreTokenizer::from_json(&parsed, "pre_tokenizer").value();
    for (const std::string text : {"words and words", "    ", "1234567890", "a"}) {
      Growth growth(text, characters_of);
      pre_tokenizer.grow(growth);
      CutText cut;
      cut.text = text;
      REQUIRE(pre_tokenizer.cut(cut).ok());
      INFO(json << " of '" << text << "': '" << cut.text << "'");
      CHECK(cut.text.size() <= growth.bytes());
      CHECK(characters_of(cut.text) <= growth.symbols());
    }
  }
}

TEST_CASE("prose hardly grows") {
  const std::string prose = "It was the best of times, it was the worst of times.";
  Growth spaces(prose, characters_of);
  spaces.replace(" ", kMetaspace);
  CHECK(spaces.bytes() == prose.size() + 2 * 11);
  CHECK(spaces.symbols() == prose.size());
  for (const std::string json :
       {R"({"type":"NFC"})", R"({"type":"NFKC"})", R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "})"}) {
    Growth growth(prose, characters_of);
    normalizer_of(json).grow(growth);
    CHECK(growth.bytes() == prose.size());
    CHECK(growth.symbols() == prose.size());
  }
}

}  // namespace
}  // namespace coppice::text
