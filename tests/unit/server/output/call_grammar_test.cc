// Grammars of calls against the parsers of calls: what the one allows, the other reads as calls of the tools.
#include "server/output/call_grammar.h"

#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "proto/openai/json_reader.h"
#include "server/output/output_parser.h"
#include "tests/unit/text/grammar/byte_tokenizer.h"
#include "text/grammar/grammar.h"

namespace coppice::server {
namespace {

using openai::Json;
using openai::ToolChoice;

// Bytes, and the marks of the formats, special or not.
class MarkTokenizer final : public text::ByteTokenizer {
 public:
  explicit MarkTokenizer(bool are_special) : ByteTokenizer(kMarks), are_special_(are_special) {}

  std::optional<TokenId> token_to_id(std::string_view piece) const override {
    for (std::size_t i = 0; i < kMarks.size(); ++i) {
      if (kMarks[i] == piece) {
        return kByteCount + static_cast<TokenId>(i);
      }
    }
    return std::nullopt;
  }
  bool is_special(TokenId id) const override { return ByteTokenizer::is_special(id) || (are_special_ && is_mark(id)); }
  text::TokenText token_text(TokenId id, bool is_first) const override {
    text::TokenText text = ByteTokenizer::token_text(id, is_first);
    text.is_special = is_special(id);
    return text;
  }
  bool is_mark(TokenId id) const { return id >= kByteCount && id < kByteCount + static_cast<TokenId>(kMarks.size()); }

 private:
  static inline const std::vector<std::string> kMarks = {"[TOOL_CALLS]", "[ARGS]", "<tool_call>", "</tool_call>"};
  const bool are_special_;
};

Json tools(bool is_strict) {
  Json list = Json::parse(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{
      "city":{"type":"string"},"days":{"type":"integer"},"unit":{"type":"string","enum":["C","F"]},
      "tags":{"type":"array","items":{"type":"boolean"}}},"required":["city"],"additionalProperties":false}}},
    {"type":"function","function":{"name":"now"}},
    {"type":"function","function":{"name":"notes","parameters":{"type":"object","properties":{
      "a":{"type":["string","null"]},"b":{"$ref":"#/$defs/B"}},"$defs":{"B":{"type":"object","properties":{
      "n":{"type":"number"}},"required":["n"],"additionalProperties":false}},"additionalProperties":false}}}])");
  for (Json& tool : list) {
    tool["function"]["strict"] = is_strict;
  }
  return list;
}

struct World {
  World(std::string_view format, bool are_special)
      : tokenizer(are_special), rules(*find_tool_format(format), *find_reasoning_format("none"), tokenizer) {
    text::GrammarOptions options;
    for (const MarkToken& mark : rules.marks()) {
      options.marks.push_back(mark.token);
    }
    compiler =
        text::GrammarCompiler::create(tokenizer, tokenizer.vocab_size(), tokenizer.end_tokens(), options).value();
    request.kind = openai::RequestKind::kChat;
    request.chat.tools = std::make_shared<const Json>(tools(true));
    request.chat.has_tools = true;
  }

  text::CompiledGrammar compile() const {
    REQUIRE(needs_call_grammar(request.chat, {}, rules));
    const openai::Result<std::string> tag = call_grammar(rules, request.chat);
    REQUIRE(tag.ok());
    const absl::StatusOr<text::CompiledGrammar> grammar =
        compiler->compile({text::GrammarKind::kStructuralTag, tag.value()});
    INFO(tag.value() << "\n" << grammar.status());
    REQUIRE(grammar.ok());
    return *grammar;
  }

  // Text with marks to tokens.
  std::vector<TokenId> encode(std::string_view text) const {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      TokenId id = static_cast<unsigned char>(text.front());
      std::size_t bytes = 1;
      for (TokenId mark = text::ByteTokenizer::kByteCount; tokenizer.is_mark(mark); ++mark) {
        const std::string piece = tokenizer.piece(mark);
        if (text.starts_with(piece) && tokenizer.is_special(mark)) {
          id = mark;
          bytes = piece.size();
        }
      }
      ids.push_back(id);
      text.remove_prefix(bytes);
    }
    return ids;
  }

  struct Parsed {
    std::string text;
    std::vector<std::pair<std::string, std::string>> calls;
  };
  Parsed parse(const std::vector<TokenId>& ids) const {
    ParserSetup setup;
    setup.rules = &rules;
    setup.tools = std::make_shared<const ToolSet>(*request.chat.tools);
    const std::unique_ptr<OutputParser> parser = make_output_parser(request, setup);
    std::vector<openai::OutputItem> items;
    for (const TokenId id : ids) {
      if (const std::optional<Terminal> mark = parser->mark_of(id)) {
        parser->push_mark(*mark, items);
      } else {
        parser->push({tokenizer.piece(id)}, items);
      }
    }
    parser->end({}, {}, items);
    Parsed out;
    for (const openai::OutputItem& item : items) {
      if (const auto* const text = std::get_if<openai::TextDelta>(&item)) {
        out.text += text->text;
      } else if (const auto* const begin = std::get_if<openai::ToolCallBegin>(&item)) {
        out.calls.emplace_back(begin->name, "");
      } else if (const auto* const arguments = std::get_if<openai::ToolArgumentsDelta>(&item)) {
        out.calls.back().second += arguments->text;
      }
    }
    return out;
  }

  bool accepts(const text::CompiledGrammar& grammar, std::string_view text) const {
    text::GrammarMatcher matcher = text::GrammarMatcher::create(grammar).value();
    for (const TokenId id : encode(text)) {
      if (!matcher.accept(id).value()) {
        return false;
      }
    }
    return matcher.is_finished();
  }

  MarkTokenizer tokenizer;
  OutputRules rules;
  std::unique_ptr<text::GrammarCompiler> compiler;
  openai::GenerationRequest request;
};

struct Row {
  std::string format;
  std::string weather;  // one call of get_weather with city Ulm
  std::string both;     // and then one of now
  std::string wrong;    // a call that the schema forbids
};

const std::vector<Row> kRows = {
    {"hermes", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>",
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>\n<tool_call>\n"
     "{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"days\": 1}}\n</tool_call>"},
    {"llama3_json", R"({"name": "get_weather", "parameters": {"city": "Ulm"}})",
     R"({"name": "get_weather", "parameters": {"city": "Ulm"}}; {"name": "now", "parameters": {}})",
     R"({"name": "get_weather", "parameters": {"city": 1}})"},
    {"pythonic", "[get_weather(city=\"Ulm\")]", "[get_weather(city=\"Ulm\"), now()]", "[get_weather(days=1)]"},
    {"qwen3_coder",
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nUlm\n</parameter>\n</function>\n</tool_call>",
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nUlm\n</parameter>\n</function>\n</"
     "tool_call>\n<tool_call>\n"
     "<function=now>\n</function>\n</tool_call>",
     "<tool_call>\n<function=get_weather>\n<parameter=days>\n1\n</parameter>\n</function>\n</tool_call>"},
    {"mistral_v3", R"([TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Ulm"}}])",
     R"([TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Ulm"}}, {"name": "now", "arguments": {}}])",
     R"([TOOL_CALLS][{"name": "get_weather", "arguments": {}}])"},
    {"mistral", R"([TOOL_CALLS]get_weather[ARGS]{"city": "Ulm"})",
     R"([TOOL_CALLS]get_weather[ARGS]{"city": "Ulm"}[TOOL_CALLS]now[ARGS]{})", R"([TOOL_CALLS]get_weather[ARGS]{})"},
};

TEST_CASE("a call that is demanded: the grammar takes what the template writes, and nothing else") {
  for (const bool are_special : {false, true}) {
    for (const Row& row : kRows) {
      INFO(row.format << (are_special ? " with special tokens" : ""));
      World world(row.format, are_special);
      world.request.chat.tool_choice = ToolChoice::kRequired;
      const text::CompiledGrammar grammar = world.compile();
      CHECK(grammar.unenforced().empty());
      CHECK(world.accepts(grammar, row.weather));
      CHECK(world.accepts(grammar, row.both));
      CHECK_FALSE(world.accepts(grammar, row.wrong));
      CHECK_FALSE(world.accepts(grammar, ""));
      CHECK_FALSE(world.accepts(grammar, "Hello"));
      CHECK_FALSE(world.accepts(grammar, "Hello " + row.weather));
      const World::Parsed read = world.parse(world.encode(row.both));
      CHECK(read.text.empty());
      REQUIRE(read.calls.size() == 2);
      CHECK(read.calls[0].second == R"({"city": "Ulm"})");
      world.request.chat.parallel_tool_calls = false;
      const text::CompiledGrammar one = world.compile();
      CHECK(world.accepts(one, row.weather));
      CHECK_FALSE(world.accepts(one, row.both));
    }
  }
}

TEST_CASE("a named call: exactly one, of that tool") {
  for (const Row& row : kRows) {
    INFO(row.format);
    World world(row.format, true);
    world.request.chat.tool_choice = ToolChoice::kNamed;
    world.request.chat.called_tool = "get_weather";
    const text::CompiledGrammar grammar = world.compile();
    CHECK(world.accepts(grammar, row.weather));
    CHECK_FALSE(world.accepts(grammar, row.both));
    world.request.chat.called_tool = "now";
    CHECK_FALSE(world.accepts(world.compile(), row.weather));
  }
}

TEST_CASE("strict tools of the model's own choice: free text, and calls that match their schemas") {
  for (const bool are_special : {false, true}) {
    for (const Row& row : kRows) {
      INFO(row.format << (are_special ? " with special tokens" : ""));
      World world(row.format, are_special);
      const text::CompiledGrammar grammar = world.compile();
      CHECK(world.accepts(grammar, ""));
      CHECK(world.accepts(grammar, "Hello {\"a\": [1]}"));
      CHECK(world.accepts(grammar, row.weather));
      CHECK(world.accepts(grammar, row.both));
      CHECK_FALSE(world.accepts(grammar, row.wrong));
    }
  }
}

TEST_CASE("an answer in JSON, or calls instead of it") {
  for (const Row& row : kRows) {
    INFO(row.format);
    World world(row.format, false);
    openai::OutputFormat content;
    content.kind = openai::OutputFormatKind::kJsonSchema;
    content.text =
        R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false})";
    CHECK(needs_call_grammar(world.request.chat, content, world.rules));
    const openai::Result<std::string> tag = call_grammar(world.rules, world.request.chat, content);
    REQUIRE(tag.ok());
    const text::CompiledGrammar grammar =
        world.compiler->compile({text::GrammarKind::kStructuralTag, tag.value()}).value();
    CHECK(world.accepts(grammar, R"({"a": 1})"));
    CHECK(world.accepts(grammar, row.both));
    CHECK_FALSE(world.accepts(grammar, R"({"b": 1})"));
    CHECK_FALSE(world.accepts(grammar, "Hello"));
  }
}

TEST_CASE("tools that are not strict and not demanded need no grammar; formats without calls cannot be forced") {
  World world("hermes", false);
  world.request.chat.tools = std::make_shared<const Json>(tools(false));
  CHECK_FALSE(needs_call_grammar(world.request.chat, {}, world.rules));
  world.request.chat.tool_choice = ToolChoice::kRequired;
  CHECK(needs_call_grammar(world.request.chat, {}, world.rules));
  const openai::Result<std::string> refused = call_grammar(OutputRules(), world.request.chat);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().param == "tool_choice");
  Json odd = tools(true);
  odd[0]["function"]["parameters"]["not"] = Json::object();
  world.request.chat.tools = std::make_shared<const Json>(odd);
  const openai::Result<std::string> unenforced = call_grammar(world.rules, world.request.chat);
  REQUIRE_FALSE(unenforced.ok());
  CHECK(unenforced.error().param == "tools[0].function.parameters");
  CHECK(unenforced.error().message.find("`not`") != std::string::npos);
}

// Halves of characters, which JSON's grammar has and no library reads, made whole ones.
std::string without_surrogates(const std::string& json) {
  return std::regex_replace(json, std::regex(R"(\\u[dD][89a-fA-F])"), R"(\u00)");
}

// Follows the grammar at random: mostly the likelier bytes, the end as soon as it may come.
std::vector<TokenId> random_walk(const World& world, const text::CompiledGrammar& grammar, std::mt19937& random,
                                 bool& is_finished) {
  constexpr std::size_t kTokensMax = 400;
  text::GrammarMatcher matcher = text::GrammarMatcher::create(grammar).value();
  std::vector<std::uint32_t> mask(matcher.mask_words());
  std::vector<TokenId> ids;
  const std::string likely = "\"\"\"}]),:0\n<>/ aeU\\nu{['";
  is_finished = false;
  while (ids.size() < kTokensMax) {
    if (matcher.is_finished() && random() % 3 != 0) {
      is_finished = true;
      break;
    }
    REQUIRE(matcher.fill_mask(mask).ok());
    const auto is_allowed = [&mask](TokenId id) {
      return (mask[static_cast<std::size_t>(id / 32)] >> (static_cast<std::uint32_t>(id) % 32U) & 1U) != 0;
    };
    std::vector<TokenId> allowed;
    for (const char c : likely) {
      if (is_allowed(static_cast<unsigned char>(c))) {
        allowed.push_back(static_cast<unsigned char>(c));
      }
    }
    if (allowed.empty() || random() % 8 == 0) {
      for (TokenId id = 0; id < world.tokenizer.vocab_size(); ++id) {
        const bool is_end = id == world.tokenizer.end_tokens()[0] || id == world.tokenizer.end_tokens()[1];
        const bool is_ascii = id < 0x80 || id >= text::ByteTokenizer::kByteCount;  // other bytes need their neighbours
        if (is_allowed(id) && is_ascii && !is_end) {
          allowed.push_back(id);
        }
      }
    }
    if (allowed.empty()) {
      is_finished = matcher.is_finished();
      break;
    }
    ids.push_back(allowed[random() % allowed.size()]);
    REQUIRE(matcher.accept(ids.back()).value());
  }
  return ids;
}

TEST_CASE("whatever a grammar allows is read as calls of its tools, with arguments that are JSON") {
  constexpr int kWalks = 60;
  std::mt19937 random(14);
  for (const bool are_special : {false, true}) {
    for (const Row& row : kRows) {
      World world(row.format, are_special);
      world.request.chat.tool_choice = ToolChoice::kRequired;
      const text::CompiledGrammar grammar = world.compile();
      int finished = 0;
      for (int i = 0; i < kWalks; ++i) {
        bool is_finished = false;
        const std::vector<TokenId> ids = random_walk(world, grammar, random, is_finished);
        std::string text;
        for (const TokenId id : ids) {
          text += world.tokenizer.piece(id);
        }
        INFO(row.format << (are_special ? " with special tokens: " : ": ") << text);
        const World::Parsed read = world.parse(ids);
        if (!is_finished) {
          continue;
        }
        ++finished;
        CHECK(read.text.empty());
        REQUIRE(!read.calls.empty());
        for (const auto& [name, arguments] : read.calls) {
          const nlohmann::json value = nlohmann::json::parse(without_surrogates(arguments), nullptr, false);
          INFO(arguments);
          REQUIRE(value.is_object());
          if (name == "get_weather") {
            CHECK(value["city"].is_string());
            CHECK((!value.contains("days") || value["days"].is_number_integer()));
            CHECK((!value.contains("unit") || value["unit"] == "C" || value["unit"] == "F"));
            CHECK((!value.contains("tags") || value["tags"].is_array()));
          } else if (name == "notes" && value.contains("b")) {
            CHECK(value["b"]["n"].is_number());
          }
        }
      }
      CHECK(finished > kWalks / 4);
    }
  }
}

}  // namespace
}  // namespace coppice::server
