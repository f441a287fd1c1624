// Requests: the table of response_fields.h with the form of each field. Answers: see response_object.h.
#include "proto/openai/response_schema.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "proto/openai/answer_schema.h"
#include "proto/openai/format_schema.h"
#include "proto/openai/response_fields.h"
#include "proto/openai/sampling_schema.h"
#include "proto/openai/service_schema.h"

namespace coppice::openai {
namespace {

using Members = SchemaMembers;

Schema object_of_any() {
  return Schema::map(Schema::any());
}

Schema or_null(const char* what, const Schema& schema) {
  return Schema::one_of(what, {schema, Schema::null()});
}

Schema text_or_null() {
  return or_null("a string or null", Schema::string());
}

Schema tag(const char* word) {
  return Schema::word({word});
}

// --- requests --------------------------------------------------------------------------------------------------------

// Items of kinds that are not listed are skipped.
Schema input_item(const RequestLimits& limits) {
  const Schema name = Schema::string(1, static_cast<std::size_t>(limits.name_bytes_max));
  const Schema part = Schema::object({required("type", Schema::string(1)), optional("text", Schema::string())});
  const Schema content = Schema::one_of("a string or an array of parts", {Schema::string(), Schema::array(part)});
  return Schema::one_of(
             "an item",
             {Schema::object({optional("type", tag("message")), required("role", name), required("content", content)}),
              Schema::object({required("type", tag("function_call")), required("call_id", name), required("name", name),
                              optional("arguments", Schema::string(), "A JSON text.")}),
              Schema::object({required("type", tag("function_call_output")), required("call_id", name),
                              required("output", content)}),
              Schema::object({required("type", tag("reasoning")), optional("content", content)}), object_of_any()})
      .named("ResponseInputItem");
}

Schema tool_choice() {
  const Schema allowed =
      Schema::object({required("type", tag("allowed_tools")), required("mode", Schema::word({"auto", "required"})),
                      required("tools", Schema::array(Schema::any()))});
  const Schema named = Schema::object({required("type", tag("function")), required("name", Schema::string(1))});
  return Schema::one_of("\"auto\", \"none\", \"required\", a function or allowed tools",
                        {Schema::word({"auto", "none", "required"}),
                         Schema::tagged("type", {{"allowed_tools", allowed}, {"function", named}})});
}

// The form of each honoured or repeated field; others may be anything.
std::map<std::string, Schema> request_forms(const RequestLimits& limits) {
  const auto tools_max = static_cast<std::size_t>(limits.tools_max);
  const auto items_max = static_cast<std::size_t>(limits.messages_max);
  const Schema tool = Schema::object(
      {required("type", Schema::string()), optional("name", Schema::any()), optional("parameters", Schema::any())});
  constexpr std::size_t kMetadataTextMax = 512;  // characters, as OpenAI
  std::map<std::string, Schema> forms = {
      {"input", Schema::one_of("a string or an array of items",
                               {Schema::string(), Schema::array(input_item(limits), 0, items_max, "items")})},
      {"instructions", Schema::string()},
      {"previous_response_id", Schema::string()},
      {"store", Schema::boolean()},
      {"background", Schema::boolean()},
      {"stream", Schema::boolean()},
      {"max_output_tokens", Schema::integer(1, std::numeric_limits<std::int32_t>::max())},
      {"top_logprobs", Schema::integer(0, limits.top_logprobs_max)},
      {"include", Schema::array(Schema::string(), 0, tools_max, "names")},
      {"tools", Schema::array(tool, 0, tools_max, "tools")},
      {"tool_choice", tool_choice()},
      {"parallel_tool_calls", Schema::boolean()},
      {"text", Schema::object({optional("format", flat_format_schema(limits))})},
      {"reasoning", Schema::object({optional("effort", Schema::string())})},
      {"metadata", Schema::map(Schema::string(0, kMetadataTextMax))},
      {"safety_identifier", name_schema(limits)},
      {"prompt_cache_key", name_schema(limits)},
      {"truncation", name_schema(limits)},
      {"stream_options", Schema::object({})},
  };
  for (const Schema::Member& member : serving_members()) {
    forms.emplace(member.name, member.schema);
  }
  return forms;
}

// --- answers ---------------------------------------------------------------------------------------------------------

Schema item_status() {
  return Schema::word({"in_progress", "completed", "incomplete"});
}

Schema output_text_part() {
  return Schema::object({required("type", tag("output_text")), required("text", Schema::string()),
                         required("annotations", Schema::array(Schema::any())),
                         required("logprobs", Schema::array(chat_token_schema()))});
}

Schema reasoning_part() {
  return Schema::object({required("type", tag("reasoning_text")), required("text", Schema::string())});
}

Schema output_item() {
  const Schema message = Schema::object({required("id", Schema::string(1)), required("type", tag("message")),
                                         required("status", item_status()), required("role", tag("assistant")),
                                         required("content", Schema::array(output_text_part()))});
  const Schema reasoning = Schema::object(
      {required("id", Schema::string(1)), required("type", tag("reasoning")), required("status", item_status()),
       required("summary", Schema::array(Schema::any())), required("content", Schema::array(reasoning_part()))});
  const Schema call =
      Schema::object({required("id", Schema::string(1)), required("type", tag("function_call")),
                      required("status", item_status()), required("call_id", Schema::string()),
                      required("name", Schema::string()), required("arguments", Schema::string(), "A JSON text.")});
  return Schema::tagged("type", {{"message", message}, {"reasoning", reasoning}, {"function_call", call}})
      .named("ResponseOutputItem");
}

Schema usage() {
  const Schema count = Schema::integer(0);
  return Schema::object({required("input_tokens", count),
                         required("input_tokens_details", Schema::object({required("cached_tokens", count),
                                                                          required("cache_write_tokens", count)})),
                         required("output_tokens", count),
                         required("output_tokens_details", Schema::object({required("reasoning_tokens", count)})),
                         required("total_tokens", count)})
      .named("ResponseUsage");
}

// What a response repeats of its request.
Members echo_members() {
  const Schema count_or_null = or_null("an integer or null", Schema::integer());
  const Schema number_or_null = or_null("a number or null", Schema::number());
  const Schema format = Schema::object({required("type", Schema::string()), optional("schema", Schema::any()),
                                        optional("name", Schema::any()), optional("description", Schema::any()),
                                        optional("strict", Schema::any())});
  const Schema reasoning = Schema::object({required("effort", text_or_null()), required("summary", Schema::null())});
  return {required("background", Schema::boolean()),
          required("instructions", text_or_null()),
          required("max_output_tokens", count_or_null),
          required("max_tool_calls", Schema::any()),
          required("parallel_tool_calls", Schema::boolean()),
          required("previous_response_id", text_or_null()),
          required("prompt_cache_key", text_or_null()),
          required("reasoning", reasoning),
          required("safety_identifier", text_or_null()),
          required("service_tier", Schema::string()),
          required("store", Schema::boolean()),
          required("temperature", number_or_null),
          required("text", Schema::object({required("format", format), optional("verbosity", Schema::any())})),
          required("tool_choice", Schema::any()),
          required("tools", Schema::array(object_of_any())),
          required("top_logprobs", Schema::integer(0)),
          required("top_p", number_or_null),
          required("truncation", Schema::string()),
          optional("user", Schema::string()),
          required("metadata", object_of_any())};
}

}  // namespace

Schema response_request_schema(const RequestLimits& limits) {
  const std::map<std::string, Schema> forms = request_forms(limits);
  Members members = {optional("model", name_schema(limits), "The served model's name, or nothing.")};
  for (const ApiField& field : kResponseFields) {
    if (field.use == FieldUse::kRefused) {
      continue;
    }
    const auto form = forms.find(field.name);
    members.push_back({field.name, form == forms.end() ? Schema::any() : form->second,
                       field.name == std::string("input"), field.meaning});
  }
  append_members(members, request_field_members(limits, {"min_tokens", "ignore_eos", "include_stop_str_in_output",
                                                         "skip_special_tokens"}));
  const Schema stops =
      Schema::one_of("a string or an array of strings", {stop_schema(limits), stop_list_schema(limits)});
  members.push_back(optional("stop", stops, "Ends the answer before this text."));
  append_members(members, sampling_members(limits));
  return Schema::object(std::move(members)).named("ResponseRequest");
}

Schema response_schema() {
  const Schema error = Schema::object({required("code", Schema::string()), required("message", Schema::string())});
  const Schema incomplete = Schema::object({required("reason", Schema::word({"max_output_tokens"}))});
  Members members = {
      required("id", Schema::string(1)),
      required("object", tag("response")),
      required("created_at", Schema::integer(0)),
      required("status", Schema::word({"queued", "in_progress", "completed", "incomplete", "failed", "cancelled"})),
      required("completed_at", or_null("seconds or null", Schema::integer(0))),
      required("error", or_null("an error or null", error)),
      required("incomplete_details", or_null("a reason or null", incomplete)),
      required("model", Schema::string()),
      required("output", Schema::array(output_item()))};
  append_members(members, echo_members());
  members.push_back(required("usage", or_null("usage or null", usage())));
  return Schema::object(std::move(members)).named("Response");
}

Schema response_event_schema() {
  const Schema part =
      Schema::tagged("type", {{"output_text", output_text_part()}, {"reasoning_text", reasoning_part()}});
  return Schema::object({required("type", Schema::string(1)), required("sequence_number", Schema::integer(0)),
                         optional("response", response_schema()), optional("item", output_item()),
                         optional("item_id", Schema::string(1)), optional("output_index", Schema::integer(0)),
                         optional("content_index", Schema::integer(0)), optional("part", part),
                         optional("delta", Schema::string()), optional("text", Schema::string()),
                         optional("arguments", Schema::string()), optional("name", Schema::string()),
                         optional("logprobs", Schema::array(chat_token_schema())), optional("code", Schema::string()),
                         optional("message", Schema::string()), optional("param", Schema::string())})
      .named("ResponseEvent");
}

Schema response_input_items_schema() {
  return Schema::object({required("object", tag("list")), required("data", Schema::array(object_of_any())),
                         required("first_id", Schema::string()), required("last_id", Schema::string()),
                         required("has_more", Schema::boolean())})
      .named("ResponseInputItems");
}

Schema response_input_tokens_schema() {
  return Schema::object(
             {required("object", tag("response.input_tokens")), required("input_tokens", Schema::integer(0))})
      .named("ResponseInputTokens");
}

Schema response_deleted_schema() {
  return Schema::object({required("id", Schema::string(1)), required("object", tag("response.deleted")),
                         required("deleted", Schema::boolean())})
      .named("ResponseDeleted");
}

}  // namespace coppice::openai
