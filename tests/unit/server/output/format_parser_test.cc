// What the parser makes of outputs in every format, whole and byte by byte.
#include "server/output/format_parser.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "proto/openai/json_reader.h"
#include "tests/support/sanitized.h"
#include "tests/unit/server/output/parse_output.h"

namespace coppice::server {
namespace {

using openai::FinishReason;

struct Call {
  std::string name;
  std::string arguments;
};

struct Row {
  std::string format;
  std::string text;
  std::string shown;  // as content
  std::vector<Call> calls;
  std::string reasoning = {};
};

const std::string kWeather = R"({"city": "Ulm"})";

// Calls as models write them.
const std::vector<Row> kWellFormed = {
    {"hermes",
     "Let me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>",
     "Let me see.\n",
     {{"get_weather", kWeather}}},
    {"hermes",
     "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>{\"name\":\"get_weather\","
     "\"arguments\":{\"tags\": [\"</tool\", \"\\\"}\"]}}</tool_call>\n",
     "",
     {{"now", "{}"}, {"get_weather", R"({"tags": ["</tool", "\"}"]})"}}},
    {"hermes",
     R"(<tool_call>{"arguments": {"city": "Ulm"}, "id": 7, "name": "get_weather"}</tool_call> Done.)",
     " Done.",
     {{"get_weather", kWeather}}},
    {"hermes", R"(<tool_call>{"name": "now"}</tool_call>)", "", {{"now", "{}"}}},
    {"hermes",
     R"(<tool_call>{"name": "now", "arguments": "{\"a\": \"\u00e9\ud83d\ude00\\n\"}"}</tool_call>)",
     "",
     {{"now", "{\"a\": \"\xC3\xA9\xF0\x9F\x98\x80\\n\"}"}}},
    {"hermes",
     R"(<tool_call>{"name": "n\u006fw", "parameters": {"n": 123456789012345678901234567890, "x": 1.50}})",
     "",
     {{"now", R"({"n": 123456789012345678901234567890, "x": 1.50})"}}},
    {"hermes",
     "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": \"two\nlines\"}}</tool_call>",
     "",
     {{"now", R"({"a": "two\nlines"})"}}},
    {"llama3_json",
     "\n{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Ulm\"}}",
     "",
     {{"get_weather", kWeather}}},
    {"llama3_json",
     R"(<|python_tag|>{"name": "now", "parameters": {}}; {"name": "now", "arguments": {"a": 1}})",
     "",
     {{"now", "{}"}, {"now", R"({"a": 1})"}}},
    {"llama3_json", R"({"type": "function", "name": "now", "parameters": {}} and more)", " and more", {{"now", "{}"}}},
    {"pythonic",
     "[get_weather(city=\"Ulm\", days=-3, exact=True, tags=['a', \"b\\\"\"],), now()]",
     "",
     {{"get_weather", R"({"city": "Ulm", "days": -3, "exact": true, "tags": ["a", "b\""]})"}, {"now", "{}"}}},
    {"pythonic",
     "[a.b-c(x={'k': (1, 2.), 'l': None}, y=.5, z='\\x41\\u00e9\\U0001F600\\'\\q')]",
     "",
     {{"a.b-c",
       "{\"x\": {\"k\": [1, 2.0], \"l\": null}, \"y\": 0.5, \"z\": \"\\u0041\\u00e9\xF0\x9F\x98\x80'\\\\q\"}"}}},
    {"qwen3_coder",
     "I look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n3\n"
     "</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=tags>\n[\"a\", \"b\"]\n</parameter>\n"
     "</function>\n</tool_call>",
     "I look.\n",
     {{"get_weather", R"({"city": "Ulm", "days": 3, "exact": true, "tags": ["a", "b"]})"}}},
    {"qwen3_coder",
     "<function=get_weather><parameter=city>\n\n 12\n<b> \"x\" </para\n\n</parameter>\n<parameter=code>\nnull\n"
     "</parameter><parameter=where>\nnull\n</parameter><parameter=days>\nmany\n</parameter></function>\n"
     "<tool_call>\n<function=now>\n</function>\n</tool_call>\n",
     "",
     {{"get_weather", R"({"city": "\n 12\n<b> \"x\" </para\n", "code": null, "where": null, "days": "many"})"},
      {"now", "{}"}}},
    {"mistral_v3",
     R"([TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Ulm"}}, {"name": "now", "arguments": {}}])",
     "",
     {{"get_weather", kWeather}, {"now", "{}"}}},
    {"mistral",
     R"(So:[TOOL_CALLS]get_weather[ARGS]{"city": "Ulm"}[TOOL_CALLS]now[CALL_ID]a1B2c3D4e[ARGS]{})",
     "So:",
     {{"get_weather", kWeather}, {"now", "{}"}}},
};

TEST_CASE("well-formed calls of every format, whatever the tokens") {
  for (const Row& row : kWellFormed) {
    for (const std::size_t piece : {1U, 2U, 3U, 7U, 1000U}) {
      INFO(row.format << ": " << row.text << " by " << piece);
      OutputCase output(row.format, "none");
      const ParsedOutput out = output.parse_by(row.text, piece);
      CHECK(out.text == row.shown);
      REQUIRE(out.calls.size() == row.calls.size());
      for (std::size_t i = 0; i < row.calls.size(); ++i) {
        CHECK(out.calls[i].name == row.calls[i].name);
        CHECK(out.calls[i].arguments == row.calls[i].arguments);
        CHECK(openai::parse_json(out.calls[i].arguments, {}).ok());
      }
      CHECK(out.finish.reason == FinishReason::kToolCalls);
    }
  }
}

// No call of a tool that there is.
const std::vector<std::pair<std::string, std::string>> kNoCalls = {
    {"hermes", "plain text"},
    {"hermes", "a < b <tool"},
    {"hermes", "<tool_cal l>"},
    {"hermes", ""},
    {"hermes", "  "},
    {"hermes", "<tool_call>broken"},
    {"hermes", "<tool_call>{\"name\":\"unknown\",\"arguments\":{}}</tool_call>"},
    {"hermes", "<tool_call>{\"name\":\"now"},
    {"hermes", "<tool_call>{\"name\": 7}</tool_call> and more"},
    {"hermes", "{\"name\": \"now\", \"arguments\": {}}"},
    {"llama3_json", "x {\"name\": \"now\", \"parameters\": {}}"},
    {"llama3_json", "{\"name\": \"now\"}"},
    {"llama3_json", "{\"name\": \"now\", \"age\": 5}"},
    {"llama3_json", "{\"answer\": 42}"},
    {"llama3_json", "<|python_tag|>print(1)"},
    {"pythonic", "[1, 2]"},
    {"pythonic", "[]"},
    {"pythonic", "[unknown(a=1)]"},
    {"pythonic", "now()"},
    {"qwen3_coder", "<tool_call>\n<function=unknown>\n</function>\n</tool_call>"},
    {"qwen3_coder", "<function=now and more"},
    {"mistral_v3", "[TOOL_CALLS] nothing"},
    {"mistral", "[TOOL_CALLS]unknown[ARGS]{}"},
    {"mistral", "[TOOL_CALLS] {}"},
    {"none", "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>"},
};

TEST_CASE("what is no call is text, all of it") {
  for (const auto& [format, text] : kNoCalls) {
    for (const std::size_t piece : {1U, 2U, 5U, 1000U}) {
      INFO(format << ": " << text << " by " << piece);
      OutputCase output(format, "none");
      const ParsedOutput out = output.parse_by(text, piece);
      CHECK(out.text == text);
      CHECK(out.calls.empty());
      CHECK(out.finish.reason == FinishReason::kStop);
    }
  }
}

TEST_CASE("a second call that is none is text behind the first") {
  OutputCase llama("llama3_json", "none");
  const ParsedOutput out = llama.parse_by(R"({"name": "now", "parameters": {}}; {"name": "unknown"})", 1);
  CHECK(out.calls.size() == 1);
  CHECK(out.text == R"(; {"name": "unknown"})");
  OutputCase mistral("mistral_v3", "none");
  CHECK(mistral.parse_by(R"([TOOL_CALLS][{"name": "now", "arguments": {}}, oops])", 1).text == ", oops]");
}

TEST_CASE("the name leaves when it is known, then the arguments as they come; never half a mark") {
  OutputCase output("hermes", "none");
  const std::string head = "Hm<tool_call>{\"name\": \"get_weather\"";
  const std::string text = head + ", \"arguments\": {\"city\": \"Ulm\"}}</tool_call>";
  const ParsedOutput out = output.parse_by(text, 1);
  CHECK(out.items_after[1] == 1);                // "Hm"
  CHECK(out.items_after[head.size() - 2] == 1);  // the name's last letter
  CHECK(out.items_after[head.size() - 1] == 2);  // its quote
  const std::size_t city = text.find("Ulm");
  const ParsedOutput part = output.parse_by(text.substr(0, city + 2), 1, FinishReason::kLength);
  CHECK(part.calls.at(0).arguments == R"({"city": "Ul)");
}

TEST_CASE("arguments that are malformed leave as the model wrote them, up to the end mark") {
  OutputCase hermes("hermes", "none");
  const ParsedOutput out = hermes.parse_by(R"(<tool_call>{"name": "now", "arguments": {"a": 'x'}}</tool_call> So.)", 1);
  REQUIRE(out.calls.size() == 1);
  CHECK(out.calls[0].arguments == R"({"a": 'x'}})");
  CHECK(out.text == " So.");
  OutputCase coder("qwen3_coder", "none");
  const ParsedOutput torn = coder.parse_by("<function=now>\n<parameter=a>\n1\n</parameter> or </function>", 1);
  REQUIRE(torn.calls.size() == 1);
  CHECK(torn.calls[0].arguments == R"({"a": "1"or )");
  OutputCase python("pythonic", "none");
  CHECK(python.parse_by("[now(a=1+1, b=2)]", 1).calls.at(0).arguments == R"({"a": 1+1, b=2)])");
}

TEST_CASE("an answer cut off inside its arguments gives what there is, and says so") {
  for (const auto& [format, text, arguments] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"hermes", R"(<tool_call>{"name": "now", "arguments": {"a": "b)", R"({"a": "b)"},
           {"pythonic", "[now(a=12", R"({"a": 12)"},
           {"qwen3_coder", "<function=now>\n<parameter=a>\nx\n</par", "{\"a\": \"x\\n</par"}}) {
    OutputCase output(format, "none");
    const ParsedOutput out = output.parse_by(text, 1, FinishReason::kLength);
    REQUIRE(out.calls.size() == 1);
    CHECK(out.calls[0].arguments == arguments);
    CHECK(out.finish.reason == FinishReason::kLength);
  }
}

TEST_CASE("special tokens are marks where the tokenizer has them, and their spelling is then text") {
  const std::string call = mark(Terminal::kCall);
  const std::string arguments = mark(Terminal::kArguments);
  OutputCase output("mistral", "mistral");
  output.use_special_tokens();
  const ParsedOutput out =
      output.parse_by(mark(Terminal::kThink) + "Hm.\n" + mark(Terminal::kEndThink) + "Hi" + call + "now" + arguments +
                          "{\"a\": 1}" + call + "now" + mark(Terminal::kCallId) + "a1B2c3D4e" + arguments + "{}",
                      1);
  CHECK(out.reasoning == "Hm.");
  CHECK(out.text == "Hi");
  REQUIRE(out.calls.size() == 2);
  CHECK(out.calls[0].arguments == R"({"a": 1})");
  CHECK(out.calls[0].id.size() == 9);
  CHECK(out.calls[1].arguments == "{}");
  CHECK(output.parse_by("[TOOL_CALLS]now[ARGS]{}", 1).text == "[TOOL_CALLS]now[ARGS]{}");
  CHECK(output.parse_by(call + "unknown" + arguments + "{}", 1).text == "unknown{}");
  CHECK(output.parse_by("a" + arguments + "b" + mark(Terminal::kEndThink) + "c", 1).text == "abc");
  const ParsedOutput torn = output.parse_by(call + "now" + arguments + "{\"a\": " + call + "now" + arguments + "{}", 1);
  REQUIRE(torn.calls.size() == 2);
  CHECK(torn.calls[0].arguments == "{\"a\": ");
}

TEST_CASE("reasoning: from the prompt, opened by the model, left open, over") {
  const auto parse = [](const std::string& text, ReasoningStart start, std::size_t piece) {
    OutputCase output("hermes", "qwen3");
    output.setup.start = start;
    return output.parse_by(text, piece);
  };
  for (const std::size_t piece : {1U, 3U, 100U}) {
    const ParsedOutput opened = parse("<think>\nI\n\nsee </thin\n</think>\n\nYes.", ReasoningStart::kUnsaid, piece);
    CHECK(opened.reasoning == "I\n\nsee </thin");
    CHECK(opened.text == "Yes.");
    CHECK(opened.place.end == 30);
    const ParsedOutput open =
        parse("\nI see\n</think>\n\n<tool_call>{\"name\": \"now\"}</tool_call>", ReasoningStart::kOpen, piece);
    CHECK(open.reasoning == "I see");
    CHECK(open.text.empty());
    CHECK(open.calls.size() == 1);
    CHECK(parse("I see\n", ReasoningStart::kOpen, piece).reasoning == "I see\n");
    CHECK(parse("<think>no</think>", ReasoningStart::kOver, piece).text == "<think>no</think>");
    CHECK(parse("So <think>no</think>", ReasoningStart::kUnsaid, piece).text == "So <think>no</think>");
    CHECK(parse(" <thi", ReasoningStart::kUnsaid, piece).text == " <thi");
    const ParsedOutput quoted =
        parse("a <tool_call>{\"name\": \"now\"}</tool_call></think>b", ReasoningStart::kOpen, piece);
    CHECK(quoted.calls.empty());
    CHECK(quoted.text == "b");
  }
}

TEST_CASE("a call of Qwen's coder models ends their reasoning; what only looks like one does not") {
  OutputCase output("qwen3_coder", "qwen3");
  output.setup.start = ReasoningStart::kOpen;
  for (const std::size_t piece : {1U, 4U, 100U}) {
    const ParsedOutput out = output.parse_by("I call\n<tool_call>\n<function=now>\n</function>\n</tool_call>", piece);
    CHECK(out.reasoning == "I call");
    CHECK(out.calls.size() == 1);
    CHECK(out.place.end == 7);
    const ParsedOutput talk = output.parse_by("a <tool_call> is\n<function=no>\n</think>\nb", piece);
    CHECK(talk.reasoning == "a <tool_call> is\n<function=no>");
    CHECK(talk.text == "b");
  }
}

TEST_CASE("without parallel calls the answer is complete with the first one") {
  for (const auto& [format, text, used] : std::vector<std::tuple<std::string, std::string, std::size_t>>{
           {"hermes", R"(<tool_call>{"name": "now"}</tool_call><tool_call>{"name": "now"}</tool_call>)", 38},
           {"hermes", R"(<tool_call>{"name": "now"} <tool_call>)", 38},
           {"llama3_json", R"({"name": "now", "parameters": {}}; {"name")", 33},
           {"pythonic", "[now(), now()]", 7},
           {"mistral", "[TOOL_CALLS]now[ARGS]{}[TOOL", 23}}) {
    INFO(format << ": " << text);
    OutputCase output(format, "none");
    output.request.chat.parallel_tool_calls = false;
    const ParsedOutput out = output.parse_by(text, 1);
    CHECK(out.is_complete);
    CHECK(out.items_after.size() == used);
    CHECK(out.calls.size() == 1);
    CHECK(out.text.empty());
    CHECK(output.parse_by(text, 100).shown().substr(0, 30) == out.shown().substr(0, 30));
  }
}

TEST_CASE("finish reasons: the model's own calls say tool_calls, a named one does not") {
  OutputCase output("hermes", "none");
  const std::string text = R"(<tool_call>{"name": "now"}</tool_call>)";
  output.request.chat.tool_choice = openai::ToolChoice::kRequired;
  CHECK(output.parse_by(text, 1).finish.reason == FinishReason::kToolCalls);
  output.request.chat.tool_choice = openai::ToolChoice::kNamed;
  CHECK(output.parse_by(text, 1).finish.reason == FinishReason::kStop);
  CHECK(output.parse_by(text, 1, FinishReason::kLength).finish.reason == FinishReason::kLength);
}

TEST_CASE("token entries stay with the item whose text they begin") {
  OutputCase output("hermes", "qwen3");
  const std::string think = "<think>ab</think>\n";
  const std::string text = "Hm.";
  const std::string head = "<tool_call>{\"name\": \"now\"";
  const std::string rest = ", \"arguments\": {}}</tool_call>\n";
  const ParsedOutput out = output.parse_by(think + text + head + rest, 1);
  std::vector<std::size_t> counts;
  for (const openai::OutputItem& item : out.items) {
    std::visit(
        [&counts](const auto& any) {
          if constexpr (requires { any.tokens; }) {
            counts.push_back(any.tokens.size());
          }
        },
        item);
  }
  CHECK(counts == std::vector<std::size_t>{think.size(), text.size(), head.size(), rest.size()});
}

// Far above what linear work takes, far below what quadratic work would.
constexpr std::chrono::seconds kLinear{30};

TEST_CASE("long outputs take time that grows with their length, whatever they begin") {
  constexpr std::size_t kBytes = std::size_t{1} << (test::kIsSanitized ? 13U : 16U);
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string part : {"word ", " ", "\n", "<", "<tool_call>", "<tool_call>{\"a\": [", "{", "[now(",
                                 "<function=now>\n<parameter=city>\n", "[TOOL_CALLS]", "</think>\n"}) {
    std::string text;
    while (text.size() < kBytes) {
      text += part;
    }
    for (const ToolFormat& format : tool_formats()) {
      OutputCase output(format.name, "qwen3");
      output.setup.start = ReasoningStart::kOpen;
      const ParsedOutput thought = output.parse_by(text, 64);
      output.setup.start = ReasoningStart::kUnsaid;
      const ParsedOutput out = output.parse_by(text, 64);
      CHECK(out.entries.size() == text.size());
      CHECK(thought.entries.size() == text.size());
    }
  }
  std::string calls;
  constexpr int kCalls = test::kIsSanitized ? 6'000 : 60'000;
  for (int i = 0; i < kCalls; ++i) {
    calls += R"(<tool_call>{"name":"now","arguments":{}}</tool_call>)";
  }
  OutputCase output("hermes", "none");
  CHECK(output.parse_by(calls, 64).calls.size() == kCalls);
  CHECK(std::chrono::steady_clock::now() - begin < kLinear);
}

}  // namespace
}  // namespace coppice::server
