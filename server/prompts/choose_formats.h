// How the served model writes tool calls and reasoning: as the operator says, else as its chat template and special
// tokens show.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/output/output_rules.h"
#include "server/prompts/chat_prompter.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

inline constexpr const char* kAutoFormat = "auto";

// --tool-format, --reasoning-format.
struct FormatNames {
  std::string tools = kAutoFormat;
  std::string reasoning = kAutoFormat;
};

// What the two options may say.
std::vector<std::string> tool_format_names();
std::vector<std::string> reasoning_format_names();

// `prompter`: null for a model without a chat template. REQUIRES: names as above.
OutputRules choose_formats(const FormatNames& names, const ChatPrompter* prompter, const text::Tokenizer& tokenizer);

}  // namespace coppice::server
