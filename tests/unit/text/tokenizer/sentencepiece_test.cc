// What transformers has no answer for: special tokens that the sentencepiece model itself would find in a user's text;
// and the reader of the model file's settings.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "tests/unit/text/tokenizer/fixtures.h"
#include "text/tokenizer/sentencepiece_flags.h"
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
  const std::string without = model_file("sentencepiece_bpe") + std::string(kNoDummyPrefix);
  CHECK_FALSE(read_sentencepiece_flags(without)->add_dummy_prefix);
  const std::string model = model_file("sentencepiece_bpe");
  CHECK_FALSE(read_sentencepiece_flags(model.substr(0, model.size() - 1)).has_value());
  CHECK_FALSE(read_sentencepiece_flags("\xFF\xFF\xFF").has_value());
}

TEST_CASE("models whose decoding would differ are refused") {
  const std::string model = model_file("sentencepiece_bpe");
  // denormalizer_spec with a charsmap; trainer_spec.treat_whitespace_as_suffix; normalizer_spec.escape_whitespaces off.
  for (const std::string& change : {std::string("\x2A\x03\x12\x01x", 5), std::string("\x12\x03\xC0\x01\x01", 5),
                                    std::string("\x1A\x02\x28\x00", 4)}) {
    const auto tokenizer = SentencePieceTokenizer::create(model + change, {});
    CHECK(tokenizer.status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK_FALSE(SentencePieceTokenizer::create("", {}).ok());
  CHECK_FALSE(SentencePieceTokenizer::create(model.substr(0, 1000), {}).ok());
}

}  // namespace
}  // namespace coppice::text
