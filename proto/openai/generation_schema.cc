// Members of bodies: those of the tables, and those with a form of their own.
#include "proto/openai/generation_schema.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "proto/openai/format_schema.h"
#include "proto/openai/sampling_schema.h"
#include "proto/openai/service_schema.h"

namespace coppice::openai {
namespace {

using Members = SchemaMembers;

std::size_t size_of(std::int64_t limit) {
  return static_cast<std::size_t>(limit);
}

Schema::Member model_member(const RequestLimits& limits) {
  return optional("model", name_schema(limits), "The served model's name, or nothing.");
}

Schema token_ids(const RequestLimits& limits) {
  return Schema::array(token_id_schema(limits), 1, std::nullopt, "token ids");
}

Schema content_parts() {
  const Schema text = Schema::object(
      {required("type", Schema::word({"text"})), required("text", Schema::string()), breakpoint_member()});
  const Schema refusal = Schema::object(
      {required("type", Schema::word({"refusal"})), required("refusal", Schema::string()), breakpoint_member()});
  return Schema::array(Schema::tagged("type", {{"text", text}, {"refusal", refusal}}), 0, std::nullopt, "parts");
}

Schema content() {
  return Schema::one_of("a string or an array of text parts", {Schema::string(), content_parts()});
}

Members common_members(const RequestLimits& limits) {
  const Schema stops =
      Schema::one_of("a string or an array of strings", {stop_schema(limits), stop_list_schema(limits)});
  const Schema stream_options = Schema::object(
      {optional("include_usage", Schema::boolean(), "A last chunk without choices says what the answer took."),
       optional("continuous_usage_stats", Schema::boolean(), "Every chunk says what the answer has taken so far.")});
  const Schema prediction =
      Schema::object({optional("type", Schema::word({"content"})), required("content", content())});
  Members members = sampling_members(limits);
  append_members(members, service_members());
  append_members(members, request_field_members(limits));
  append_members(members,
                 {optional("stop", stops, "Ends the answer before this text."),
                  optional("stream", Schema::boolean(), "The answer comes as server-sent events."),
                  optional("stream_options", stream_options, "Of streams only."),
                  optional("return_token_ids", Schema::boolean(), "Token ids beside the text."),
                  optional("return_tokens_as_token_ids", Schema::boolean(), "Logprobs name tokens \"token_id:7\"."),
                  optional("prediction", prediction, "Text that the answer will probably resemble."),
                  optional("response_format", response_format_schema(limits), "What the output has to match.")});
  return members;
}

// What says nothing passes for a text too: see normalise_message().
Schema text_or_nothing() {
  return Schema::one_of("a string", {Schema::string(), Schema::array(Schema::any(), 0, 0), Schema::object({})});
}

Schema tool_calls() {
  const Schema function = Schema::object(
      {required("name", Schema::string()), optional("arguments", Schema::any(), "A JSON text, or the object.")});
  const Schema call = Schema::object({optional("id", text_or_nothing()), required("function", function)});
  return Schema::one_of("an array",
                        {Schema::array(call, 0, std::nullopt, "calls"), Schema::string(0, 0), Schema::object({})});
}

Schema message(const RequestLimits& limits) {
  Members members = {required("role", Schema::string(1, size_of(limits.name_bytes_max)), "\"user\" and the like."),
                     optional("content", content(), "Only an assistant's may be missing."),
                     optional("tool_calls", tool_calls()),
                     optional("function_call", Schema::any(), "Of `functions`: a call by its older name.")};
  for (const char* const name : {"name", "tool_call_id", "refusal", "reasoning_content", "thinking", "reasoning"}) {
    members.push_back(optional(name, text_or_nothing()));
  }
  return Schema::object(std::move(members)).named("ChatMessage");
}

Schema named_function() {
  return Schema::object({required("name", Schema::string(1))});
}

Schema tool_choice() {
  const Schema named =
      Schema::object({required("type", Schema::word({"function"})), required("function", named_function())});
  const Schema allowed_tools = Schema::object(
      {required("mode", Schema::word({"auto", "required"})), required("tools", Schema::array(Schema::any()))});
  const Schema allowed =
      Schema::object({required("type", Schema::word({"allowed_tools"})), required("allowed_tools", allowed_tools)});
  return Schema::one_of("\"auto\", \"none\", \"required\", a function or allowed tools",
                        {Schema::word({"auto", "none", "required"}),
                         Schema::tagged("type", {{"function", named}, {"allowed_tools", allowed}})});
}

Schema function_call() {
  return Schema::one_of("\"auto\", \"none\" or a function", {Schema::word({"auto", "none"}), named_function()});
}

Schema reasoning_effort_schema() {
  return Schema::word({"", "none", "minimal", "low", "medium", "high", "xhigh", "max"});
}

// Of chats, and of conversations to be counted.
Members conversation_members(const RequestLimits& limits) {
  const Schema function = Schema::object({required("name", Schema::string()), optional("description", Schema::any()),
                                          optional("parameters", Schema::any())});
  const Schema tool = Schema::object({required("function", function)}).named("ChatTool");
  return {required("messages", Schema::array(message(limits), 1, size_of(limits.messages_max), "messages"),
                   "The conversation, rendered with the model's chat template."),
          optional("tools", Schema::array(tool, 0, size_of(limits.tools_max), "tools"), "What the model may call."),
          optional("tool_choice", tool_choice(), "Default: auto."),
          optional("parallel_tool_calls", Schema::boolean(), "false: at most one call. Default: true."),
          optional("functions", Schema::array(function, 0, size_of(limits.tools_max), "functions"),
                   "`tools`, as they were called before; the answer then has a `function_call`."),
          optional("function_call", function_call(), "`tool_choice` for `functions`."),
          optional("reasoning_effort", reasoning_effort_schema(),
                   "For the chat template; `none` is its `enable_thinking` false."),
          optional("thinking_budget", Schema::integer(0), "Tokens of reasoning after which its end is forced."),
          optional("thinking_token_budget", Schema::integer(0), "`thinking_budget` as vLLM calls it."),
          optional("add_generation_prompt", Schema::boolean(),
                   "Ends the prompt where the assistant's answer begins. Default: true."),
          optional("continue_final_message", Schema::boolean(), "The answer continues the last message."),
          optional("chat_template", Schema::string(), "Which of the model's templates; by name."),
          optional("chat_template_kwargs", Schema::map(Schema::any()), "More names for the template.")};
}

}  // namespace

Schema completion_schema(const RequestLimits& limits) {
  const Schema prompt = Schema::one_of("a string or token ids", {Schema::string(), token_ids(limits)});
  const Schema prompts = Schema::one_of(
      "text, an array of texts, of token ids, or of arrays of token ids",
      {Schema::string(), token_ids(limits), Schema::array(prompt, 1, size_of(limits.prompts_max), "prompts")});
  const std::int64_t top = limits.top_logprobs_max;
  Members members = {model_member(limits), required("prompt", prompts, "What the answers continue.")};
  append_members(members, common_members(limits));
  append_members(members, {optional("best_of", Schema::integer(1, limits.choices_max),
                                    "Generates this many answers and returns the likeliest `n`."),
                           optional("echo", Schema::boolean(), "The text begins with the prompt."),
                           optional("logprobs", Schema::integer(0, top),
                                    "Logprobs of the answer's tokens, with this many likeliest ones each."),
                           optional("parse_special", Schema::boolean(),
                                    "Special tokens written in the prompt become tokens. Default: true."),
                           optional("suffix", Schema::string(), "Text that comes after the answer.")});
  return Schema::object(std::move(members)).named("CompletionRequest");
}

Schema chat_schema(const RequestLimits& limits) {
  Members members = {model_member(limits)};
  append_members(members, conversation_members(limits));
  append_members(members, common_members(limits));
  const auto old_name = std::find_if(members.begin(), members.end(),
                                     [](const Schema::Member& member) { return member.name == "max_tokens"; });
  *old_name = optional("max_tokens", Schema::integer(), "`max_completion_tokens`, which wins, by its old name.");
  append_members(members, {optional("max_completion_tokens", Schema::integer(0, limits.model_tokens_max),
                                    "Most tokens to generate. Default: what the context holds."),
                           optional("logprobs", Schema::boolean(), "Logprobs of the answer's tokens."),
                           optional("top_logprobs", Schema::integer(0, limits.top_logprobs_max),
                                    "With this many likeliest ones each; needs `logprobs`.")});
  return Schema::object(std::move(members)).named("ChatRequest");
}

Schema tokenize_schema(const RequestLimits& limits) {
  const auto with = [&](Members own) {
    append_members(own, {optional("model", Schema::string()), optional("add_special_tokens", Schema::boolean()),
                         optional("parse_special", Schema::boolean()),
                         optional("return_token_strs", Schema::boolean(), "The tokens' texts too.")});
    return Schema::object(std::move(own));
  };
  return Schema::one_of("an object with 'prompt', 'content' or 'messages'",
                        {with(conversation_members(limits)), with({required("prompt", Schema::string())}),
                         with({required("content", Schema::string())})})
      .named("TokenizeRequest");
}

Schema detokenize_schema(const RequestLimits& limits) {
  const std::int64_t most = std::max(limits.detokenize_tokens_max, limits.model_tokens_max);
  return Schema::object({optional("model", Schema::string()),
                         required("tokens", Schema::array(token_id_schema(limits), 0, size_of(most), "token ids")),
                         optional("skip_special_tokens", Schema::boolean())})
      .named("DetokenizeRequest");
}

}  // namespace coppice::openai
