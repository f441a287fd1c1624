// UTF-8 repair. Expected strings: Python 3.11, bytes.decode("utf-8", errors="replace").
#include <catch2/catch.hpp>

#include "text/utf8.h"

namespace coppice::text {
namespace {

const std::string kBad = "\xEF\xBF\xBD";

TEST_CASE("every maximal subpart becomes one U+FFFD") {
  CHECK(replace_invalid_utf8("a\x80z") == "a" + kBad + "z");
  CHECK(replace_invalid_utf8("\xE4\xB8") == kBad);
  CHECK(replace_invalid_utf8("\xE4\xB8x") == kBad + "x");
  CHECK(replace_invalid_utf8("\xC0\xAF") == kBad + kBad);
  CHECK(replace_invalid_utf8("\xED\xA0\x80") == kBad + kBad + kBad);             // a surrogate
  CHECK(replace_invalid_utf8("\xF4\x90\x80\x80") == kBad + kBad + kBad + kBad);  // beyond U+10FFFF
  CHECK(replace_invalid_utf8("\xF0\x9F\x98") == kBad);
  CHECK(replace_invalid_utf8("\xF0\x9F\x98\xF0\x9F\x98\x80") == kBad + "\xF0\x9F\x98\x80");
  CHECK(replace_invalid_utf8("\xE0\x80\xFF") == kBad + kBad + kBad);
  CHECK(replace_invalid_utf8(std::string("\0\x7F", 2)) == std::string("\0\x7F", 2));
}

TEST_CASE("every code point goes there and back; every cut of it is seen") {
  for (char32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point >= 0xD800 && code_point < 0xE000) {
      continue;
    }
    std::string text;
    append_utf8(text, code_point);
    const Utf8Step step = utf8_step(text, 0);
    REQUIRE(step.valid);
    REQUIRE(step.code_point == code_point);
    REQUIRE(step.length == text.size());
    for (std::size_t length = 1; length < text.size(); ++length) {
      const Utf8Step part = utf8_step(std::string_view(text).substr(0, length), 0);
      REQUIRE((part.cut_short && !part.valid && part.length == length));
    }
  }
}

TEST_CASE("checking and repairing agree") {
  // All strings of three bytes of a few interesting ones.
  const std::string bytes = std::string("\x00\x41\x7F\x80\x9F\xA0\xBF\xC1\xC2\xE0\xED\xEF\xF0\xF4\xF5\xFF", 16);
  for (const char first : bytes) {
    for (const char second : bytes) {
      for (const char third : bytes) {
        const std::string text{'p', 'r', 'e', 'f', 'i', 'x', '8', first, second, third};
        const std::string repaired = replace_invalid_utf8(text);
        REQUIRE(is_valid_utf8(repaired));
        REQUIRE(is_valid_utf8(text) == (repaired == text));
      }
    }
  }
}

}  // namespace
}  // namespace coppice::text
