// Formats found from templates and special tokens.
#include "server/prompts/choose_formats.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

struct Found {
  std::string tools;
  std::string reasoning;
};

Found find(const std::string& source, const FormatNames& names = {}, std::vector<std::string> special = {}) {
  text::TestTokenizer tokenizer({"a", "[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "<tool_call>"});
  tokenizer.more_special = std::move(special);
  text::TokenizerConfig config;
  config.chat_templates = {{"default", source}};
  const std::unique_ptr<ChatPrompter> prompter = ChatPrompter::create(config, tokenizer).value();
  const OutputRules rules = choose_formats(names, source.empty() ? nullptr : prompter.get(), tokenizer);
  return {std::string(rules.tools().name), std::string(rules.reasoning().name)};
}

TEST_CASE("the format is the one that the chat template writes") {
  struct Row {
    std::string source;
    std::string tools;
    std::string reasoning;
  };
  const std::vector<Row> rows = {
      {"{{ messages[0].content }}", "none", "none"},
      {R"({{ '<tool_call>\n{"name": "' }}{{ '</tool_call>' }})", "hermes", "none"},
      {R"(<tool_call>\n<function=f>\n<parameter=k>)", "qwen3_coder", "none"},
      {R"({{ '[TOOL_CALLS] [' }})", "mistral_v3", "none"},
      {R"({{ '[TOOL_CALLS]' }}{{ name + '[ARGS]' }})", "mistral", "none"},
      {R"({{ '{"name": "' + name + '", ' }}{{ '"parameters": ' }}{{ 'ipython' }})", "llama3_json", "none"},
      {R"([func_name1(params_name1=params_value1)])", "pythonic", "none"},
      {R"(<tool_call>{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %})", "hermes", "qwen3"},
      {R"({{ '<|Assistant|><think>\n' }})", "none", "deepseek_r1"},
      {R"([TOOL_CALLS][ARGS][THINK])", "mistral", "mistral"},
  };
  for (const Row& row : rows) {
    INFO(row.source);
    const Found found = find(row.source);
    CHECK(found.tools == row.tools);
    CHECK(found.reasoning == row.reasoning);
  }
}

TEST_CASE("a tool template goes before the default one") {
  text::TestTokenizer tokenizer({"a"});
  text::TokenizerConfig config;
  config.chat_templates = {{"default", "x"}, {"tool_use", "<tool_call>"}};
  const std::unique_ptr<ChatPrompter> prompter = ChatPrompter::create(config, tokenizer).value();
  CHECK(choose_formats({}, prompter.get(), tokenizer).tools().name == "hermes");
}

TEST_CASE("special tokens tell where the template does not; what the operator names goes before both") {
  CHECK(find("x", {}, {"[TOOL_CALLS]", "[ARGS]"}).tools == "mistral");
  CHECK(find("x", {}, {"[TOOL_CALLS]"}).tools == "mistral_v3");
  CHECK(find("x", {}, {"[THINK]", "[/THINK]"}).reasoning == "mistral");
  const Found named = find("<tool_call><think>", {.tools = "pythonic", .reasoning = "none"});
  CHECK(named.tools == "pythonic");
  CHECK(named.reasoning == "none");
}

TEST_CASE("where an answer begins: from the end of its prompt, or from the message that it continues") {
  const text::TestTokenizer tokenizer({"a", "\n", "<", "think>", "/think>"});
  const ReasoningFormat& format = *find_reasoning_format("qwen3");
  CHECK(reasoning_start({2, 4, 5, 3}, format, tokenizer) == ReasoningStart::kOpen);
  CHECK(reasoning_start({4, 5, 3, 3, 4, 6, 3, 3}, format, tokenizer) == ReasoningStart::kOver);
  CHECK(reasoning_start({4, 5, 2}, format, tokenizer) == ReasoningStart::kUnsaid);
  CHECK(reasoning_start({4, 5}, *find_reasoning_format("none"), tokenizer) == ReasoningStart::kOver);
  CHECK(reasoning_start("<think>\nI see", format) == ReasoningStart::kOpen);
  CHECK(reasoning_start("<think>\nI see</think>So", format) == ReasoningStart::kOver);
  CHECK(reasoning_start("So", format) == ReasoningStart::kUnsaid);
}

}  // namespace
}  // namespace coppice::server
