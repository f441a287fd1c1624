// What requests and answers of /v1/decisions hold.
#include "proto/openai/decision.h"

namespace coppice::openai {
namespace {

constexpr std::size_t kLevelsMax = 10;        // of a score, as OpenAI
constexpr std::size_t kIdentifierMax = 128;   // characters of safety_identifier, as OpenAI
constexpr std::size_t kPartsMax = 16384;      // of one message, as vLLM
constexpr std::size_t kItemsMax = 131072;     // of the input, as vLLM
constexpr std::size_t kTextMax = 10'485'760;  // characters of one text, as vLLM

using Others = Schema::Others;

Schema::Member tag(const char* name, const char* word) {
  return required(name, Schema::word({word}));
}

Schema breakpoint_schema() {
  return Schema::object({tag("mode", "explicit")}, Others::kRefused);
}

Schema text_part(const char* type, bool has_breakpoint) {
  std::vector<Schema::Member> members = {tag("type", type), required("text", Schema::string(0, kTextMax))};
  if (has_breakpoint) {
    members.push_back(optional("prompt_cache_breakpoint", breakpoint_schema()));
  }
  return Schema::object(std::move(members), Others::kRefused);
}

// A JSON object or an array of them, which the model reads as text.
Schema json_part() {
  const Schema object = Schema::map(Schema::any());
  return Schema::object({tag("type", "input_json"),
                         required("data", Schema::one_of("an object or an array of objects",
                                                         {object, Schema::array(object, 0, std::nullopt, "objects")}))},
                        Others::kRefused);
}

// A text, or parts of one.
Schema content(Schema parts) {
  return Schema::one_of("a string or an array of parts",
                        {Schema::string(0, kTextMax), Schema::array(std::move(parts), 0, kPartsMax, "parts")});
}

Schema input_text_parts() {
  return Schema::tagged("type", {{"input_text", text_part("input_text", true)}});
}

Schema message(const char* role, Schema parts, std::vector<Schema::Member> more = {}) {
  more.insert(more.begin(), {optional("type", Schema::word({"message"})), tag("role", role),
                             required("content", content(std::move(parts)))});
  return Schema::object(std::move(more), Others::kRefused);
}

Schema message_schema() {
  const Schema user_parts =
      Schema::tagged("type", {{"input_text", text_part("input_text", true)}, {"input_json", json_part()}});
  const Schema assistant_parts = Schema::tagged(
      "type", {{"output_text", text_part("output_text", false)},
               {"refusal", Schema::object({tag("type", "refusal"), required("refusal", Schema::string(0, kTextMax))},
                                          Others::kRefused)}});
  const Schema::Member phase = optional("phase", Schema::word({"commentary", "final_answer"}));
  return Schema::tagged("role", {{"user", message("user", user_parts)},
                                 {"developer", message("developer", input_text_parts())},
                                 {"system", message("system", input_text_parts())},
                                 {"assistant", message("assistant", assistant_parts, {phase})}});
}

Schema call(const char* type, const char* argument, const RequestLimits& limits) {
  const Schema name = Schema::string(1, static_cast<std::size_t>(limits.name_bytes_max));
  return Schema::object(
      {tag("type", type), required("call_id", name), required("name", name),
       required(argument, Schema::string(0, kTextMax)), optional("id", name), optional("namespace", name),
       optional("status", Schema::word({"in_progress", "completed", "incomplete"}))},
      Others::kRefused);
}

Schema call_output(const char* type, const RequestLimits& limits) {
  const Schema name = Schema::string(1, static_cast<std::size_t>(limits.name_bytes_max));
  return Schema::object(
      {tag("type", type), required("call_id", name), required("output", content(input_text_parts())),
       optional("id", name), optional("status", Schema::word({"in_progress", "completed", "incomplete"}))},
      Others::kRefused);
}

Schema input_schema(const RequestLimits& limits) {
  const Schema item = Schema::tagged("type",
                                     {{"message", message_schema()},
                                      {"function_call", call("function_call", "arguments", limits)},
                                      {"function_call_output", call_output("function_call_output", limits)},
                                      {"custom_tool_call", call("custom_tool_call", "input", limits)},
                                      {"custom_tool_call_output", call_output("custom_tool_call_output", limits)}},
                                     "message")
                          .named("DecisionInputItem");
  return Schema::one_of("a string or an array of items",
                        {Schema::string(1, kTextMax), Schema::array(item, 1, kItemsMax, "items")});
}

Schema question(const char* type, std::vector<Schema::Member> more) {
  const Schema parts =
      Schema::tagged("type", {{"input_text", text_part("input_text", false)}, {"input_json", json_part()}});
  const Schema instructions = Schema::one_of(
      "a string or an array of parts", {Schema::string(1, kTextMax), Schema::array(parts, 1, kPartsMax, "parts")});
  more.insert(more.begin(), {tag("type", type), required("instructions", instructions),
                             optional("name", Schema::string(0, kTextMax))});
  return Schema::object(std::move(more), Others::kRefused);
}

Schema question_schema(const RequestLimits& limits) {
  const Schema::Member description = optional("description", Schema::string(0, kTextMax));
  const Schema value = Schema::one_of("a string, true or false", {Schema::string(1, kTextMax), Schema::boolean()});
  const Schema choice = Schema::object({required("value", value), description}, Others::kRefused);
  const Schema level = Schema::object({required("label", Schema::string(1, kTextMax)), description}, Others::kRefused);
  const auto choices_max = static_cast<std::size_t>(limits.question_choices_max);
  return Schema::tagged(
             "type",
             {{"predicate", question("predicate", {})},
              {"choice", question("choice", {required("choices", Schema::array(choice, 2, choices_max, "choices"))})},
              {"score", question("score", {required("levels", Schema::array(level, 2, kLevelsMax, "levels"))})}})
      .named("DecisionQuestion");
}

Schema::Member answer_name() {
  return required("name", Schema::one_of("a string or null", {Schema::string(), Schema::null()}));
}

Schema answer_schema() {
  const Schema probability = Schema::number(0, 1);
  const Schema value = Schema::one_of("a string, true or false", {Schema::string(), Schema::boolean()});
  const Schema chosen = Schema::object({required("value", value), required("probability", probability)});
  const Schema level = Schema::object({required("value", Schema::integer(0)), required("label", Schema::string()),
                                       required("probability", probability)});
  return Schema::tagged(
             "type",
             {{"predicate",
               Schema::object({tag("type", "predicate"), answer_name(), required("probability", probability)})},
              {"choice",
               Schema::object({tag("type", "choice"), answer_name(), required("choice", value),
                               required("probabilities", Schema::array(chosen)), required("confidence", probability)})},
              {"score",
               Schema::object({tag("type", "score"), answer_name(), required("score", Schema::number()),
                               required("probabilities", Schema::array(level)), required("confidence", probability)})}})
      .named("DecisionAnswer");
}

}  // namespace

Schema decision_schema(const RequestLimits& limits) {
  const Schema cache_options =
      Schema::object({optional("mode", Schema::word({"implicit", "explicit"})), optional("ttl", Schema::word({"30m"}))},
                     Others::kRefused);
  const auto name_max = static_cast<std::size_t>(limits.name_bytes_max);
  return Schema::object(
      {required("model", Schema::string(0, name_max), "The served model's name."),
       required("input", input_schema(limits), "What the questions are about."),
       required("questions",
                Schema::array(question_schema(limits), 1, static_cast<std::size_t>(limits.questions_max), "questions"),
                "Answered in this order, each as if it were the only one."),
       optional("prompt_cache_key", Schema::string(0, name_max), "No effect."),
       optional("prompt_cache_options", cache_options, "No effect."),
       optional("safety_identifier", Schema::string(0, kIdentifierMax), "No effect.")},
      Others::kRefused);
}

Schema decision_answer_schema() {
  const Schema count = Schema::integer(0);
  const Schema usage = Schema::object(
      {required("input_tokens", count),
       required("input_tokens_details",
                Schema::object({required("cached_tokens", count), required("cache_write_tokens", count)})),
       required("output_tokens", count),
       required("output_tokens_details", Schema::object({required("reasoning_tokens", count)})),
       required("total_tokens", count)});
  return Schema::object({required("model", Schema::string()), required("answers", Schema::array(answer_schema())),
                         required("usage", usage)})
      .named("Decision");
}

}  // namespace coppice::openai
