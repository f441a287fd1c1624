// Patterns: the same matches as Oniguruma, or a refusal.
#include <catch2/catch.hpp>

#include "text/tokenizer/pattern.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

std::vector<std::string> matches(std::string_view pattern, const std::string& text) {
  const Pattern compiled = Pattern::compile(pattern).value();
  std::vector<Span> spans;
  REQUIRE(compiled.find_all(text, {0, static_cast<std::uint32_t>(text.size())}, spans).ok());
  std::vector<std::string> found;
  for (const Span& span : spans) {
    found.push_back(text.substr(span.begin, span.end - span.begin));
  }
  return found;
}

using Texts = std::vector<std::string>;

// Expected lists come from Hugging Face tokenizers 0.22: pre_tokenizers.Split(Regex(pattern), "removed", invert=True).
TEST_CASE("constructs that differ between Oniguruma and PCRE2 mean what Oniguruma means") {
  CHECK(matches(R"(\d{1,3}+)", "123456 7") == Texts{"123456", "7"});
  CHECK(matches(R"(a{,2})", "aaa") == Texts{"aa", "a"});
  CHECK(matches(R"(\s)",
                "a\xE1\xA0\x8E"
                "b\xC2\xA0") == Texts{"\xC2\xA0"});  // U+180E is no space, U+00A0 is
  CHECK(matches(R"([^\S\n]+)", "a \t\n b") == Texts{" \t", " "});
  CHECK(matches(R"(^a)", "a\nab") == Texts{"a", "a"});
  CHECK(matches(R"((?i:'s|'t))", "'S 't '\xC5\xBF") == Texts{"'S", "'t", "'\xC5\xBF"});
  CHECK(matches(R"(\u00e9|\x{1F600}|\x41)",
                "\xC3\xA9\xF0\x9F\x98\x80"
                "AB") == Texts{"\xC3\xA9", "\xF0\x9F\x98\x80", "A"});
  CHECK(matches(R"(a++b)", "aaab") == Texts{"aaab"});
  CHECK(matches(R"((?<=a)b(?!c))", "abc ab") == Texts{"b"});
  CHECK(matches(R"([]a-]+)", "-a]b") == Texts{"-a]"});
}

TEST_CASE("letters of Unicode 15 and 16 are letters") {
  // U+31350 (CJK extension H, 15.0), U+2EBF0 (extension I, 15.1), U+105C0 (Todhri, 16.0), U+16D70 (a Kirat Rai digit).
  std::string text;
  for (const char32_t code_point : {U'\U00031350', U'\U0002EBF0', U'\U000105C0', U'\U00016D70'}) {
    append_utf8(text, code_point);
  }
  CHECK(matches(R"(\p{L}+)", text) == Texts{text.substr(0, 12)});
  CHECK(matches(R"(\p{N}+)", text) == Texts{text.substr(12)});
  CHECK(matches(R"([^\p{L}]+)", text) == Texts{text.substr(12)});
  CHECK(matches(R"(\P{L}+)", text) == Texts{text.substr(12)});
}

TEST_CASE("empty matches are those of find_iter") {
  CHECK(matches("a*", "aab") == Texts{"aa", ""});
  CHECK(matches("(?=b)", "abb") == Texts{"", ""});
  CHECK(matches("x*", "\xC3\xA9") == Texts{"", ""});
}

TEST_CASE("what might mean something else is refused by name") {
  const std::vector<std::string> refused = {
      R"(\h)",          R"(\w)",      R"(\b)",    R"(\v)",    R"([a&&b])",  R"([[a]b])",  R"((?m:a))",     R"(a(?i)b)",
      R"(\1)",          R"((?<n>a))", R"(a{2}?)", R"(a**)",   R"(\p{Foo})", R"([\P{L}])", R"(\K)",         R"(\R)",
      R"(()",           R"())",       R"([a)",    R"(*)",     R"(a{3,2})",  R"(a{1001})", R"(\x{110000})", R"(\ud800)",
      R"((?i:ss))",     R"((?i)fi)",  R"(\)",     R"([z-a])", R"([\s-a])",  R"((?#x))",   R"((?(1)a|b))",  R"(a{x})",
      R"([[:alpha:]])", R"((?=a)+)",  "\xFF",     R"(\p{L)",  R"(\pL)",     R"(\x)",      R"(\xC3\xA9)"};
  for (const std::string& pattern : refused) {
    INFO(pattern);
    CHECK(Pattern::compile(pattern).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("look-around sees only the range") {
  const Pattern pattern = Pattern::compile(R"((?<!a)b(?!c))").value();
  std::vector<Span> spans;
  REQUIRE(pattern.find_all("abc", {0, 3}, spans).ok());
  CHECK(spans.empty());
  REQUIRE(pattern.find_all("abc", {1, 2}, spans).ok());
  CHECK(spans.size() == 1);
}

TEST_CASE("a pattern that explodes gives up with an error") {
  const Pattern pattern = Pattern::compile("(?:a+)+$").value();
  std::vector<Span> spans;
  const std::string text = std::string(40, 'a') + "b";
  CHECK(pattern.find_all(text, {0, static_cast<std::uint32_t>(text.size())}, spans).code() ==
        absl::StatusCode::kResourceExhausted);
}

TEST_CASE("literals are not patterns") {
  const Pattern pattern = Pattern::compile_literal("a.b").value();
  std::vector<Span> spans;
  REQUIRE(pattern.find_all("axb a.b", {0, 7}, spans).ok());
  REQUIRE(spans.size() == 1);
  CHECK(spans[0].begin == 4);
}

}  // namespace
}  // namespace coppice::text
