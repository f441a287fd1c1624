// Properties of the parser over many outputs, well-formed, torn and random, in every format: how an output is cut into
// tokens changes nothing, and nothing of it is lost.
#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "proto/openai/json_reader.h"
#include "tests/unit/server/output/parse_output.h"

namespace coppice::server {
namespace {

// What outputs are made of: marks, whole and torn,
const std::vector<std::string> kMarkParts = {
    "<tool_call>",      "</tool_call>", "<tool_",      "<function=",   "<function=now>", "<parameter=city>",
    "<parameter=days>", "</parameter>", "</function>", "[TOOL_CALLS]", "[ARGS]",         "[CALL_ID]",
    "<|python_tag|>",   "<think>",      "</think>",    "</thi",        "[THINK]",        "[/THINK]"};
// pieces of calls in every spelling, text.
const std::vector<std::string> kCallParts = {"{",
                                             "}",
                                             "[",
                                             "]",
                                             "(",
                                             ")",
                                             ",",
                                             ";",
                                             ":",
                                             "=",
                                             "\"",
                                             "'",
                                             "\\",
                                             "\\u00e9",
                                             "{\"name\": \"now\"",
                                             "\"name\"",
                                             "\"now\"",
                                             "\"get_weather\"",
                                             "\"arguments\": ",
                                             "\"parameters\": ",
                                             "now",
                                             "get_weather",
                                             "unknown",
                                             "city",
                                             "{}",
                                             "{\"city\": \"Ulm\"}",
                                             "12",
                                             "-0.5e3",
                                             "True",
                                             "null",
                                             "\n",
                                             " ",
                                             "  \n",
                                             "Hello",
                                             "\xC3\xA9",
                                             "\xF0\x9F\x98\x80",
                                             "now(",
                                             "city='Ulm'",
                                             "[now()"};

std::string part_of(std::size_t number) {
  number %= kMarkParts.size() + kCallParts.size();
  return number < kMarkParts.size() ? kMarkParts[number] : kCallParts[number - kMarkParts.size()];
}

const std::vector<std::string> kCalls = {
    "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Ul\xC3\xA9m\", \"days\": 3}}\n</tool_call>\n",
    R"({"name": "get_weather", "parameters": {"city": "Ulm"}}; {"name": "now", "parameters": {}})",
    "[get_weather(city=\"Ulm\", tags=['a', 'b']), now()]",
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
    "</function>\n</tool_call>",
    R"([TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Ulm"}}, {"name": "now", "arguments": {}}])",
    R"([TOOL_CALLS]get_weather[ARGS]{"city": "Ulm"}[TOOL_CALLS]now[ARGS]{})"};

std::string random_output(std::mt19937& random, bool has_tokens) {
  const auto below = [&random](std::size_t count) { return random() % count; };
  std::string text;
  if (below(3) == 0) {
    text.append(below(2) == 0 ? "<think>\nHm.\n</think>\n\n" : " ");
  }
  if (below(2) == 0) {
    text += kCalls[below(kCalls.size())];
    for (std::size_t torn = below(3); torn > 0; --torn) {  // a part taken out, or another put in
      const std::size_t at = below(text.size() + 1);
      if (below(2) == 0) {
        text.erase(at, below(4));
      } else {
        text.insert(at, part_of(random()));
      }
    }
  }
  for (std::size_t parts = below(12); parts > 0; --parts) {
    text += part_of(random());
  }
  for (std::size_t marks = has_tokens ? below(5) : 0; marks > 0; --marks) {
    text.insert(below(text.size() + 1), mark(static_cast<Terminal>(below(7))));
  }
  return text;
}

// What a parser sees is valid UTF-8.
std::string valid(const std::string& text) {
  return nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore))
      .get<std::string>();
}

// Places where a token may end: not inside a character.
std::vector<std::size_t> random_cuts(std::mt19937& random, const std::string& text) {
  std::vector<std::size_t> cuts;
  const std::size_t step = 1 + random() % 12;
  for (std::size_t at = 1; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U && random() % step == 0) {
      cuts.push_back(at);
    }
  }
  return cuts;
}

// Every two-way cut of a text, and tokens of one character.
std::vector<std::vector<std::size_t>> all_cuts(const std::string& text) {
  std::vector<std::vector<std::size_t>> cuts;
  std::vector<std::size_t> every;
  for (std::size_t at = 1; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U) {
      cuts.push_back({at});
      every.push_back(at);
    }
  }
  cuts.push_back(every);
  return cuts;
}

void check_nothing_lost(const std::string& text, const ParsedOutput& out, CallHold hold) {
  std::size_t plain = 0;
  for (const char c : text) {
    plain += is_mark(c) ? 0 : 1;
  }
  if (!out.is_complete) {
    REQUIRE(out.entries.size() == plain);  // every byte's entry has left, once
  }
  REQUIRE(std::is_sorted(out.entries.begin(), out.entries.end()));
  if (hold != CallHold::kDemanded && out.calls.empty() && out.place.end == 0) {
    std::string shown;
    std::copy_if(text.begin(), text.end(), std::back_inserter(shown), [](char c) { return !is_mark(c); });
    REQUIRE(out.text == shown);
  }
  REQUIRE((out.finish.reason == openai::FinishReason::kToolCalls) == !out.calls.empty());
}

void check_output(OutputCase& output, const std::string& text, const std::vector<std::vector<std::size_t>>& cuts) {
  INFO(output.tool_format->name << " after " << static_cast<int>(output.setup.start) << ": " << text);
  const ParsedOutput whole = output.parse(text, {});
  check_nothing_lost(text, whole, output.setup.hold);
  const std::string expected = whole.shown();
  for (const std::vector<std::size_t>& cut : cuts) {
    const ParsedOutput streamed = output.parse(text, cut);
    if (!whole.is_complete) {
      REQUIRE(streamed.shown() == expected);
    } else {  // entries of tokens that no one reads any more
      REQUIRE(streamed.text == whole.text);
      REQUIRE(streamed.calls.size() == whole.calls.size());
      REQUIRE(streamed.calls.at(0).arguments == whole.calls.at(0).arguments);
    }
  }
}

TEST_CASE("random outputs: streamed and whole are the same, nothing is lost") {
  constexpr unsigned kSeed = 14;
  constexpr int kOutputs = 1500;  // a format
  std::mt19937 random(kSeed);
  for (const ToolFormat& format : tool_formats()) {
    for (int i = 0; i < kOutputs; ++i) {
      const bool has_tokens = random() % 3 == 0;
      OutputCase output(format.name, random() % 3 == 0 ? "mistral" : "qwen3", random() % 8 != 0);
      if (has_tokens) {
        output.use_special_tokens();
      }
      output.setup.start = static_cast<ReasoningStart>(random() % 3);
      output.setup.hold = random() % 2 == 0 ? CallHold::kNone : static_cast<CallHold>(random() % 4);
      output.setup.is_held = output.setup.hold != CallHold::kNone;
      output.request.chat.parallel_tool_calls = random() % 6 != 0;
      const std::string text = valid(random_output(random, has_tokens));
      std::vector<std::vector<std::size_t>> cuts;
      for (int way = 0; way < 6; ++way) {
        cuts.push_back(random_cuts(random, text));
      }
      check_output(output, text, cuts);
    }
  }
}

TEST_CASE("every cut of well-formed outputs") {
  for (const ToolFormat& format : tool_formats()) {
    for (const std::string& call : kCalls) {
      for (const std::string before : {"", "\n", "Hm. ", "<think>\nI see.\n\n</think>\n\n"}) {
        OutputCase output(format.name, "qwen3");
        output.setup.start = ReasoningStart::kUnsaid;
        const std::string text = before + call;
        for (const CallHold hold : {CallHold::kNone, CallHold::kDemanded, CallHold::kInText, CallHold::kInstead}) {
          output.setup.hold = hold;
          check_output(output, text, all_cuts(text));
        }
      }
    }
  }
}

}  // namespace
}  // namespace coppice::server
