// Decisions: the input as a conversation, questions with their options, and the answers.
#include "proto/openai/decision.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "proto/openai/conversation.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/parse_chat.h"

namespace coppice::openai {
namespace {

// OpenAI's bounds of a part of JSON.
constexpr std::size_t kJsonLevelsMax = 32;
constexpr std::size_t kJsonValuesMax = 10'000;
constexpr std::size_t kJsonBytesMax = std::size_t{256} << 10U;

// --- reading ---------------------------------------------------------------------------------------------------------

// Levels of containers. Depth is bounded by the parser.
std::size_t levels_of(const Json& value, std::size_t& values) {
  ++values;
  std::size_t below = 0;
  if (value.is_structured()) {
    for (const Json& item : value) {
      below = std::max(below, levels_of(item, values));
    }
    ++below;
  }
  return below;
}

// A member that may be absent or null; "" then. REQUIRES: else it is a string.
std::string string_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? std::string() : found->get<std::string>();
}

// What the model reads of a part of JSON, appended to `text`.
MaybeError add_json(const Json& data, const std::string& name, std::string& text) {
  std::size_t values = 0;
  const std::size_t levels = levels_of(data, values);
  const std::string compact = write_json(data);
  if (levels > kJsonLevelsMax || values > kJsonValuesMax || compact.size() > kJsonBytesMax) {
    return bad_value(
        name, fmt::format("'{}' has {} levels, {} values and {} bytes; at most {}, {} and {} are allowed", name, levels,
                          values, compact.size(), kJsonLevelsMax, kJsonValuesMax, kJsonBytesMax));
  }
  text += compact;
  return std::nullopt;
}

// The text of a string or of parts, one a line. REQUIRES: the schema.
Result<std::string> text_of(const Json& content, const std::string& name) {
  if (content.is_string()) {
    return content.get<std::string>();
  }
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    text += i == 0 ? "" : "\n";
    if (part["type"] == "input_json") {
      if (MaybeError error = add_json(part["data"], fmt::format("{}[{}].data", name, i), text)) {
        return *std::move(error);
      }
    } else {
      text += part[part["type"] == "refusal" ? "refusal" : "text"].get_ref<const std::string&>();
    }
  }
  return text;
}

// Brings items into the messages that templates know, as /v1/responses does.
class InputReader {
 public:
  MaybeError read(const Json& input) {
    if (input.is_string()) {
      conversation_.add_message("user", input.get<std::string>());
      return std::nullopt;
    }
    for (std::size_t i = 0; i < input.size(); ++i) {
      if (MaybeError error = read_item(input[i], fmt::format("input[{}]", i))) {
        return error;
      }
    }
    return std::nullopt;
  }

  // The messages; the last one is a user's.
  Json take() {
    if (conversation_.last_role() != "user") {
      conversation_.add_message("user", "");
    }
    return conversation_.take();
  }

 private:
  MaybeError read_item(const Json& item, const std::string& name) {
    const std::string type = string_member(item, "type");
    if (type.empty() || type == "message") {
      return read_message(item, name);
    }
    std::string id = item["call_id"].get<std::string>();
    if (type == "function_call" || type == "custom_tool_call") {
      // A tool that takes text instead of JSON is, for templates, a function of one argument.
      const Json arguments = type == "function_call" ? item["arguments"] : Json{{"input", item["input"]}};
      calls_.insert(id);
      conversation_.add_call(std::move(id), item["name"].get<std::string>(), arguments);
      return std::nullopt;
    }
    if (calls_.count(id) == 0) {
      return bad_value(name + ".call_id", fmt::format("'{}.call_id' must be the call_id of an earlier call; got \"{}\"",
                                                      name, id.substr(0, 40)));
    }
    Result<std::string> text = text_of(item["output"], name + ".output");
    if (!text.ok()) {
      return std::move(text.error());
    }
    conversation_.add_result(std::move(id), std::move(text.value()));
    return std::nullopt;
  }

  // Templates want roles in turn: what one side says twice in a row is one message.
  MaybeError read_message(const Json& item, const std::string& name) {
    Result<std::string> text = text_of(item["content"], name + ".content");
    if (!text.ok()) {
      return std::move(text.error());
    }
    const std::string role = item["role"].get<std::string>();
    if (role == "assistant") {
      conversation_.add_message(role, std::move(text.value()));
    } else {
      conversation_.join_message(role == "user" ? "user" : "system", std::move(text.value()));
    }
    return std::nullopt;
  }

  Conversation conversation_;
  std::set<std::string> calls_;
};

DecisionOption read_choice(const Json& choice) {
  const Json& value = choice["value"];
  DecisionOption option;
  option.text = write_json(value);  // "true" and true are two values
  option.description = string_member(choice, "description");
  if (value.is_boolean()) {
    option.value = value.get<bool>();
  } else {
    option.value = value.get<std::string>();
  }
  return option;
}

DecisionOption read_level(const Json& level) {
  return {level["label"].get<std::string>(), string_member(level, "description"), {}};
}

MaybeError read_options(const Json& asked, const std::string& name, DecisionQuestion& question) {
  switch (question.kind) {
    case QuestionKind::kPredicate:
      question.options = {DecisionOption{"false", "", false}, DecisionOption{"true", "", true}};
      return std::nullopt;
    case QuestionKind::kChoice:
      std::transform(asked["choices"].begin(), asked["choices"].end(), std::back_inserter(question.options),
                     read_choice);
      break;
    case QuestionKind::kScore:
      std::transform(asked["levels"].begin(), asked["levels"].end(), std::back_inserter(question.options), read_level);
      break;
  }
  std::set<std::string_view> seen;
  for (const DecisionOption& option : question.options) {
    if (!seen.insert(option.text).second) {
      const bool is_choice = question.kind == QuestionKind::kChoice;
      return bad_value(name + (is_choice ? ".choices" : ".levels"),
                       fmt::format("'{}.{}' must all differ; {} stands twice", name, is_choice ? "choices" : "levels",
                                   option.text.substr(0, 40)));
    }
  }
  return std::nullopt;
}

Result<DecisionQuestion> read_question(const Json& asked, const std::string& name) {
  DecisionQuestion question;
  const auto& type = asked["type"].get_ref<const std::string&>();
  question.kind = type == "choice"  ? QuestionKind::kChoice
                  : type == "score" ? QuestionKind::kScore
                                    : QuestionKind::kPredicate;
  if (asked.contains("name") && !asked["name"].is_null()) {
    question.name = asked["name"].get<std::string>();
  }
  Result<std::string> instructions = text_of(asked["instructions"], name + ".instructions");
  if (!instructions.ok()) {
    return std::move(instructions.error());
  }
  question.instructions = std::move(instructions.value());
  if (MaybeError error = read_options(asked, name, question)) {
    return *std::move(error);
  }
  return question;
}

std::size_t text_bytes(const DecisionRequest& request) {
  std::size_t bytes = text_bytes(request.chat);
  for (const DecisionQuestion& question : request.questions) {
    bytes += question.instructions.size();
    for (const DecisionOption& option : question.options) {
      bytes += option.text.size() + option.description.size();
    }
  }
  return bytes;
}

// --- writing ---------------------------------------------------------------------------------------------------------

// What a question's labels say.
struct Distribution {
  std::vector<double> probabilities;
  std::size_t best = 0;  // the first of the likeliest
  double confidence = 0;
};

Distribution distribution_of(const std::vector<float>& logprobs) {
  Distribution found;
  const double largest = *std::max_element(logprobs.begin(), logprobs.end());
  double mass = 0;
  double sum = 0;
  for (const float logprob : logprobs) {
    mass += std::exp(static_cast<double>(logprob));
    found.probabilities.push_back(std::exp(logprob - largest));
    sum += found.probabilities.back();
  }
  for (double& probability : found.probabilities) {
    probability /= sum;
  }
  const auto best = std::max_element(found.probabilities.begin(), found.probabilities.end());
  found.best = static_cast<std::size_t>(best - found.probabilities.begin());
  found.confidence = *best * std::min(1.0, mass);  // rounding may bring the sum of parts above the whole
  return found;
}

void write_choice(const DecisionQuestion& question, const Distribution& found, JsonWriter& out) {
  const auto write_value = [&out](const std::variant<std::string, bool>& value) {
    if (const auto* const text = std::get_if<std::string>(&value)) {
      out.string(*text);
    } else {
      out.boolean(std::get<bool>(value));
    }
  };
  out.key("choice");
  write_value(question.options[found.best].value);
  out.key("probabilities").begin_array();
  for (std::size_t i = 0; i < question.options.size(); ++i) {
    out.begin_object().key("value");
    write_value(question.options[i].value);
    out.key("probability").number(found.probabilities[i]).end_object();
  }
  out.end_array().key("confidence").number(found.confidence);
}

void write_score(const DecisionQuestion& question, const Distribution& found, JsonWriter& out) {
  double score = 0;
  for (std::size_t i = 0; i < found.probabilities.size(); ++i) {
    score += static_cast<double>(i) * found.probabilities[i];
  }
  out.key("score").number(score).key("probabilities").begin_array();
  for (std::size_t i = 0; i < question.options.size(); ++i) {
    out.begin_object().key("value").integer(static_cast<std::int64_t>(i)).key("label").string(question.options[i].text);
    out.key("probability").number(found.probabilities[i]).end_object();
  }
  out.end_array().key("confidence").number(found.confidence);
}

void write_answer(const DecisionQuestion& question, const std::vector<float>& logprobs, JsonWriter& out) {
  constexpr const char* kTypes[] = {"predicate", "choice", "score"};  // by QuestionKind
  const Distribution found = distribution_of(logprobs);
  out.begin_object().key("type").string(kTypes[static_cast<std::size_t>(question.kind)]).key("name");
  if (question.name) {
    out.string(*question.name);
  } else {
    out.null();
  }
  switch (question.kind) {
    case QuestionKind::kPredicate:
      out.key("probability").number(found.probabilities[1]);
      break;
    case QuestionKind::kChoice:
      write_choice(question, found, out);
      break;
    case QuestionKind::kScore:
      write_score(question, found, out);
      break;
  }
  out.end_object();
}

}  // namespace

Result<DecisionRequest> parse_decision_request(std::string_view body, const RequestLimits& limits) {
  const Result<Json> parsed = parse_json(body, limits);
  if (!parsed.ok()) {
    return parsed.error();
  }
  const Json& fields = parsed.value();
  if (MaybeError error = decision_schema(limits).check(fields, "")) {
    return *std::move(error);
  }
  DecisionRequest request;
  request.model = fields["model"].get<std::string>();
  InputReader input;
  if (MaybeError error = input.read(fields["input"])) {
    return *std::move(error);
  }
  Json messages = input.take();
  if (messages.size() > static_cast<std::size_t>(limits.messages_max)) {
    return bad_value(
        "input", fmt::format("'input' has {} messages; at most {} are allowed", messages.size(), limits.messages_max));
  }
  FieldReader reader(fields);
  constexpr IgnoredField kIgnored[] = {{"prompt_cache_key"}, {"prompt_cache_options"}, {"safety_identifier"}};
  request.ignored.add_present(reader, kIgnored);
  set_messages(std::move(messages), reader, limits, request.chat);
  if (reader.failed()) {
    return *reader.error();
  }
  for (std::size_t i = 0; i < fields["questions"].size(); ++i) {
    Result<DecisionQuestion> question = read_question(fields["questions"][i], fmt::format("questions[{}]", i));
    if (!question.ok()) {
      return std::move(question.error());
    }
    request.questions.push_back(std::move(question.value()));
  }
  if (MaybeError error = check_text_bytes("input", text_bytes(request), limits)) {
    return *std::move(error);
  }
  return request;
}

std::string write_decision(const std::string& model, std::span<const DecisionQuestion> questions,
                           std::span<const std::vector<float>> logprobs, const AnswerUsage& usage) {
  JsonWriter out;
  out.begin_object().key("model").string(model).key("answers").begin_array();
  for (std::size_t i = 0; i < questions.size(); ++i) {
    write_answer(questions[i], logprobs[i], out);
  }
  out.end_array().key("usage").begin_object();
  out.key("input_tokens").integer(usage.prompt_tokens);
  out.key("input_tokens_details").begin_object();
  out.key("cached_tokens")
      .integer(usage.cached_tokens)
      .key("cache_write_tokens")
      .integer(usage.cache_write_tokens)
      .end_object();
  out.key("output_tokens").integer(usage.completion_tokens);
  out.key("output_tokens_details").begin_object().key("reasoning_tokens").integer(0).end_object();
  out.key("total_tokens").integer(usage.prompt_tokens + usage.completion_tokens);
  out.end_object().end_object();
  return out.take();
}

}  // namespace coppice::openai
