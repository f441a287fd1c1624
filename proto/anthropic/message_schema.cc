// Requests: the table of message_fields.h with the form of each field. Answers: see messages_writer.h and
// write_objects.h.
#include "proto/anthropic/message_schema.h"

#include <limits>
#include <map>
#include <string>
#include <utility>

#include "proto/anthropic/message_fields.h"
#include "proto/openai/format_schema.h"
#include "proto/openai/sampling_schema.h"

namespace coppice::anthropic {
namespace {

using openai::append_members;
using openai::name_schema;
using openai::optional;
using openai::RequestLimits;
using openai::required;
using openai::Schema;
using openai::SchemaMembers;

Schema object_of_any() {
  return Schema::map(Schema::any());
}

Schema tag(const char* word) {
  return Schema::word({word});
}

Schema count() {
  return Schema::integer(0);
}

// --- requests --------------------------------------------------------------------------------------------------------

Schema cache_control() {
  return Schema::object({required("type", tag("ephemeral")), optional("ttl", Schema::word({"5m", "1h"}))});
}

Schema text_block() {
  return Schema::object(
      {required("type", tag("text")), required("text", Schema::string()), optional("cache_control", cache_control())});
}

// Blocks of kinds that are not listed are skipped, or refused.
Schema block(const RequestLimits& limits) {
  const Schema name = Schema::string(1, static_cast<std::size_t>(limits.name_bytes_max));
  const Schema result =
      Schema::one_of("a string or an array of text blocks", {Schema::string(), Schema::array(text_block())});
  return Schema::one_of(
             "a block",
             {text_block(), Schema::object({required("type", tag("thinking")), required("thinking", Schema::string())}),
              Schema::object({required("type", tag("tool_use")), required("id", name), required("name", name),
                              optional("input", object_of_any())}),
              Schema::object(
                  {required("type", tag("tool_result")), required("tool_use_id", name), optional("content", result)}),
              Schema::object({required("type", Schema::string(1))})})
      .named("MessageInputBlock");
}

Schema message(const RequestLimits& limits) {
  const Schema content = Schema::one_of("a string or an array of blocks",
                                        {Schema::string(), Schema::array(block(limits), 0, std::nullopt, "blocks")});
  return Schema::object({required("role", Schema::word({"user", "assistant", "system"})), required("content", content)})
      .named("MessageInput");
}

// A tool of the client's, or one of another kind, which is skipped.
Schema tool() {
  return Schema::one_of("a tool", {Schema::object({optional("type", tag("custom")), required("name", Schema::string(1)),
                                                   required("input_schema", object_of_any()),
                                                   optional("cache_control", cache_control())}),
                                   Schema::object({required("type", Schema::string())})})
      .named("MessageTool");
}

// The form of each honoured field; others may be anything.
std::map<std::string, Schema> request_forms(const RequestLimits& limits) {
  const auto messages_max = static_cast<std::size_t>(limits.messages_max);
  const auto tools_max = static_cast<std::size_t>(limits.tools_max);
  const Schema system = Schema::one_of("a string or an array of text blocks",
                                       {Schema::string(), Schema::array(text_block(), 0, std::nullopt, "blocks")});
  return {
      {"messages", Schema::array(message(limits), 1, messages_max, "messages")},
      {"system", system},
      {"max_tokens", Schema::integer(0, std::numeric_limits<std::int32_t>::max())},
      {"stop_sequences", stop_list_schema(limits)},
      {"stream", Schema::boolean()},
      {"tools", Schema::array(tool(), 0, tools_max, "tools")},
      {"tool_choice",
       Schema::object({optional("type", Schema::word({"auto", "any", "tool", "none"})),
                       optional("name", Schema::string()), optional("disable_parallel_tool_use", Schema::boolean())})},
      {"thinking",
       Schema::object({required("type", Schema::string(1)), optional("budget_tokens", Schema::integer(0))})},
      {"output_config",
       Schema::object({optional("effort", Schema::string()), optional("format", openai::flat_format_schema(limits))})},
      {"output_format", openai::flat_format_schema(limits)},
      {"cache_control", cache_control()},
      {"metadata", Schema::object({optional("user_id", name_schema(limits))})},
  };
}

Schema request(const RequestLimits& limits, bool needs_max_tokens) {
  const std::map<std::string, Schema> forms = request_forms(limits);
  SchemaMembers members = {optional("model", name_schema(limits), "The served model's name, or nothing.")};
  for (const openai::ApiField& field : kMessageFields) {
    if (field.use == openai::FieldUse::kRefused) {
      continue;
    }
    const std::string name = field.name;
    const auto form = forms.find(name);
    const bool is_required = name == "messages" || (name == "max_tokens" && needs_max_tokens);
    members.push_back({name, form == forms.end() ? Schema::any() : form->second, is_required, field.meaning});
  }
  append_members(members, request_field_members(limits, {"min_tokens", "ignore_eos", "skip_special_tokens"}));
  append_members(members, sampling_members(limits));
  return Schema::object(std::move(members));
}

// --- answers ---------------------------------------------------------------------------------------------------------

Schema answer_block() {
  const Schema text = Schema::object({required("type", tag("text")), required("text", Schema::string())});
  const Schema thinking = Schema::object({required("type", tag("thinking")), required("thinking", Schema::string()),
                                          required("signature", Schema::string())});
  const Schema tool_use = Schema::object({required("type", tag("tool_use")), required("id", Schema::string(1)),
                                          required("name", Schema::string()), required("input", object_of_any())});
  return Schema::tagged("type", {{"text", text}, {"thinking", thinking}, {"tool_use", tool_use}}).named("MessageBlock");
}

Schema usage() {
  return Schema::object({required("input_tokens", count()), required("cache_creation_input_tokens", count()),
                         required("cache_read_input_tokens", count()), required("output_tokens", count())})
      .named("MessageUsage");
}

Schema stop_reason() {
  return Schema::word({"end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"});
}

Schema text_or_null() {
  return Schema::one_of("a string or null", {Schema::string(), Schema::null()});
}

// A whole message, or, `begins`, what the first event of a stream has of it.
Schema answer(bool begins) {
  return Schema::object({required("id", Schema::string(1)), required("type", tag("message")),
                         required("role", tag("assistant")), required("model", Schema::string()),
                         required("content", Schema::array(answer_block())),
                         required("stop_reason", begins ? Schema::null() : stop_reason()),
                         required("stop_sequence", text_or_null()), required("usage", usage())});
}

SchemaMembers error_members() {
  const Schema error = Schema::object({required("type", Schema::string(1)), required("message", Schema::string())});
  return {required("type", tag("error")), required("error", error), optional("request_id", Schema::string())};
}

}  // namespace

Schema message_request_schema(const RequestLimits& limits) {
  return request(limits, /*needs_max_tokens=*/true).named("MessageRequest");
}

Schema count_request_schema(const RequestLimits& limits) {
  return request(limits, /*needs_max_tokens=*/false).named("MessageCountRequest");
}

Schema message_schema() {
  return answer(/*begins=*/false).named("Message");
}

Schema message_event_schema() {
  const Schema delta = Schema::object(
      {optional("type", Schema::word({"text_delta", "thinking_delta", "signature_delta", "input_json_delta"})),
       optional("text", Schema::string()), optional("thinking", Schema::string()),
       optional("signature", Schema::string()), optional("partial_json", Schema::string()),
       optional("stop_reason", stop_reason()), optional("stop_sequence", Schema::string())});
  const Schema other = Schema::object(
      {required("type", Schema::word({"message_start", "ping", "content_block_start", "content_block_delta",
                                      "content_block_stop", "message_delta", "message_stop"})),
       optional("message", answer(/*begins=*/true)), optional("index", count()),
       optional("content_block", answer_block()), optional("delta", delta), optional("usage", usage())});
  return Schema::one_of("an event", {other, Schema::object(error_members())}).named("MessageEvent");
}

Schema token_count_schema() {
  return Schema::object({required("input_tokens", count())}).named("MessageTokenCount");
}

Schema model_schema() {
  return Schema::object({required("type", tag("model")), required("id", Schema::string()),
                         required("display_name", Schema::string()), required("created_at", Schema::string(1)),
                         required("max_input_tokens", count()), required("max_tokens", count())})
      .named("AnthropicModel");
}

Schema model_list_schema() {
  return Schema::object({required("data", Schema::array(model_schema())), required("has_more", Schema::boolean()),
                         required("first_id", text_or_null()), required("last_id", text_or_null())})
      .named("AnthropicModelList");
}

Schema error_schema() {
  return Schema::object(error_members()).named("AnthropicError");
}

}  // namespace coppice::anthropic
