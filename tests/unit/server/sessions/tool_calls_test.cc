// Tool calls in generated text, whole and in pieces.
#include "server/sessions/tool_calls.h"

#include <catch2/catch.hpp>
#include <string>

namespace coppice::server {
namespace {

struct Scanned {
  std::string text;
  openai::ChoiceDelta last;
};

// Feeds `text` in pieces of `piece` bytes.
Scanned scan(const std::string& text, std::size_t piece) {
  ToolCallScanner scanner("call_");
  Scanned out;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    out.text += scanner.filter(text.substr(at, piece));
  }
  out.last.finish = openai::Finish::kStop;
  scanner.finish(out.last);
  out.text += out.last.text;
  return out;
}

TEST_CASE("text without calls passes unchanged, whatever the pieces") {
  for (const char* const literal :
       {"plain text", "a < b <tool", "<tool_cal l>", "", "  ", "x {\"name\":1}", "{not json", "{\"name\":\"f\"}",
        "<tool_call>broken", "<tool_call>{\"name\":\"f\"}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call> and more"}) {
    const std::string text = literal;
    for (const std::size_t piece : {1U, 2U, 5U, 100U}) {
      INFO(text << " by " << piece);
      const Scanned out = scan(text, piece);
      CHECK(out.text == text);
      CHECK(out.last.tool_calls.empty());
      CHECK(out.last.finish == openai::Finish::kStop);
    }
  }
}

TEST_CASE("Hermes calls, with text before them") {
  const std::string text =
      "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, \"</tool\"]}}\n</tool_call>\n"
      "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>";
  for (const std::size_t piece : {1U, 3U, 1000U}) {
    const Scanned out = scan(text, piece);
    CHECK(out.text == "Let me see.\n");
    REQUIRE(out.last.tool_calls.size() == 2);
    CHECK(out.last.tool_calls[0].name == "f");
    CHECK(out.last.tool_calls[0].arguments == R"({"x":[1,"</tool"]})");
    CHECK(out.last.tool_calls[0].id == "call_0");
    CHECK(out.last.tool_calls[1].id == "call_1");
    CHECK(out.last.finish == openai::Finish::kToolCalls);
  }
}

TEST_CASE("a last block without its end is taken: the stop string may have been it") {
  const Scanned out = scan("<tool_call>{\"name\":\"f\",\"arguments\":{}}", 4);
  REQUIRE(out.last.tool_calls.size() == 1);
}

TEST_CASE("Llama 3 calls: the whole answer is the object") {
  const Scanned out = scan("\n{\"name\":\"f\",\"parameters\":{\"a\":\"b\"}}", 3);
  CHECK(out.text.empty());
  REQUIRE(out.last.tool_calls.size() == 1);
  CHECK(out.last.tool_calls[0].arguments == R"({"a":"b"})");
}

TEST_CASE("an answer cut off by its length keeps that reason") {
  ToolCallScanner scanner("c");
  (void)scanner.filter("{\"name\":\"f\",\"parameters\":{}}");
  openai::ChoiceDelta delta;
  delta.finish = openai::Finish::kLength;
  scanner.finish(delta);
  CHECK(delta.finish == openai::Finish::kLength);
  CHECK(delta.tool_calls.size() == 1);
}

TEST_CASE("a scanner that is off passes everything through") {
  ToolCallScanner scanner;
  CHECK(scanner.filter("{\"name\":\"f\",\"parameters\":{}}") == "{\"name\":\"f\",\"parameters\":{}}");
}

}  // namespace
}  // namespace coppice::server
