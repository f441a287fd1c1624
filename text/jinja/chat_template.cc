// The facade: compile once, render many times.
#include "text/jinja/chat_template.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/program.h"
#include "text/jinja/rendering.h"
#include "text/utf8.h"

namespace coppice::jinja {

ChatTemplate::ChatTemplate(std::shared_ptr<const Program> program, const Limits& limits)
    : program_(std::move(program)), limits_(limits) {}

absl::StatusOr<ChatTemplate> ChatTemplate::compile(std::string_view source, const Limits& limits) {
  COPPICE_ASSIGN_OR_RETURN(std::shared_ptr<const Program> program, parse_template(source, limits));
  return ChatTemplate(std::move(program), limits);
}

absl::StatusOr<std::string> ChatTemplate::render(const nlohmann::ordered_json& context, const std::tm& now) const {
  Rendering rendering(*program_, limits_);
  absl::StatusOr<std::string> text = rendering.run(context, now);
  if (text.ok()) {
    return text;
  }
  constexpr std::size_t kMessageBytesMax = 4096;  // what the template or its data put into an error can be megabytes
  const std::string whole(text.status().message());
  std::string_view message = std::string_view(whole).substr(0, kMessageBytesMax);
  message.remove_suffix(text::utf8_cut_short_tail(message));
  const std::string line = rendering.error_line() > 0 ? fmt::format(" line {}", rendering.error_line()) : "";
  return absl::Status(text.status().code(), fmt::format("chat template{}: {}", line, message));
}

bool ChatTemplate::writes(std::string_view text) const {
  return program_->literals.find(text) != std::string::npos;
}

bool ChatTemplate::names(std::string_view text) const {
  std::string literal("\0", 1);
  literal.append(text).push_back('\0');
  return writes(literal);
}

std::tm local_time_now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm result{};
  localtime_r(&seconds, &result);
  return result;
}

}  // namespace coppice::jinja
