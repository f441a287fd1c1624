// Tool calls in generated text, whole and in pieces.
#include "server/output/tool_call_parser.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

namespace coppice::server {
namespace {

using openai::FinishReason;
using openai::OutputItem;

struct Call {
  std::string id;
  std::string name;
  std::string arguments;
};

struct Parsed {
  std::string text;
  std::vector<Call> calls;
  std::vector<std::vector<OutputItem>> pushed;  // what each push, and at last the end, gave
  openai::Finish finish;
};

// Every item to the strings it makes.
struct Collect {
  void operator()(const openai::TextDelta& item) const { out.text += item.text; }
  void operator()(const openai::ReasoningDelta& /*item*/) const { FAIL("no reasoning here"); }
  void operator()(const openai::ToolCallBegin& item) const {
    CHECK(item.call == static_cast<std::int32_t>(out.calls.size()));
    out.calls.push_back({item.id, item.name, ""});
  }
  void operator()(const openai::ToolArgumentsDelta& item) const {
    out.calls.at(static_cast<std::size_t>(item.call)).arguments += item.text;
  }
  void operator()(const openai::Finish& item) const { out.finish = item; }

  Parsed& out;
};

// Feeds `text` in tokens of `piece` bytes, each with its entry.
Parsed parse(const std::string& text, std::size_t piece, FinishReason reason = FinishReason::kStop) {
  ToolCallParser parser{CallIds()};
  Parsed out;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    openai::TextDelta delta;
    delta.text = text.substr(at, piece);
    openai::TokenEntry entry;
    entry.bytes = delta.text;
    entry.text_offset = static_cast<std::int64_t>(at);
    delta.tokens.push_back(entry);
    parser.push(0, std::move(delta), out.pushed.emplace_back());
  }
  openai::Finish finish;
  finish.reason = reason;
  parser.end({}, finish, out.pushed.emplace_back());
  for (const std::vector<OutputItem>& items : out.pushed) {
    for (const OutputItem& item : items) {
      std::visit(Collect{out}, item);
    }
  }
  return out;
}

const std::vector<openai::TokenEntry>& tokens_of(const OutputItem& item) {
  static const std::vector<openai::TokenEntry> kNone;
  return std::visit(
      [](const auto& any) -> const std::vector<openai::TokenEntry>& {
        if constexpr (requires { any.tokens; }) {
          return any.tokens;
        } else {
          return kNone;
        }
      },
      item);
}

TEST_CASE("text without calls passes unchanged, whatever the pieces") {
  for (const char* const literal :
       {"plain text", "a < b <tool", "<tool_cal l>", "", "  ", "x {\"name\":1}", "{not json", "{\"name\":\"f\"}",
        "<tool_call>broken", "<tool_call>{\"name\":\"f\"}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call> and more"}) {
    const std::string text = literal;
    for (const std::size_t piece : {1U, 2U, 5U, 100U}) {
      INFO(text << " by " << piece);
      const Parsed out = parse(text, piece);
      CHECK(out.text == text);
      CHECK(out.calls.empty());
      CHECK(out.finish.reason == FinishReason::kStop);
    }
  }
}

TEST_CASE("Hermes calls, with text before them") {
  const std::string text =
      "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, \"</tool\"]}}\n</tool_call>\n"
      "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>";
  for (const std::size_t piece : {1U, 3U, 1000U}) {
    const Parsed out = parse(text, piece);
    CHECK(out.text == "Let me see.\n");
    REQUIRE(out.calls.size() == 2);
    CHECK(out.calls[0].name == "f");
    CHECK(out.calls[0].arguments == R"({"x": [1, "</tool"]})");
    CHECK(out.calls[0].id != out.calls[1].id);
    CHECK(out.calls[1].id.starts_with("call_"));
    CHECK(out.finish.reason == FinishReason::kToolCalls);
  }
}

TEST_CASE("a last block without its end is taken: the stop string may have been it") {
  CHECK(parse("<tool_call>{\"name\":\"f\",\"arguments\":{}}", 4).calls.size() == 1);
}

TEST_CASE("Llama 3 calls: the whole answer is the object") {
  const Parsed out = parse("\n{\"name\":\"f\",\"parameters\":{\"a\":\"b\"}}", 3);
  CHECK(out.text.empty());
  REQUIRE(out.calls.size() == 1);
  CHECK(out.calls[0].arguments == R"({"a":"b"})");
}

TEST_CASE("an answer cut off by its length keeps that reason") {
  const Parsed out = parse("{\"name\":\"f\",\"parameters\":{}}", 5, FinishReason::kLength);
  CHECK(out.finish.reason == FinishReason::kLength);
  CHECK(out.calls.size() == 1);
}

TEST_CASE("token entries leave with the text they made, also when it was held back") {
  for (const char* const literal :
       {"plain text", "a <tool", "  x", "{not json", "<tool_call>broken",
        "Hm.<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}"}) {
    const std::string text = literal;
    for (const std::size_t piece : {1U, 2U, 7U}) {
      INFO(text << " by " << piece);
      const Parsed out = parse(text, piece);
      std::int64_t characters = 0;  // of the raw text that is out
      std::int64_t next = 0;
      for (const std::vector<OutputItem>& items : out.pushed) {
        for (const OutputItem& item : items) {
          const auto* const delta = std::get_if<openai::TextDelta>(&item);
          characters = static_cast<std::int64_t>(
              delta == nullptr ? text.size() : static_cast<std::size_t>(characters) + delta->text.size());
          for (const openai::TokenEntry& entry : tokens_of(item)) {
            CHECK(entry.text_offset == next);
            CHECK(entry.text_offset < characters);
            next += static_cast<std::int64_t>(piece);
          }
          CHECK((delta == nullptr || next >= characters));
        }
      }
      CHECK(next >= static_cast<std::int64_t>(text.size()));  // every entry is out
    }
  }
}

TEST_CASE("each call has the token entries of its block") {
  const std::string block = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>";
  const Parsed out = parse("ab" + block + block, 1);
  std::vector<std::size_t> counts;
  for (const OutputItem& item : out.pushed.back()) {
    if (std::holds_alternative<openai::ToolCallBegin>(item)) {
      counts.push_back(tokens_of(item).size());
    }
  }
  CHECK(counts == std::vector<std::size_t>{block.size(), block.size()});
}

TEST_CASE("arguments are as the model wrote them, whatever stands around them") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"name":"f","arguments":{"n":123456789012345678901234567890,"x":1.50}})",
       R"({"n":123456789012345678901234567890,"x":1.50})"},
      {R"({"arguments" : {"a": "\"},{\\", "b": [{}]} , "name":"f"})", R"({"a": "\"},{\\", "b": [{}]})"},
      {R"({"arg":{"arguments":1},"parameters":{"u":"\u00e9"},"name":"f"})", R"({"u":"\u00e9"})"},
      {R"({"name":"f","arguments":"{\"a\": 1}"})", R"({"a": 1})"},
      {R"({"name":"f","arguments":[]})", "[]"}};
  for (const auto& [text, arguments] : cases) {
    INFO(text);
    const Parsed out = parse("<tool_call>" + text + "</tool_call>", 7);
    REQUIRE(out.calls.size() == 1);
    CHECK(out.calls[0].arguments == arguments);
  }
}

// Far above what linear work takes, far below what quadratic work would.
constexpr std::chrono::seconds kLinear{10};

TEST_CASE("long answers take time that grows with their length: many calls, and white space alone") {
  const auto begin = std::chrono::steady_clock::now();
  std::string calls;
  constexpr int kCalls = 60'000;
  for (int i = 0; i < kCalls; ++i) {
    calls += R"(<tool_call>{"name":"f","arguments":{}}</tool_call>)";
  }
  const Parsed many = parse(calls, 64);
  CHECK(many.calls.size() == kCalls);
  CHECK(many.text.empty());
  const Parsed blank = parse(std::string(400'000, ' '), 1);
  CHECK(blank.calls.empty());
  CHECK(blank.text.size() == 400'000);
  CHECK(std::chrono::steady_clock::now() - begin < kLinear);
}

}  // namespace
}  // namespace coppice::server
