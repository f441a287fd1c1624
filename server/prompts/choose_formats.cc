// The first row whose marks the template or the tokenizer has.
#include "server/prompts/choose_formats.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace coppice::server {
namespace {

using Marks = std::array<std::string_view, 2>;

template <typename Has>
bool has_all(const Marks& marks, const Has& has) {
  return !marks.front().empty() &&
         std::all_of(marks.begin(), marks.end(), [&has](std::string_view mark) { return mark.empty() || has(mark); });
}

template <typename Format>
const Format& detect(std::span<const Format> formats, const ChatPrompter* prompter, const text::Tokenizer& tokenizer) {
  const auto is_written = [prompter](std::string_view mark) { return prompter->writes(mark); };
  const auto is_token = [&tokenizer](std::string_view mark) {
    const std::optional<TokenId> token = tokenizer.token_to_id(mark);
    return token && tokenizer.is_special(*token);
  };
  const auto shown = std::find_if(formats.begin(), formats.end(), [&](const Format& format) {
    return prompter != nullptr && has_all(format.template_marks, is_written);
  });
  if (shown != formats.end()) {
    return *shown;
  }
  const auto tokened = std::find_if(formats.begin(), formats.end(),
                                    [&](const Format& format) { return has_all(format.token_marks, is_token); });
  return tokened != formats.end() ? *tokened : formats.back();
}

template <typename Format>
std::vector<std::string> names_of(std::span<const Format> formats) {
  std::vector<std::string> names = {kAutoFormat};
  for (const Format& format : formats) {
    names.emplace_back(format.name);
  }
  return names;
}

}  // namespace

std::vector<std::string> tool_format_names() {
  return names_of(tool_formats());
}

std::vector<std::string> reasoning_format_names() {
  return names_of(reasoning_formats());
}

OutputRules choose_formats(const FormatNames& names, const ChatPrompter* prompter, const text::Tokenizer& tokenizer) {
  const ToolFormat& tools =
      names.tools == kAutoFormat ? detect(tool_formats(), prompter, tokenizer) : *find_tool_format(names.tools);
  const ReasoningFormat& reasoning = names.reasoning == kAutoFormat ? detect(reasoning_formats(), prompter, tokenizer)
                                                                    : *find_reasoning_format(names.reasoning);
  return {tools, reasoning, tokenizer};
}

}  // namespace coppice::server
