// tokenizer.json: what is malformed or not supported is refused, and the message says what and where.
#include <catch2/catch.hpp>
#include <span>

#include "nlohmann/json.hpp"
#include "text/tokenizer/tokenizer_json.h"

namespace coppice::text {
namespace {

using Json = nlohmann::json;

// A tokenizer of five tokens.
Json small_tokenizer() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false,
                      "single_word": false, "lstrip": false, "rstrip": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": false},
    "post_processor": {"type": "TemplateProcessing", "pair": [],
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, " ": 2, "ab": 3}, "merges": ["a b"]}})");
}

std::string error_of(const Json& json, const TokenizerConfig& config = {}) {
  const auto tokenizer = tokenizer_from_json(json.dump(), config);
  if (tokenizer.ok()) {
    return "";
  }
  CHECK(tokenizer.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(tokenizer.status().message());
}

TEST_CASE("the small tokenizer works") {
  const auto tokenizer = tokenizer_from_json(small_tokenizer().dump(), {}).value();
  CHECK(tokenizer->encode("ab ba", {}).value() == std::vector<TokenId>{4, 3, 2, 1, 0});
  CHECK(tokenizer->decode(std::vector<TokenId>{4, 3, 2, 1, 0}, true) == "ab ba");
  CHECK(tokenizer->special().bos == 4);
  CHECK(tokenizer->special().add_bos);
  CHECK(tokenizer->vocab_size() == 5);
}

struct BadCase {
  const char* pointer;  // the member that is replaced
  const char* value;
  const char* message;
};

constexpr BadCase kBadModels[] = {
    {"/surprise", "1", "unknown member \"surprise\""},
    {"/model", "null", "model: is missing"},
    {"/model", "[]", "model: is missing"},
    {"/model/type", "\"Unigram\"", "type \"Unigram\" is not supported"},
    {"/model/type", "7", "type"},
    {"/model/surprise", "1", "unknown member"},
    {"/model/dropout", "0.1", "dropout"},
    {"/model/dropout", "\"0\"", "dropout"},
    {"/model/continuing_subword_prefix", "\"##\"", "continuing_subword_prefix"},
    {"/model/end_of_word_suffix", "\"</w>\"", "end_of_word_suffix"},
    {"/model/fuse_unk", "3", "fuse_unk"},
    {"/model/unk_token", "\"<unk>\"", "\"<unk>\" is not in the vocabulary"},
    {"/model/unk_token", "1", "unk_token"},
    {"/model/vocab", "{}", "vocab"},
    {"/model/vocab", "[]", "vocab"},
    {"/model/vocab/a", "-1", "out of range"},
    {"/model/vocab/a", "1.5", "token id"},
    {"/model/vocab/a", "4294967296", "token id"},
    {"/model/vocab/a", "18446744073709551615", "token id"},
    {"/model/vocab/a", "1", "have the same id 1"},
    {"/model/vocab/a", "2000000", "an id of 2000000"},
    {"/model/merges", "{}", "merges"},
    {"/model/merges", "[\"ab\"]", "model.merges[0]"},
    {"/model/merges", "[\"a  b\"]", "model.merges[0]"},
    {"/model/merges", "[[\"a\"]]", "model.merges[0]"},
    {"/model/merges", "[[\"a\", 1]]", "model.merges[0]"},
    {"/model/merges", "[\"a b\", \"b x\"]", "model.merges[1]: \"x\" is not in the vocabulary"},
    {"/model/merges", "[\"b a\"]", "\"ba\" is not in the vocabulary"},
    {"/added_tokens", "{}", "added_tokens"},
    {"/added_tokens/0/id", "null", "id"},
    {"/added_tokens/0/id", "1", "does not agree with the vocabulary"},
    {"/added_tokens/0/content", "\"ab\"", "does not agree with the vocabulary"},
    {"/added_tokens/0/content", "null", "content"},
    {"/added_tokens/0/special", "\"yes\"", "special"},
};

constexpr BadCase kBadComponents[] = {
    {"/normalizer", "{\"type\": \"Lowercase\"}", "normalizer \"Lowercase\" is not supported"},
    {"/normalizer", "{}", "type"},
    {"/normalizer", "{\"type\": \"Sequence\"}", "normalizers"},
    {"/normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"BertNormalizer\"}]}",
     "normalizer.normalizers[0]: normalizer \"BertNormalizer\""},
    {"/normalizer", "{\"type\": \"Replace\", \"pattern\": \"a\", \"content\": \"b\"}", "pattern"},
    {"/normalizer", "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\w\"}, \"content\": \"b\"}",
     "not supported"},
    {"/normalizer", "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"b\"}", "empty"},
    {"/pre_tokenizer", "{\"type\": \"Whitespace\"}", "pre-tokenizer \"Whitespace\" is not supported"},
    {"/pre_tokenizer/behavior", "\"Shuffled\"", "Shuffled"},
    {"/pre_tokenizer/invert", "0", "invert"},
    {"/pre_tokenizer/pattern", "{\"Regex\": \"(\"}", "pattern"},
    {"/pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"ab\"}", "replacement"},
    {"/pre_tokenizer", "{\"type\": \"Metaspace\", \"prepend_scheme\": \"often\"}", "often"},
    {"/pre_tokenizer",
     "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, {\"type\": \"Digits\"}]}",
     "behind ByteLevel"},
    {"/post_processor", "{\"type\": \"BertProcessing\"}", "post-processor \"BertProcessing\""},
    {"/post_processor/single", "[]", "no sequence"},
    {"/post_processor/single", "null", "single"},
    {"/post_processor/special_tokens", "{}", "special_tokens"},
    {"/post_processor/special_tokens/<s>/ids", "[\"4\"]", "token id"},
    {"/post_processor/special_tokens/<s>/ids", "[99]", "no token has id 99"},
    {"/decoder", "null", "decoder: is missing"},
    {"/decoder", "{\"type\": \"CTC\"}", "decoder \"CTC\" is not supported"},
    {"/decoder", "{\"type\": \"Strip\", \"content\": \"\", \"start\": 1, \"stop\": 0}", "out of range"},
    {"/decoder",
     "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", "
     "\"stop\": 1}]}",
     "stripping the end"},
    {"/decoder", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteFallback\"}, {\"type\": \"Metaspace\"}]}",
     "behind ByteFallback"},
};

void check_refused(std::span<const BadCase> cases) {
  for (const BadCase& bad : cases) {
    Json json = small_tokenizer();
    json[Json::json_pointer(bad.pointer)] = Json::parse(bad.value);
    const std::string error = error_of(json);
    INFO(bad.pointer << " = " << bad.value << ": " << error);
    CHECK(error.starts_with("tokenizer.json: "));
    CHECK(error.find(bad.message) != std::string::npos);
  }
}

TEST_CASE("bad models and added tokens are refused by name") {
  check_refused(kBadModels);
}

TEST_CASE("bad components are refused by name") {
  check_refused(kBadComponents);
}

TEST_CASE("a file that is no JSON, too deep or too wide") {
  CHECK_FALSE(tokenizer_from_json("", {}).ok());
  CHECK_FALSE(tokenizer_from_json("{\"model\": \xFF}", {}).ok());
  Json json = small_tokenizer();
  Json normalizer = Json::parse(R"({"type": "NFC"})");
  for (int depth = 0; depth < 25; ++depth) {
    normalizer = {{"type", "Sequence"}, {"normalizers", {normalizer}}};
  }
  json["normalizer"] = normalizer;
  CHECK(error_of(json).empty());
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(40, {{"type", "NFC"}})}};
  CHECK(error_of(json).find("too many steps") != std::string::npos);
  for (int depth = 0; depth < 40; ++depth) {
    normalizer = {{"type", "Sequence"}, {"normalizers", {normalizer}}};
  }
  json["normalizer"] = normalizer;
  CHECK(tokenizer_from_json(json.dump(), {}).status().message().find("nested deeper") != std::string::npos);
}

TEST_CASE("the config wins over the file") {
  TokenizerConfig config;
  config.bos_token = "b";
  config.add_bos_token = false;
  config.eos_token = "ab";
  config.add_eos_token = true;
  const auto tokenizer = tokenizer_from_json(small_tokenizer().dump(), config).value();
  CHECK(tokenizer->encode("a", {}).value() == std::vector<TokenId>{0, 3});
  CHECK(tokenizer->is_special(3));
  CHECK(tokenizer->special().bos == 1);
  config.eos_token = "nothing";
  CHECK(error_of(small_tokenizer(), config).find("eos_token names no token") != std::string::npos);
  config = {};
  config.added_tokens = {{"<t>", 4, true}};
  CHECK(error_of(small_tokenizer(), config).find("token 4 is \"<t>\"") != std::string::npos);
  config.added_tokens = {{"<s>", 4, true}, {"<t>", 6, false, false, false, true, false}};
  const auto larger = tokenizer_from_json(small_tokenizer().dump(), config).value();
  CHECK(larger->encode("a<t>  b", {}).value() == std::vector<TokenId>{4, 0, 6, 1});
  CHECK(larger->vocab_size() == 7);
  CHECK(larger->piece(5).empty());
}

TEST_CASE("vocab.json and merges.txt") {
  TokenizerConfig config;
  const std::string vocab = R"({"a": 0, "b": 1, "ab": 2})";
  CHECK_FALSE(tokenizer_from_vocab_and_merges(vocab, "a b\n", config).ok());
  config.tokenizer_class = "GPT2TokenizerFast";
  const auto tokenizer = tokenizer_from_vocab_and_merges(vocab, "#version: 0.2\r\na b\r\n", config).value();
  CHECK(tokenizer->encode("abba", {}).value() == std::vector<TokenId>{2, 1, 0});
  for (const char* merges : {"a b c\n", "ab\n", "a b\n\na b\n", "a c\n"}) {
    INFO(merges);
    CHECK_FALSE(tokenizer_from_vocab_and_merges(vocab, merges, config).ok());
  }
}

}  // namespace
}  // namespace coppice::text
