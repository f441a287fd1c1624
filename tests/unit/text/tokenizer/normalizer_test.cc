// Unicode normal forms as Hugging Face's normalizers give them, whose tables are those of Unicode 9.
// Expected strings: tokenizers 0.22.2, normalizers.NFC().normalize_str(text) and so on.
#include "text/tokenizer/normalizer.h"

#include <catch2/catch.hpp>

namespace coppice::text {
namespace {

std::string normalize(const char* form, const char8_t* text) {
  const Json json = {{"type", form}};
  const Normalizer normalizer = Normalizer::from_json(&json, "normalizer").value();
  std::string utf8;
  for (; *text != 0; ++text) {
    utf8.push_back(static_cast<char>(*text));
  }
  return normalizer.normalize(utf8).value();
}

std::string bytes(const char8_t* text) {
  std::string utf8;
  for (; *text != 0; ++text) {
    utf8.push_back(static_cast<char>(*text));
  }
  return utf8;
}

TEST_CASE("characters of Unicode 9 are composed, decomposed and reordered") {
  CHECK(normalize("NFC", u8"e\u0301\u0323") == bytes(u8"\u1eb9\u0301"));
  CHECK(normalize("NFC", u8"\u1112\u1161\u11ab") == bytes(u8"\ud55c"));
  CHECK(normalize("NFC", u8"\u0344") == bytes(u8"\u0308\u0301"));
  CHECK(normalize("NFC", u8"\ufb01") == bytes(u8"\ufb01"));
  CHECK(normalize("NFKC", u8"\ufb01") == "fi");
  CHECK(normalize("NFD", u8"\u1eb9\u0301") == bytes(u8"e\u0323\u0301"));
  CHECK(normalize("NFKD", u8"\u2167\u00e9") == bytes(u8"VIIIe\u0301"));
  CHECK(normalize("NFC", u8"").empty());
}

TEST_CASE("characters that are newer are left alone") {
  CHECK(normalize("NFC", u8"\u0345\u08d3\u0334") == bytes(u8"\u0345\u08d3\u0334"));
  CHECK(normalize("NFC", u8"a\u1ac1\u0323\u0301") == bytes(u8"a\u1ac1\u0323\u0301"));
  CHECK(normalize("NFC", u8"\U00011935\U00011930") == bytes(u8"\U00011935\U00011930"));
  CHECK(normalize("NFKC", u8"\u32ff") == bytes(u8"\u32ff"));
  CHECK(normalize("NFC", u8"e\u0301\u08d3e\u0301") == bytes(u8"\u00e9\u08d3\u00e9"));
}

}  // namespace
}  // namespace coppice::text
