// tokenizer_config.json and the files beside it.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/unit/text/tokenizer/fixtures.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {
namespace {

// A folder of files that goes away with it.
class ScratchFolder {
 public:
  ScratchFolder() : path_(std::filesystem::temp_directory_path() / "coppice_tokenizer_config_test") {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  void write(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST_CASE("every field") {
  const TokenizerConfig config = tokenizer_config_from_json(R"({
    "tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": false, "legacy": false,
    "bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false}, "unk_token": null,
    "pad_token": false, "model_max_length": 1000000000000000019884624838656,
    "additional_special_tokens": ["<a>", {"content": "<b>"}],
    "added_tokens_decoder": {"12": {"content": "<b>", "special": true, "rstrip": true, "normalized": false},
                             "3": {"content": "<a>", "lstrip": true, "single_word": true}},
    "chat_template": [{"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"}]})")
                                     .value();
  CHECK(config.tokenizer_class == "LlamaTokenizer");
  CHECK(config.add_bos_token == true);
  CHECK(config.add_eos_token == false);
  CHECK(config.legacy == false);
  CHECK_FALSE(config.add_prefix_space.has_value());
  CHECK(config.bos_token == "<s>");
  CHECK(config.eos_token == "</s>");
  CHECK(config.unk_token.empty());
  CHECK(config.pad_token.empty());
  CHECK(config.model_max_length == 0);
  CHECK(config.additional_special_tokens == std::vector<std::string>{"<a>", "<b>"});
  REQUIRE(config.added_tokens.size() == 2);
  CHECK(config.added_tokens[0].id == 3);
  CHECK(config.added_tokens[0].lstrip);
  CHECK(config.added_tokens[0].single_word);
  CHECK(config.added_tokens[0].normalized);
  CHECK(config.added_tokens[1].content == "<b>");
  CHECK(config.added_tokens[1].special);
  CHECK(config.added_tokens[1].rstrip);
  CHECK_FALSE(config.added_tokens[1].normalized);
  CHECK(config.chat_template() == "one");
  CHECK(config.chat_template("tool_use") == "two");
  CHECK_FALSE(config.chat_template("rag").has_value());
}

TEST_CASE("malformed fields are refused by name") {
  const std::pair<const char*, const char*> cases[] = {
      {"[1]", "must be a JSON object"},
      {"{\"a\": ", "not JSON"},
      {R"({"bos_token": 7})", "bos_token"},
      {R"({"eos_token": {"text": "x"}})", "eos_token"},
      {R"({"add_bos_token": "yes"})", "add_bos_token"},
      {R"({"tokenizer_class": []})", "tokenizer_class"},
      {R"({"model_max_length": "long"})", "model_max_length"},
      {R"({"added_tokens_decoder": []})", "added_tokens_decoder"},
      {R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "\"x\" is no token id"},
      {R"({"added_tokens_decoder": {"-1": {"content": "a"}}})", "\"-1\" is no token id"},
      {R"({"added_tokens_decoder": {"99999999999": {"content": "a"}}})", "no token id"},
      {R"({"added_tokens_decoder": {"1": {"special": true}}})", "content"},
      {R"({"added_tokens_decoder": {"1": {"content": "a", "special": 1}}})", "special"},
      {R"({"chat_template": 5})", "chat_template"},
      {R"({"chat_template": [{"name": "a"}]})", "chat_template"},
      {R"({"additional_special_tokens": "a"})", "additional_special_tokens"}};
  for (const auto& [json, wanted] : cases) {
    const auto config = tokenizer_config_from_json(json);
    INFO(json);
    REQUIRE(config.status().code() == absl::StatusCode::kInvalidArgument);
    const std::string message(config.status().message());
    INFO(message);
    CHECK(message.find(wanted) != std::string::npos);
  }
  std::string deep = R"({"a": )";
  for (int level = 0; level < 100; ++level) {
    deep += "[";
  }
  CHECK_FALSE(tokenizer_config_from_json(deep).ok());
}

TEST_CASE("files beside it") {
  const ScratchFolder folder;
  CHECK(load_tokenizer_config(folder.path()).value().tokenizer_class.empty());
  folder.write("special_tokens_map.json", R"({"bos_token": "<from map>", "eos_token": {"content": "</from map>"}})");
  folder.write("added_tokens.json", R"({"</from map>": 9, "<x>": 4})");
  folder.write("chat_template.json", R"({"chat_template": "older"})");
  TokenizerConfig config = load_tokenizer_config(folder.path()).value();
  CHECK(config.bos_token == "<from map>");
  CHECK(config.eos_token == "</from map>");
  REQUIRE(config.added_tokens.size() == 2);
  CHECK(config.added_tokens[0].id == 4);
  CHECK_FALSE(config.added_tokens[0].special);
  CHECK(config.added_tokens[1].special);
  CHECK(config.chat_template() == "older");

  folder.write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "inside",
                                            "added_tokens_decoder": {"1": {"content": "<s>"}}})");
  folder.write("chat_template.jinja", "from file\n");
  folder.write("additional_chat_templates/rag.jinja", "rag");
  config = load_tokenizer_config(folder.path()).value();
  CHECK(config.bos_token == "<s>");
  CHECK(config.eos_token == "</from map>");
  CHECK(config.added_tokens.size() == 1);
  CHECK(config.chat_template() == "from file\n");
  CHECK(config.chat_template("rag") == "rag");

  folder.write("tokenizer_config.json", "{");
  CHECK(load_tokenizer_config(folder.path()).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a folder without a tokenizer") {
  const ScratchFolder folder;
  CHECK(load_tokenizer(folder.path()).status().code() == absl::StatusCode::kNotFound);
  folder.write("tokenizer.model", "no model");
  CHECK(load_tokenizer(folder.path()).status().code() == absl::StatusCode::kInvalidArgument);
  folder.write("tokenizer.json", "{}");
  CHECK(load_tokenizer(folder.path()).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("special tokens of the fixtures") {
  const std::unique_ptr<Tokenizer> llama3 = load_fixture("llama3");
  CHECK(llama3->special().add_bos);
  CHECK_FALSE(llama3->special().add_eos);
  CHECK(llama3->piece(llama3->special().bos) == "<|begin_of_text|>");
  CHECK(llama3->piece(llama3->special().eos) == "<|eot_id|>");
  CHECK(llama3->kind() == "bpe");
  const std::unique_ptr<Tokenizer> qwen2 = load_fixture("qwen2");
  CHECK(qwen2->special().bos == -1);
  CHECK_FALSE(qwen2->special().add_bos);
  CHECK(qwen2->piece(qwen2->special().pad) == "<|endoftext|>");
  CHECK_FALSE(qwen2->is_special(qwen2->token_to_id("<think>").value()));
  const std::unique_ptr<Tokenizer> model = load_fixture("sentencepiece_new");
  CHECK(model->special().add_bos);
  CHECK(model->special().add_eos);
  CHECK(model->special().bos == 1);
  CHECK(model->special().eos == 2);
  CHECK(model->kind() == "sentencepiece");
}

}  // namespace
}  // namespace coppice::text
