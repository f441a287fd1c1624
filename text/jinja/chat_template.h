// Chat templates: turns a conversation (messages, tools, flags) into the prompt text a model was trained on. The
// templates are Jinja programs shipped with models (tokenizer_config.json, chat_template.jinja); this is a bounded
// interpreter for that language, with the semantics that Hugging Face transformers gives it (jinja2's
// ImmutableSandboxedEnvironment, trim_blocks and lstrip_blocks on, loop controls, {% generation %}). It does what chat
// templates do: the rest of jinja2 and Python is refused by name.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "text/jinja/budget.h"

namespace coppice::jinja {

struct Program;

// A compiled template. Owner: the holder; copies share the program. Thread: immutable after compile(), render() may be
// called from any number of threads at once.
class ChatTemplate {
 public:
  // Parses `source` (UTF-8). ERRORS: kInvalidArgument "chat template line N: what" for syntax that is wrong or not
  // supported (include, import, extends, block, recursive loops); kResourceExhausted beyond a limit.
  static absl::StatusOr<ChatTemplate> compile(std::string_view source, const Limits& limits = {});

  // Renders with `context`, a JSON object whose members are the template's variables: messages, tools, documents,
  // add_generation_prompt, bos_token, eos_token, and whatever chat_template_kwargs adds. Key order is kept. A binary
  // value is an integer beyond 64 bits, as its digits. As in transformers, an absent variable is undefined and null is
  // none; pass "tools": null when there are none. `now` is the local time that strftime_now() formats. ERRORS, all
  // "chat template line N: what":
  //   kFailedPrecondition  the template refused by raise_exception(); the message is the template's
  //   kInvalidArgument     the template failed: an undefined value used, a wrong type, something not supported
  //   kResourceExhausted   a limit was passed (see Limits), or an integer left 64 bits
  absl::StatusOr<std::string> render(const nlohmann::ordered_json& context, const std::tm& now) const;

  // Whether a literal of the template, text or string, contains `text`.
  bool writes(std::string_view text) const;
  // Whether a literal of the template is `text`.
  bool names(std::string_view text) const;

 private:
  ChatTemplate(std::shared_ptr<const Program> program, const Limits& limits);

  std::shared_ptr<const Program> program_;
  Limits limits_;
};

// The present local time, for render(). Thread: any.
std::tm local_time_now();

}  // namespace coppice::jinja
