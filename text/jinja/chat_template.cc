// The facade: compile once, render many times.
#include "text/jinja/chat_template.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/heap.h"
#include "text/jinja/parser.h"

namespace coppice::text {

class CompiledTemplate {
 public:
  CompiledTemplate(std::shared_ptr<const Program> program_in, const TemplateLimits& limits_in)
      : program(std::move(program_in)), limits(limits_in) {}

  const std::shared_ptr<const Program> program;
  const TemplateLimits limits;
};

namespace {

absl::Status with_line(const absl::Status& status, int line) {
  const std::string message(status.message());
  return absl::Status(status.code(), line > 0 ? fmt::format("chat template line {}: {}", line, message)
                                              : fmt::format("chat template: {}", message));
}

}  // namespace

ChatTemplate::ChatTemplate(std::shared_ptr<const CompiledTemplate> program) : program_(std::move(program)) {}

absl::StatusOr<ChatTemplate> ChatTemplate::compile(std::string_view source, const TemplateLimits& limits) {
  COPPICE_ASSIGN_OR_RETURN(std::shared_ptr<const Program> program, parse_template(source, limits));
  return ChatTemplate(std::make_shared<const CompiledTemplate>(std::move(program), limits));
}

absl::StatusOr<std::string> ChatTemplate::render(const nlohmann::ordered_json& context, const std::tm& now) const {
  Heap heap(program_->limits);
  Evaluator evaluator(*program_->program, heap);
  if (const absl::Status status = evaluator.define_variables(context, now); !status.ok()) {
    return with_line(status, 0);
  }
  absl::StatusOr<std::string> text = evaluator.run();
  if (!text.ok()) {
    return with_line(text.status(), evaluator.error_line());
  }
  return text;
}

std::tm local_time_now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm result{};
  localtime_r(&seconds, &result);
  return result;
}

}  // namespace coppice::text
