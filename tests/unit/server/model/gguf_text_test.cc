// Tokenizers out of a GGUF file's keys. tests/e2e/test_gguf.py compares them with those of folders.
#include "server/model/gguf_text.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

namespace coppice::server {
namespace {

using models::GgufMetadata;
using Texts = std::vector<std::string>;
using Wholes = std::vector<std::int64_t>;

GgufMetadata byte_level(const std::string& cut) {
  GgufMetadata keys;
  keys["tokenizer.ggml.model"] = std::string("gpt2");
  keys["tokenizer.ggml.pre"] = cut;
  keys["tokenizer.ggml.tokens"] = Texts{"<s>", "</s>", "a", "b", "1", "2", "12", "Ġ", "ab", "<t>"};
  keys["tokenizer.ggml.token_type"] = Wholes{3, 3, 1, 1, 1, 1, 1, 1, 1, 4};
  keys["tokenizer.ggml.merges"] = Texts{"a b", "1 2"};
  keys["tokenizer.ggml.bos_token_id"] = std::int64_t{0};
  keys["tokenizer.ggml.eos_token_id"] = std::int64_t{1};
  keys["tokenizer.chat_template"] = std::string("T");
  keys["tokenizer.chat_template.tool_use"] = std::string("U");
  return keys;
}

GgufMetadata sentencepiece() {
  GgufMetadata keys;
  keys["tokenizer.ggml.model"] = std::string("llama");
  keys["tokenizer.ggml.tokens"] = Texts{"<unk>",
                                        "<s>",
                                        "</s>",
                                        "\xE2\x96\x81",
                                        "a",
                                        "b",
                                        "ab",
                                        "\xE2\x96\x81"
                                        "ab"};
  keys["tokenizer.ggml.token_type"] = Wholes{2, 3, 3, 1, 1, 1, 1, 1};
  keys["tokenizer.ggml.scores"] = std::vector<double>{0, 0, 0, -5, -4, -3, -1, -2};
  keys["tokenizer.ggml.bos_token_id"] = std::int64_t{1};
  keys["tokenizer.ggml.eos_token_id"] = std::int64_t{2};
  keys["tokenizer.ggml.unknown_token_id"] = std::int64_t{0};
  return keys;
}

std::vector<TokenId> tokens_of(const GgufMetadata& keys, const std::string& text, bool add_special = false) {
  const absl::StatusOr<ModelText> made = gguf_text(keys);
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  text::EncodeOptions options;
  options.add_special = add_special;
  return made->tokenizer->encode(text, options).value();
}

TEST_CASE("a byte-level vocabulary of a GGUF file") {
  CHECK(tokens_of(byte_level("gpt-2"), "ab 12") == std::vector<TokenId>{8, 7, 6});
  CHECK(tokens_of(byte_level("smollm"), "12") == std::vector<TokenId>{4, 5});
  CHECK(tokens_of(byte_level("qwen2"), "12") == std::vector<TokenId>{4, 5});
  CHECK(tokens_of(byte_level("llama-bpe"), "12") == std::vector<TokenId>{6});
  CHECK(tokens_of(byte_level("gpt-2"), "a<t>b") == std::vector<TokenId>{2, 9, 3});
  // Who begins by default: Llama 3.
  CHECK(tokens_of(byte_level("gpt-2"), "a", true) == std::vector<TokenId>{2});
  CHECK(tokens_of(byte_level("llama-bpe"), "a", true) == std::vector<TokenId>{0, 2});
  const ModelText text = gguf_text(byte_level("gpt-2")).value();
  CHECK(text.tokenizer->is_special(1));
  CHECK_FALSE(text.tokenizer->is_special(9));
  CHECK(text.config.eos_token == "</s>");
  CHECK(text.config.chat_template() == "T");
  CHECK(text.config.chat_template("tool_use") == "U");
}

TEST_CASE("a sentencepiece vocabulary of a GGUF file") {
  GgufMetadata keys = sentencepiece();
  CHECK(tokens_of(keys, "ab a", true) == std::vector<TokenId>{1, 7, 3, 4});
  keys["tokenizer.ggml.add_bos_token"] = false;
  keys["tokenizer.ggml.add_space_prefix"] = false;
  CHECK(tokens_of(keys, "ab", true) == std::vector<TokenId>{6});
}

TEST_CASE("keys that make no tokenizer are named") {
  struct Row {
    std::function<void(GgufMetadata&)> change;
    const char* part;
  };
  const Row rows[] = {
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.model"] = std::string("bert"); }, "\"bert\" is not supported"},
      {[](GgufMetadata& keys) { keys.erase("tokenizer.ggml.model"); }, "tokenizer.ggml.model: \"\""},
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.pre"] = std::string("other"); }, "\"other\" is not supported"},
      {[](GgufMetadata& keys) { keys.erase("tokenizer.ggml.tokens"); }, "tokenizer.ggml.tokens is missing"},
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.tokens"] = Wholes{1}; }, "expected an array of texts"},
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.token_type"] = Wholes{1}; }, "10 tokens, 1 types"},
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.scores"] = std::vector<double>{1}; }, "1 scores"},
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.eos_token_id"] = std::int64_t{10}; }, "10, where there are 10"},
      {[](GgufMetadata& keys) { keys["tokenizer.ggml.merges"] = Texts{"x y"}; }, "merge"},
      {[](GgufMetadata& keys) { std::get<Texts>(keys["tokenizer.ggml.tokens"]).at(3).assign(1, 'a'); },
       "a token comes twice"},
      {[](GgufMetadata& keys) { keys["tokenizer.chat_template.x"] = true; }, "chat_template.x: expected a text"}};
  for (const Row& row : rows) {
    GgufMetadata keys = byte_level("gpt-2");
    row.change(keys);
    CHECK_THAT(std::string(gguf_text(keys).status().message()), Catch::Contains(row.part));
  }
  GgufMetadata keys = sentencepiece();
  std::get<Wholes>(keys["tokenizer.ggml.token_type"])[4] = 9;
  CHECK_THAT(std::string(gguf_text(keys).status().message()), Catch::Contains("9 is no type of a token"));
}

}  // namespace
}  // namespace coppice::server
