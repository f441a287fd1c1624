// TemplateForm: the form in which one chat template wants messages, where templates differ from each other: found out
// once, by rendering a short conversation with a tool call in each form.
#pragma once

#include <string>

#include "proto/openai/request.h"
#include "server/prompts/control_tokens.h"
#include "text/jinja/chat_template.h"

namespace coppice::server {

// Owner: a chat template's prompter. Immutable; any thread.
class TemplateForm {
 public:
  // `variables`: what the template knows beside the conversation ("bos_token", ...).
  TemplateForm(const jinja::ChatTemplate& chat_template, const openai::Json& variables);

  // A copy of `message` as the template wants it, marked. `drops_odd_arguments`: arguments of tool calls that are not
  // an object become one without members.
  openai::Json adapt(const openai::Json& message, const ControlTokens& tokens, const openai::RequestLimits& limits,
                     bool drops_odd_arguments) const;

  // Whether the template takes only ids of tool calls that are nine letters and digits, as Mistral's do.
  bool has_short_call_ids() const { return has_short_call_ids_; }

 private:
  std::string role_for(const std::string& role) const;
  openai::Json arguments_for(const openai::Json& sent, const openai::RequestLimits& limits, bool drops_odd) const;
  openai::Json call_for(const openai::Json& call, const ControlTokens& tokens, const openai::RequestLimits& limits,
                        bool drops_odd) const;

  bool knows_developer_ = false;
  bool knows_function_ = false;
  bool wants_null_content_ = false;    // beside tool calls; else ""
  bool wants_text_arguments_ = false;  // of tool calls, as OpenAI sends them; else the object
  bool has_short_call_ids_ = false;
};

// Whether any tool call of the conversation has arguments that are not an object.
bool has_odd_arguments(const openai::Json& messages, const openai::RequestLimits& limits);

}  // namespace coppice::server
