// One probe for each form; the first whose rendering shows the call wins.
#include "server/prompts/template_form.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "proto/openai/json_reader.h"
#include "proto/openai/normalise_message.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr const char* kProbeName = "find_the_fox";
constexpr const char* kProbeValue = "quickbrown";
constexpr const char* kShortId = "a1B2c3D4e";
constexpr const char* kLongId = "call_a1B2c3D4e5F6g7H8i9J0k1L2";
constexpr std::size_t kShortIdBytes = 9;  // Mistral's templates count them

struct Probe {
  bool null_content = false;
  bool text_arguments = false;
  const char* id = kShortId;
};

Json probe_context(const Probe& probe, const Json& variables) {
  Json arguments = {{"word", kProbeValue}};
  if (probe.text_arguments) {
    arguments = arguments.dump();
  }
  Json call = {{"id", probe.id}, {"type", "function"}};
  call["function"] = {{"name", kProbeName}, {"arguments", std::move(arguments)}};
  Json caller = {{"role", "assistant"}, {"content", probe.null_content ? Json() : Json("")}};
  caller["tool_calls"] = Json::array({std::move(call)});
  Json function = {{"name", "other"}, {"description", "none"}};
  function["parameters"] = {{"type", "object"}, {"properties", Json::object()}};
  Json context = variables;
  context["messages"] =
      Json::array({{{"role", "user"}, {"content", "question"}},
                   std::move(caller),
                   {{"role", "tool"}, {"tool_call_id", probe.id}, {"name", kProbeName}, {"content", "answer"}}});
  context["tools"] = Json::array({{{"type", "function"}, {"function", std::move(function)}}});
  context["documents"] = nullptr;
  context["add_generation_prompt"] = true;
  return context;
}

bool shows_call(const jinja::ChatTemplate& chat_template, const Probe& probe, const Json& variables) {
  const absl::StatusOr<std::string> rendered =
      chat_template.render(probe_context(probe, variables), jinja::local_time_now());
  return rendered.ok() && rendered->find(kProbeName) != std::string::npos &&
         rendered->find(kProbeValue) != std::string::npos && rendered->find("None") == std::string::npos;
}

// Whether the template writes what a message of this role says.
bool shows_role(const jinja::ChatTemplate& chat_template, const char* role, const Json& variables) {
  Json context = variables;
  context["messages"] = Json::array(
      {{{"role", "user"}, {"content", "question"}}, {{"role", role}, {"name", kProbeName}, {"content", kProbeValue}}});
  context["tools"] = nullptr;
  context["documents"] = nullptr;
  context["add_generation_prompt"] = true;
  const absl::StatusOr<std::string> rendered = chat_template.render(context, jinja::local_time_now());
  return rendered.ok() && rendered->find(kProbeValue) != std::string::npos;
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Ids of other servers, made to fit: their last letters and digits, as vLLM does.
Json short_id(const Json& id) {
  if (!id.is_string()) {
    return id;
  }
  std::string fitting;
  std::copy_if(id.get_ref<const std::string&>().begin(), id.get_ref<const std::string&>().end(),
               std::back_inserter(fitting), is_letter_or_digit);
  if (fitting.size() > kShortIdBytes) {
    fitting.erase(0, fitting.size() - kShortIdBytes);
  }
  return std::string(kShortIdBytes - fitting.size(), '0') + fitting;
}

const Json& arguments_of(const Json& call) {
  static const Json none;
  const auto function = call.find("function");
  const auto arguments = function->find("arguments");
  return arguments == function->end() ? none : *arguments;
}

bool has_calls(const Json& message) {
  const auto calls = message.find("tool_calls");
  return calls != message.end() && calls->is_array() && !calls->empty();
}

}  // namespace

TemplateForm::TemplateForm(const jinja::ChatTemplate& chat_template, const Json& variables)
    : knows_developer_(chat_template.names("developer")),
      knows_function_(shows_role(chat_template, "function", variables)) {
  for (const bool text_arguments : {false, true}) {
    for (const bool null_content : {false, true}) {
      Probe probe{null_content, text_arguments, kShortId};
      if (!shows_call(chat_template, probe, variables)) {
        continue;
      }
      wants_null_content_ = null_content;
      wants_text_arguments_ = text_arguments;
      probe.id = kLongId;
      has_short_call_ids_ = !shows_call(chat_template, probe, variables);
      return;
    }
  }
}

std::string TemplateForm::role_for(const std::string& role) const {
  const bool is_unknown = (role == "developer" && !knows_developer_) || (role == "function" && !knows_function_);
  return !is_unknown ? role : role == "developer" ? "system" : "tool";
}

Json TemplateForm::arguments_for(const Json& sent, const openai::RequestLimits& limits, bool drops_odd) const {
  Json arguments = openai::tool_arguments(sent, limits);
  if (!arguments.is_object() && drops_odd) {
    arguments = Json::object();
  }
  if (!wants_text_arguments_) {
    return arguments;
  }
  const bool is_as_sent = sent.is_string() && !(arguments.is_object() && arguments.empty());
  return is_as_sent ? sent : Json(openai::write_json(arguments));
}

Json TemplateForm::call_for(const Json& call, const ControlTokens& tokens, const openai::RequestLimits& limits,
                            bool drops_odd) const {
  Json copy = tokens.mark(call, ControlTokens::Writer::kUser);
  copy["function"]["arguments"] =
      tokens.mark(arguments_for(arguments_of(call), limits, drops_odd), ControlTokens::Writer::kUser);
  if (const auto id = call.find("id"); has_short_call_ids_ && id != call.end()) {
    copy["id"] = short_id(*id);
  }
  return copy;
}

Json TemplateForm::adapt(const Json& message, const ControlTokens& tokens, const openai::RequestLimits& limits,
                         bool drops_odd_arguments) const {
  const std::string role = role_for(message["role"].get<std::string>());
  constexpr std::array<std::string_view, 6> kCommon = {"system", "developer", "user", "assistant", "tool", "function"};
  Json copy =
      tokens.mark(message, role == "assistant" ? ControlTokens::Writer::kAssistant : ControlTokens::Writer::kUser);
  if (std::find(kCommon.begin(), kCommon.end(), role) != kCommon.end()) {
    copy["role"] = role;  // as templates compare with it, even when a token is spelled so
  }
  const bool calls = has_calls(message);
  if (calls) {
    Json& list = copy["tool_calls"];
    for (std::size_t i = 0; i < list.size(); ++i) {
      list[i] = call_for(message["tool_calls"][i], tokens, limits, drops_odd_arguments);
    }
  }
  if (const auto id = message.find("tool_call_id"); has_short_call_ids_ && id != message.end()) {
    copy["tool_call_id"] = short_id(*id);
  }
  if (openai::is_empty(copy["content"])) {
    copy["content"] = calls && wants_null_content_ ? Json() : Json("");
  }
  return copy;
}

bool has_odd_arguments(const Json& messages, const openai::RequestLimits& limits) {
  return std::any_of(messages.begin(), messages.end(), [&](const Json& message) {
    return has_calls(message) &&
           std::any_of(message["tool_calls"].begin(), message["tool_calls"].end(), [&](const Json& call) {
             return !openai::tool_arguments(arguments_of(call), limits).is_object();
           });
  });
}

}  // namespace coppice::server
