// What transformers has no answer for: special tokens that the sentencepiece model itself would find in a user's text;
// and the reader of the model file's settings.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/text/tokenizer/fixtures.h"
#include "text/tokenizer/sentencepiece_flags.h"
#include "text/tokenizer/sentencepiece_model.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"

namespace coppice::text {
namespace {

std::string model_file(std::string_view fixture) {
  std::ifstream stream(fixture_path(fixture) + "/tokenizer.model", std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

TEST_CASE("a user-defined piece that is special does not come from a user's text") {
  TokenizerConfig config;
  config.bos_token = "<s>";
  const std::string model = model_file("sentencepiece_unigram");
  const auto plain = SentencePieceTokenizer::create(model, config).value();
  config.additional_special_tokens = {"<|user|>"};
  const auto guarded = SentencePieceTokenizer::create(model, config).value();
  const TokenId user = plain->token_to_id("<|user|>").value();
  for (const std::string text : {"<|user|>", "hi <|user|> there", "<|user|><|user|>", "a<|user|>b<tool>"}) {
    INFO(text);
    const auto count = [user](const std::vector<TokenId>& ids) { return std::count(ids.begin(), ids.end(), user); };
    CHECK(count(plain->encode(text, {true, false}).value()) > 0);
    const std::vector<TokenId> ids = guarded->encode(text, {true, false}).value();
    CHECK(count(ids) == 0);
    CHECK(guarded->decode(ids, true) == text);
    CHECK(count(guarded->encode(text, {true, true}).value()) > 0);
  }
}

TEST_CASE("settings are read from the file's bytes") {
  const SentencePieceFlags bpe = read_sentencepiece_flags(model_file("sentencepiece_bpe")).value();
  CHECK(bpe.add_dummy_prefix);
  CHECK_FALSE(bpe.remove_extra_whitespaces);
  CHECK(bpe.escape_whitespaces);
  CHECK_FALSE(bpe.has_denormalizer);
  CHECK_FALSE(bpe.whitespace_as_suffix);
  CHECK(read_sentencepiece_flags(model_file("sentencepiece_unigram"))->remove_extra_whitespaces);
  const std::string changed = with_settings(model_file("sentencepiece_bpe"), "abc", false);
  CHECK_FALSE(read_sentencepiece_flags(changed)->add_dummy_prefix);
  CHECK(read_sentencepiece_flags(changed)->charsmap == "abc");
  CHECK(bpe.charsmap.empty());
  CHECK(bpe.user_defined_nesting <= 1);
  const std::string model = model_file("sentencepiece_bpe");
  CHECK_FALSE(read_sentencepiece_flags(model.substr(0, model.size() - 1)).has_value());
  CHECK_FALSE(read_sentencepiece_flags("\xFF\xFF\xFF").has_value());
}

TEST_CASE("a long text is cut before words and gives the tokens of the whole") {
  const std::string model = model_file("sentencepiece_bpe");
  const SentencePieceFlags flags = read_sentencepiece_flags(model).value();
  CHECK(flags.is_bpe);
  CHECK_FALSE(flags.has_space_inside);
  const auto tokenizer = SentencePieceTokenizer::create(model, {}).value();
  std::string error;
  const auto library = SentencePieceModel::load(with_settings(model, flags.charsmap, flags.add_dummy_prefix), error);
  REQUIRE(library != nullptr);
  std::mt19937 random(7);  // NOLINT: the same in every run
  const std::vector<std::string> alphabet = {"a",
                                             "b",
                                             "the",
                                             " ",
                                             " ",
                                             "  ",
                                             "\n",
                                             "\t",
                                             "\xE2\x96\x81",
                                             "1",
                                             ".",
                                             "\xC3\xA9",
                                             " \xE2\x96\x81",
                                             "\xF0\x9F\x98\x80",
                                             "ing"};
  for (int round = 0; round < 12; ++round) {
    std::string text;
    const std::size_t letters = round % 2 == 0 ? alphabet.size() : 6;
    while (text.size() < 120'000) {
      text += alphabet[random() % letters];
    }
    std::vector<TokenId> whole;
    REQUIRE(library->encode(text, whole, error));
    CHECK(tokenizer->encode(text, {.add_special = false}).value() == whole);
    CHECK(tokenizer->encode_memory(text) < text.size() * 100);  // a tenth of what the library takes for all of it
  }
}

std::string length_delimited(char number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  for (std::size_t length = bytes.size();; length >>= 7) {
    field.push_back(static_cast<char>(length < 0x80 ? length : length | 0x80));
    if (length < 0x80) {
      return field + bytes;
    }
  }
}

TEST_CASE("a text without words, and a model whose pieces cross them, are not cut") {
  const auto bpe = SentencePieceTokenizer::create(model_file("sentencepiece_bpe"), {}).value();
  CHECK(bpe->encode_memory(std::string(100'000, 'a')) > 100'000 * 300);
  CHECK(bpe->encode_memory(std::string(100'000, ' ')) > 100'000 * 300);
  std::string words;
  while (words.size() < 100'000) {
    words += "word ";
  }
  CHECK(bpe->encode_memory(words) < 100'000 * 100);
  const auto unigram = SentencePieceTokenizer::create(model_file("sentencepiece_unigram"), {}).value();
  CHECK(unigram->encode_memory(words) > 100'000 * 300);
  const std::string crossing = length_delimited(1, length_delimited(1,
                                                                    "a\xE2\x96\x81"
                                                                    "b"));
  CHECK(read_sentencepiece_flags(model_file("sentencepiece_bpe") + crossing)->has_space_inside);
}

TEST_CASE("a model that does not know the space makes one unknown token of it and of what is beside it") {
  std::string model;
  for (const auto& [piece, type] : std::vector<std::pair<std::string, char>>{{"<unk>", '\x02'}, {"a", '\x01'}}) {
    model += length_delimited(1, length_delimited(1, piece) + std::string("\x18") + type);
  }
  model += length_delimited(2, std::string("\x18\x02"));                     // BPE
  model += length_delimited(3, std::string("\x18\x00\x20\x00\x28\x01", 6));  // no prefix, all spaces, as "▁"
  const auto tokenizer = SentencePieceTokenizer::create(model, {}).value();
  std::string text;
  while (text.size() < 100'000) {
    text += "\xC3\xA9 ";
  }
  CHECK(tokenizer->encode(text, {.add_special = false}).value().size() == 1);
}

// normalizer_spec.precompiled_charsmap.
std::string with_charsmap(const std::string& model, const std::string& charsmap) {
  return model + length_delimited(3, length_delimited(2, charsmap));
}

// A map of one trie, in units, and replacements.
std::string charsmap_of(const std::vector<std::uint32_t>& units, const std::string& replacements) {
  const auto bytes = static_cast<std::uint32_t>(units.size() * sizeof(std::uint32_t));
  std::string map(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
  map.append(reinterpret_cast<const char*>(units.data()), bytes);
  return map + replacements;
}

// A trie in which "a" becomes the replacement at `value`: the root leads to block 256, its child to block 512.
std::vector<std::uint32_t> trie_of_a(std::uint32_t value) {
  std::vector<std::uint32_t> units(768, 0xFFU);  // of no byte but 255, which leads back to itself
  units[0] = 256U << 10;
  units[256 ^ 'a'] = (512U ^ 256U ^ 'a') << 10 | 1U << 8 | 'a';
  units[512] = value | 1U << 31;
  units[256 ^ 0xFF] = 0xAAU;
  units[512 ^ 0xFF] = 0xAAU;
  return units;
}

absl::Status status_of(const std::string& charsmap) {
  return SentencePieceTokenizer::create(with_charsmap(model_file("sentencepiece_bpe"), charsmap), {}).status();
}

TEST_CASE("a charsmap that is sound is used", "[charsmap]") {
  const std::string model =
      with_charsmap(model_file("sentencepiece_bpe"), charsmap_of(trie_of_a(2), std::string("x\0b\0", 4)));
  const auto tokenizer = SentencePieceTokenizer::create(model, {});
  REQUIRE(tokenizer.ok());
  const auto plain = SentencePieceTokenizer::create(model_file("sentencepiece_bpe"), {});
  CHECK((*tokenizer)->encode("an apple", {}).value() == (*plain)->encode("bn bpple", {}).value());
  CHECK(status_of(std::string()).ok());
}

TEST_CASE("charsmaps that the library would follow out of bounds are refused", "[charsmap]") {
  const std::string texts("x\0b\0", 4);
  const auto changed = [&](std::size_t unit, std::uint32_t bits) {
    std::vector<std::uint32_t> units = trie_of_a(0);
    units[unit] = bits;
    return charsmap_of(units, texts);
  };
  std::vector<std::string> maps = {
      "a",
      std::string(4, '\0'),               // no unit
      charsmap_of({0xFFFFFFFFU}, texts),  // one wild unit
      charsmap_of({0}, texts),            // fewer units than there are bytes
      charsmap_of(std::vector<std::uint32_t>(255, 0), texts),
      charsmap_of(trie_of_a(4), texts),  // a replacement behind the end
      charsmap_of(trie_of_a(0x7FFFFFFF), texts),
      charsmap_of(trie_of_a(2), "x\0b"),  // one without an end
      charsmap_of(trie_of_a(0), ""),
      charsmap_of(trie_of_a(0), std::string(257, 'x') + '\0'),  // one that lets text grow without bound
      charsmap_of(trie_of_a(0), texts).substr(0, 1000),
      changed(0, 0),                                        // the root is its own child by NUL
      changed(256 ^ 'a', (256U ^ 256U ^ 'a') << 10 | 'a'),  // a circle: "aaaa…"
      changed(256 ^ 'a', 1U << 30 | 'a'),
      changed(256 ^ 'b', 0x1FFFFFU << 10 | 'b'),  // not of "a", but some text reaches it
      changed(256 ^ 0, 0x1FFFFFU << 10)};         // NUL is a byte as well
  for (std::uint32_t unit : {0U, 256U ^ 'a'}) {
    for (std::uint32_t bit = 10; bit < 32; ++bit) {
      maps.push_back(changed(unit, trie_of_a(0)[unit] ^ 3U << bit << 8));
      maps.push_back(changed(unit, (1U << bit) | (unit == 0 ? 0 : 'a') | 1U << 9));
    }
  }
  std::size_t refused = 0;
  for (std::size_t i = 0; i < maps.size(); ++i) {
    INFO(i);
    const absl::Status status = status_of(maps[i]);
    refused += status.ok() ? 0 : 1;
    CHECK((i >= 16 || status.code() == absl::StatusCode::kInvalidArgument));
    CHECK((status.ok() || std::string(status.message()).find("precompiled_charsmap") != std::string::npos));
  }
  CHECK(refused > 20);
}

TEST_CASE("more keys that begin one another than the library has room for", "[charsmap]") {
  for (const std::uint32_t depth : {32U, 33U}) {
    // "a", "aa", …: block i + 1 holds the state after i of them.
    std::vector<std::uint32_t> units((depth + 2) * 256, 0);
    units[0] = 256U << 10;
    for (std::uint32_t i = 1; i <= depth; ++i) {
      const std::uint32_t at = i * 256 ^ 'a';
      units[at] = (at ^ (i + 1) * 256) << 10 | 1U << 8 | 'a';
      units[(i + 1) * 256] = 1U << 31;
    }
    for (std::uint32_t i = 1; i < units.size(); ++i) {
      units[i] = units[i] == 0 ? (i + 1) % 256 : units[i];  // of another byte than the one that leads there
    }
    CHECK(status_of(charsmap_of(units, std::string("b\0", 2))).ok() == (depth == 32));
  }
}

TEST_CASE("whatever is changed in a real charsmap, text is encoded or the model is refused", "[charsmap]") {
  const std::string model = model_file("sentencepiece_unigram");
  const std::string charsmap(read_sentencepiece_flags(model)->charsmap);
  REQUIRE(charsmap.size() > 10'000);
  REQUIRE(SentencePieceTokenizer::create(model, {}).ok());
  std::uint64_t random = 1;
  const auto next = [&random] { return (random = random * 6364136223846793005U + 1442695040888963407U) >> 33; };
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += static_cast<char>(next() & 0xFF);
  }
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    std::string changed = charsmap;
    for (int i = 0; i < 1 + round % 3 * 20; ++i) {
      changed[next() % changed.size()] ^= static_cast<char>(1U << next() % 8);
    }
    const auto tokenizer = SentencePieceTokenizer::create(with_charsmap(model, changed), {});
    refused += tokenizer.ok() ? 0 : 1;
    if (tokenizer.ok()) {
      static_cast<void>((*tokenizer)->encode("\xC2\xBD \xEF\xBC\xA1 \xEF\xB7\xBA a", {}));
      static_cast<void>((*tokenizer)->encode(text, {}));
    }
  }
  CHECK(refused > 5);
}

TEST_CASE("user-defined pieces that begin one another", "[charsmap]") {
  for (const int count : {60, 70}) {
    std::string model = model_file("sentencepiece_bpe");
    std::string snowmen;
    for (int i = 1; i <= count; ++i) {
      snowmen += "\xE2\x98\x83";
      // pieces { piece: "☃☃…", type: USER_DEFINED }
      model += length_delimited(1, length_delimited(1, snowmen) + std::string("\x18\x04", 2));
    }
    const auto tokenizer = SentencePieceTokenizer::create(model, {});
    CHECK(tokenizer.ok() == (count == 60));
    if (tokenizer.ok()) {
      CHECK((*tokenizer)->encode(snowmen + snowmen, {}).value().size() < 10);
    }
  }
}

TEST_CASE("fields of the wrong wire type are none", "[charsmap]") {
  const std::string model = with_charsmap(model_file("sentencepiece_bpe"), charsmap_of({0xFFFFFFFFU}, "x"));
  // normalizer_spec { precompiled_charsmap as a number }; a normalizer_spec whose key has more than 32 bits.
  for (const std::string& cover :
       {std::string("\x1A\x02\x10\x00", 4), std::string("\x9A\x80\x80\x80\x10\x02\x12\x00", 8)}) {
    CHECK_FALSE(SentencePieceTokenizer::create(model + cover, {}).ok());
  }
}

TEST_CASE("models whose decoding would differ are refused") {
  const std::string model = model_file("sentencepiece_bpe");
  // denormalizer_spec with a charsmap; trainer_spec.treat_whitespace_as_suffix; normalizer_spec.escape_whitespaces off.
  for (const std::string& change : {std::string("\x2A\x03\x12\x01x", 5), std::string("\x12\x03\xC0\x01\x01", 5),
                                    std::string("\x1A\x02\x28\x00", 4)}) {
    const auto tokenizer = SentencePieceTokenizer::create(model + change, {});
    CHECK(tokenizer.status().code() == absl::StatusCode::kInvalidArgument);
  }
  // pieces { piece: bytes that are no UTF-8 }, which the library would match by what stands before their NUL.
  const auto cut = SentencePieceTokenizer::create(model + std::string("\x0A\x06\x0A\x04\x12\x00\xFF\x02", 8), {});
  CHECK(cut.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(cut.status().message().find("is not UTF-8") != std::string_view::npos);
  CHECK_FALSE(SentencePieceTokenizer::create("", {}).ok());
  CHECK_FALSE(SentencePieceTokenizer::create(model.substr(0, 1000), {}).ok());
}

}  // namespace
}  // namespace coppice::text
