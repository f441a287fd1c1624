// Grammars of calls against the parsers of calls: what the one allows, the other reads as calls of the tools.
#include "server/output/call_grammar.h"

#include <catch2/catch.hpp>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "tests/unit/server/output/held_calls.h"

namespace coppice::server {
namespace {

using openai::Json;
using openai::ToolChoice;

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
      HeldCalls world(row.format, are_special);
      world.request.chat.tool_choice = ToolChoice::kRequired;
      const text::CompiledGrammar grammar = world.compile();
      CHECK(grammar.unenforced().empty());
      CHECK(world.accepts(grammar, row.weather));
      CHECK(world.accepts(grammar, row.both));
      CHECK_FALSE(world.accepts(grammar, row.wrong));
      CHECK_FALSE(world.accepts(grammar, ""));
      CHECK_FALSE(world.accepts(grammar, "Hello"));
      CHECK_FALSE(world.accepts(grammar, "Hello " + row.weather));
      const HeldCalls::Parsed read = world.parse(world.encode(row.both));
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
    HeldCalls world(row.format, true);
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
      HeldCalls world(row.format, are_special);
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
    HeldCalls world(row.format, false);
    openai::OutputFormat content;
    content.kind = openai::OutputFormatKind::kJsonSchema;
    content.text =
        R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false})";
    CHECK(needs_call_grammar(world.request.chat, content, world.rules));
    const openai::Result<CallGrammar> tag = call_grammar(world.rules, world.request.chat, content);
    REQUIRE(tag.ok());
    const text::CompiledGrammar grammar =
        world.compiler->compile({text::GrammarKind::kStructuralTag, tag.value().tag}).value();
    CHECK(world.accepts(grammar, R"({"a": 1})"));
    CHECK(world.accepts(grammar, row.both));
    CHECK_FALSE(world.accepts(grammar, R"({"b": 1})"));
    CHECK_FALSE(world.accepts(grammar, "Hello"));
    content.field = "response_format";
    content.text = R"({"type":"array","uniqueItems":true})";
    const openai::Result<CallGrammar> loose = call_grammar(world.rules, world.request.chat, content);
    REQUIRE(loose.ok());
    REQUIRE(loose.value().unenforced.size() == 1);
    CHECK(loose.value().unenforced[0].pointer == "#/response_format");
  }
}

TEST_CASE("tools that are not strict and not demanded need no grammar; formats without calls cannot be forced") {
  HeldCalls world("hermes", false);
  world.request.chat.tools = std::make_shared<const Json>(tools_of_calls(false));
  CHECK_FALSE(needs_call_grammar(world.request.chat, {}, world.rules));
  world.request.chat.tool_choice = ToolChoice::kRequired;
  CHECK(needs_call_grammar(world.request.chat, {}, world.rules));
  const openai::Result<CallGrammar> refused = call_grammar(OutputRules(), world.request.chat);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().param == "tool_choice");
  Json odd = tools_of_calls(true);
  odd[0]["function"]["parameters"]["not"] = Json::object();
  world.request.chat.tools = std::make_shared<const Json>(odd);
  const openai::Result<CallGrammar> unenforced = call_grammar(world.rules, world.request.chat);
  REQUIRE_FALSE(unenforced.ok());
  CHECK(unenforced.error().param == "tools[0].function.parameters");
  CHECK(unenforced.error().message.find("`not`") != std::string::npos);
}

TEST_CASE("a call that is demanded beside an answer that is none is refused; strict tools beside one are named") {
  HeldCalls world("hermes", false);
  openai::OutputFormat content;
  content.kind = openai::OutputFormatKind::kRegex;
  content.field = "structured_outputs.regex";
  CHECK_FALSE(needs_call_grammar(world.request.chat, content, world.rules));
  CHECK(strict_tools_unheld(world.request.chat, content).size() == 3);
  CHECK(strict_tools_unheld(world.request.chat, {}).empty());
  world.request.chat.tool_choice = ToolChoice::kRequired;
  REQUIRE(needs_call_grammar(world.request.chat, content, world.rules));
  const openai::Result<CallGrammar> refused = call_grammar(world.rules, world.request.chat, content);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().param == "tool_choice");
  CHECK(refused.error().message.find("'structured_outputs.regex'") != std::string::npos);
  content.kind = openai::OutputFormatKind::kJsonObject;  // of the message's content, of which there is none
  CHECK(call_grammar(world.rules, world.request.chat, content).ok());
}

TEST_CASE("what is read as a call of a strict tool is what the grammar held to it") {
  // Spellings that the grammar of free text does not see.
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"llama3_json", R"({"name":"get_weather","parameters":{"days":1}})"},
      {"llama3_json", R"({ "name": "get_weather", "parameters": {"days": 1}})"},
      {"llama3_json", R"({"parameters": {"days": 1}, "name": "get_weather"})"},
      {"llama3_json", R"(<|python_tag|>{"name":"get_weather","parameters":{"days":1}})"},
      {"pythonic", "[ get_weather(days=1)]"},
      {"pythonic", "[\nget_weather(days=1)]"},
      {"pythonic", "<|python_start|>get_weather(days=1)"},
      {"pythonic", "<|python_start|>[ get_weather(days=1)]"}};
  for (const auto& [format, text] : rows) {
    INFO(format << " " << text);
    HeldCalls world(format, false);
    const text::CompiledGrammar grammar = world.compile();
    REQUIRE(world.accepts(grammar, text));
    CHECK(world.parse(world.encode(text)).calls.size() == 1);
    const HeldCalls::Parsed held = world.parse(world.encode(text), CallHold::kInText);
    CHECK(held.calls.empty());
    CHECK(held.text == text);
  }
  for (const Row& row : kRows) {  // the template's own spelling, behind text where the format has a mark
    for (const bool are_special : {false, true}) {
      INFO(row.format);
      HeldCalls world(row.format, are_special);
      CHECK(world.parse(world.encode(row.both), CallHold::kInText).calls.size() == 2);
      CHECK(world.parse(world.encode("\n" + row.both), CallHold::kInText).calls.size() == 2);
      CHECK(world.parse(world.encode(row.both), CallHold::kInstead).calls.size() == 2);
    }
  }
  // Joined calls in another spelling; a function's tag where the grammar waits for a token.
  HeldCalls llama("llama3_json", false);
  const std::string joined = kRows[1].weather + R"(; {"name":"now","parameters":{}})";
  CHECK(llama.parse(llama.encode(joined), CallHold::kInText).calls.size() == 1);
  HeldCalls coder("qwen3_coder", true);
  const std::string function = "<function=now>\n</function>";
  CHECK(coder.accepts(coder.compile(), "<function=get_weather>\n</function>"));
  CHECK(coder.parse(coder.encode(function)).calls.size() == 1);
  CHECK(coder.parse(coder.encode(function), CallHold::kInText).calls.empty());
  // JSON in which a call is spelled.
  const std::string json = R"({"a": "<function=now></function>"})";
  CHECK(coder.parse(coder.encode(json), CallHold::kInstead).text == json);
  HeldCalls texts("qwen3_coder", false);
  CHECK(texts.parse(texts.encode(json), CallHold::kInstead).text == json);
}

TEST_CASE("a demanded call that is cut off is a call from its name on, and nothing before, streamed or whole") {
  for (const bool are_special : {false, true}) {
    for (const Row& row : kRows) {
      HeldCalls world(row.format, are_special);
      const std::vector<TokenId> ids = world.encode(row.both);
      std::size_t calls = 0;
      for (std::size_t cut = 0; cut <= ids.size(); ++cut) {
        INFO(row.format << " cut after " << cut);
        const HeldCalls::Parsed read =
            world.parse({ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cut)}, CallHold::kDemanded);
        CHECK(read.text.empty());
        CHECK(read.calls.size() >= calls);
        calls = read.calls.size();
        CHECK((calls == 0 || read.calls[0].first == "get_weather"));
      }
      CHECK(calls == 2);
    }
  }
  HeldCalls llama("llama3_json", false);
  CHECK(llama.parse(llama.encode(R"({"name": "get_weather")"), CallHold::kDemanded).calls.size() == 1);
}

// Halves of characters, which JSON's grammar has and no library reads, made whole ones.
std::string without_surrogates(const std::string& json) {
  return std::regex_replace(json, std::regex(R"(\\u[dD][89a-fA-F])"), R"(\u00)");
}

// Follows the grammar at random: mostly the likelier bytes, the end as soon as it may come.
std::vector<TokenId> random_walk(const HeldCalls& world, const text::CompiledGrammar& grammar, std::mt19937& random,
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
      HeldCalls world(row.format, are_special);
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
        const HeldCalls::Parsed read = world.parse(ids);
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
