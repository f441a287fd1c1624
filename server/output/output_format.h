// How models write tool calls and reasoning: one row a format, nothing but data. The parser, the structural tags that
// force calls, and the detection of a model's format read the same rows.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace coppice::server {

// How one call is spelled.
enum class CallShape : std::uint8_t {
  kNone,
  kJson,    // {"name": "f", "arguments": {…}}
  kPython,  // f(a=1, b="x")
  kXml,     // <function=f>\n<parameter=k>\nvalue\n</parameter>\n</function>
  kNamed,   // f[ARGS]{…}
};

// A model writes calls in sections: opener, maybe a list's bracket, calls with joiners between them, closer. Where a
// part is "" or 0 the format has none.
struct ToolFormat {
  std::string_view name;  // as --tool-format has it
  CallShape shape = CallShape::kNone;
  std::string_view opener = {};
  // Where the opener may be left out: the answer's first character then opens, or, for kXml, the function's tag.
  char start = 0;
  bool opens_with_function = false;
  char list_open = 0;
  char joiner = 0;
  std::string_view closer = {};
  std::string_view arguments_key =
      {};  // kJson: the one that the model's template writes; the parser knows the other, too
  std::string_view before_call = {};  // as templates write it, between opener and call, …
  std::string_view after_call = {};   // … between call and closer, …
  std::string_view between = {};      // … and between a closer and the next opener, or between joiner and call
  bool has_short_ids = false;         // nine letters and digits
  bool ends_reasoning = false;        // a call that begins inside reasoning ends it
  // A template that has all of these in its literals writes this format.
  std::array<std::string_view, 2> template_marks = {};
  // So does a tokenizer that has all of these as special tokens, where no template says anything.
  std::array<std::string_view, 2> token_marks = {};

  bool is_none() const { return shape == CallShape::kNone; }
};

// Reasoning stands at the answer's start. Line ends next to the markers belong to them.
struct ReasoningFormat {
  std::string_view name;  // as --reasoning-format has it
  std::string_view open = {};
  std::string_view close = {};
  std::array<std::string_view, 2> template_marks = {};
  std::array<std::string_view, 2> token_marks = {};

  bool is_none() const { return open.empty(); }
};

// What a mark says to a parser.
enum class Terminal : std::uint8_t {
  kCall,      // calls begin
  kFunction,  // a call begins, and its name comes next
  kClose,
  kCallId,
  kArguments,
  kThink,
  kEndThink,
};

// Marks inside a call of shape kNamed.
inline constexpr std::string_view kArgumentsMark = "[ARGS]";
inline constexpr std::string_view kCallIdMark =
    "[CALL_ID]";  // before it, in some models: "f[CALL_ID]a1b2c3d4e[ARGS]{…}"

// Between a function's tag and its name, in calls of shape kXml.
inline constexpr std::string_view kFunctionMark = "<function=";

// What a call of shape kJson begins with, as templates write it.
inline constexpr std::string_view kNamedObject = "{\"name\": \"";

// The more special first, `none` last.
std::span<const ToolFormat> tool_formats();
std::span<const ReasoningFormat> reasoning_formats();

// Null for an unknown name.
const ToolFormat* find_tool_format(std::string_view name);
const ReasoningFormat* find_reasoning_format(std::string_view name);

}  // namespace coppice::server
