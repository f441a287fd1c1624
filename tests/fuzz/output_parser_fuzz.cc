// Outputs of models in every format of tool calls and reasoning. Besides not crashing: an output's items do not depend
// on how it is cut into tokens, and nothing of it is lost.
//
// Input: a byte that chooses the format, one that chooses the request, one that chooses the cuts, the output. In it
// bytes 1 to 7 are special tokens.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/output/output_parser.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

constexpr char kMarks = 7;  // special tokens

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

struct Output {
  std::string shown;  // what a client makes of it
  std::size_t entries = 0;
  bool has_calls = false;
  bool is_complete = false;
};

struct Show {
  void operator()(const openai::TextDelta& item) const { add("t", item.text, item.tokens.size()); }
  void operator()(const openai::ReasoningDelta& item) const { add("r", item.text, item.tokens.size()); }
  void operator()(const openai::ToolCallBegin& item) const {
    add("c", item.name, item.tokens.size());
    out.has_calls = true;
  }
  void operator()(const openai::ToolArgumentsDelta& item) const {
    require(out.has_calls);
    add("a", item.text, item.tokens.size());
  }
  void operator()(const openai::Finish& /*item*/) const { out.shown += "."; }
  void add(const char* kind, const std::string& text, std::size_t tokens) const {
    out.shown += kind + text + "|" + std::to_string(tokens) + "\n";
    out.entries += tokens;
  }

  Output& out;
};

struct World {
  text::TestTokenizer tokenizer{{"[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "<tool_call>", "</tool_call>"}};
  openai::GenerationRequest request;
  ParserSetup setup;
};

void push(OutputParser& parser, std::string_view token, std::int64_t& characters,
          std::vector<openai::OutputItem>& items) {
  openai::TextDelta delta;
  for (const char c : token) {
    if (c >= 1 && c <= kMarks) {
      parser.push(std::exchange(delta, {}), items);
      parser.push_mark(static_cast<Terminal>(c - 1), items);
      continue;
    }
    openai::TokenEntry entry;
    entry.text_offset = characters;
    characters += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
    delta.tokens.push_back(std::move(entry));
    delta.text += c;
  }
  parser.push(std::move(delta), items);
}

// `step`: tokens have 1 to `step` bytes; 0: all is one token.
Output parse(const World& world, const std::string& text, unsigned step) {
  const std::unique_ptr<OutputParser> parser = make_output_parser(world.request, world.setup);
  std::vector<openai::OutputItem> items;
  std::int64_t characters = 0;
  unsigned state = step;
  for (std::size_t at = 0; at < text.size() && !parser->is_complete();) {
    state = state * 1103515245U + 12345U;  // any mixture of lengths
    std::size_t end = step == 0 ? text.size() : at + 1 + (state >> 16U) % step;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
      ++end;
    }
    end = std::min(end, text.size());
    push(*parser, std::string_view(text).substr(at, end - at), characters, items);
    at = end;
  }
  Output out;
  out.is_complete = parser->is_complete();
  parser->end({}, {}, items);
  std::vector<openai::OutputItem> joined;
  for (openai::OutputItem& item : items) {
    append_item(joined, std::move(item));
  }
  for (const openai::OutputItem& item : joined) {
    std::visit(Show{out}, item);
  }
  return out;
}

void run(std::uint8_t format, std::uint8_t options, std::uint8_t step, const std::string& text) {
  static const openai::Json tools = openai::Json::parse(
      R"([{"type":"function","function":{"name":"f","parameters":{"properties":{"s":{"type":"string"},"n":{"type":
      "integer"},"o":{"type":"object"}}}}},{"type":"function","function":{"name":"now"}}])");
  static const auto tool_set = std::make_shared<const ToolSet>(tools);
  World world;
  if ((options & 1U) != 0) {
    world.tokenizer.more_special = {"[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "<tool_call>", "</tool_call>"};
  }
  const OutputRules rules(tool_formats()[format % tool_formats().size()],
                          reasoning_formats()[format / 16 % reasoning_formats().size()], world.tokenizer);
  world.request.kind = openai::RequestKind::kChat;
  world.request.chat.parallel_tool_calls = (options & 2U) == 0;
  world.setup.rules = &rules;
  world.setup.start = static_cast<ReasoningStart>(options / 4 % 3);
  world.setup.tools = (options & 64U) == 0 ? tool_set : nullptr;
  world.setup.is_held = (options & 128U) != 0;
  world.setup.hold = world.setup.is_held ? static_cast<CallHold>(step % 4) : CallHold::kNone;
  const Output whole = parse(world, text, 0);
  const Output streamed = parse(world, text, step);
  require(whole.is_complete == streamed.is_complete);
  if (!whole.is_complete) {
    require(whole.shown == streamed.shown);
    std::size_t bytes = 0;
    for (const char c : text) {
      bytes += c >= 1 && c <= kMarks ? 0 : 1;
    }
    require(whole.entries == bytes);
  }
}

}  // namespace
}  // namespace coppice::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHead = 3;  // bytes that choose
  if (size < kHead) {
    return 0;
  }
  // Parsers see valid UTF-8.
  const std::string raw(reinterpret_cast<const char*>(data) + kHead, size - kHead);
  const std::string quoted = nlohmann::json(raw).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
  coppice::server::run(data[0], data[1], data[2], nlohmann::json::parse(quoted).get<std::string>());
  return 0;
}
