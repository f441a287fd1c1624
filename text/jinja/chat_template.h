// Chat templates: turns a conversation (messages, tools, flags) into the prompt text a model was
// trained on. The templates are Jinja programs shipped with models (tokenizer_config.json,
// chat_template.jinja); this is a bounded interpreter of our own for that language, with the
// semantics that Hugging Face transformers gives it (jinja2's ImmutableSandboxedEnvironment,
// trim_blocks and lstrip_blocks on, loop controls, {% generation %}).
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "text/jinja/template_limits.h"

namespace coppice::text {

class CompiledTemplate;

// A compiled template. Owner: whoever holds it; copies share the program. Thread: immutable after
// compile(), render() may be called from any number of threads at once.
class ChatTemplate {
 public:
  // Parses `source` (UTF-8). ERRORS: kInvalidArgument "chat template line N: what" for syntax that
  // is wrong or not supported (include, import, extends, block, recursive loops);
  // kResourceExhausted when a limit is passed.
  static absl::StatusOr<ChatTemplate> compile(std::string_view source, const TemplateLimits& limits = {});

  // Renders with `context`, a JSON object whose members are the template's variables: messages,
  // tools, documents, add_generation_prompt, bos_token, eos_token, and whatever
  // chat_template_kwargs adds. Key order is kept. As in transformers, an absent variable is
  // undefined and null is none; pass "tools": null when there are none. `now` is the local time
  // that strftime_now() formats. ERRORS, all "chat template line N: what":
  //   kFailedPrecondition  the template itself refused by raise_exception(); the message is the
  //   template's kInvalidArgument     the template failed: an undefined value used, a wrong type, a
  //   method that would mutate kResourceExhausted   a limit was passed (see TemplateLimits), or an
  //   integer left 64 bits
  absl::StatusOr<std::string> render(const nlohmann::ordered_json& context, const std::tm& now) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const CompiledTemplate> program);

  std::shared_ptr<const CompiledTemplate> program_;
};

// The present local time, for render(). Thread: any.
std::tm local_time_now();

}  // namespace coppice::text
