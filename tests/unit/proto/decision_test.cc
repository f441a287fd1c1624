// Decisions: bodies of OpenAI's shape, good and bad; inputs as conversations; probabilities.
#include "proto/openai/decision.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace coppice::openai {
namespace {

RequestLimits small_limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  limits.questions_max = 3;
  limits.question_choices_max = 4;
  limits.name_bytes_max = 20;
  return limits;
}

constexpr const char* kPredicate = R"({"type":"predicate","instructions":"Is it?"})";

std::string body(const std::string& input, const std::string& questions) {
  return R"({"model":"m","input":)" + input + R"(,"questions":)" + questions + "}";
}

DecisionRequest parse(const std::string& text) {
  Result<DecisionRequest> parsed = parse_decision_request(text, small_limits());
  INFO(text << (parsed.ok() ? "" : parsed.error().message));
  REQUIRE(parsed.ok());
  return std::move(parsed.value());
}

TEST_CASE("questions of all kinds arrive with their options") {
  const DecisionRequest request = parse(body(R"("state")", R"([
      {"type":"predicate","instructions":"Is it?","name":"p"},
      {"type":"choice","instructions":[{"type":"input_text","text":"Which"},{"type":"input_json","data":{"a":[1]}}],
       "choices":[{"value":"yes","description":"sure"},{"value":"true"},{"value":true,"description":null}]},
      {"type":"score","instructions":"How?","name":null,
       "levels":[{"label":"low"},{"label":"high","description":"very"}]}
    ])"));
  REQUIRE(request.questions.size() == 3);
  const DecisionQuestion& predicate = request.questions[0];
  CHECK(predicate.kind == QuestionKind::kPredicate);
  CHECK(predicate.name == "p");
  CHECK(predicate.options[0].text == "false");
  CHECK(predicate.options[1].text == "true");
  const DecisionQuestion& choice = request.questions[1];
  CHECK(choice.kind == QuestionKind::kChoice);
  CHECK_FALSE(choice.name.has_value());
  CHECK(choice.instructions == "Which\n{\"a\":[1]}");
  CHECK(choice.options[0].text == "\"yes\"");
  CHECK(choice.options[0].description == "sure");
  CHECK(std::get<std::string>(choice.options[1].value) == "true");
  CHECK(std::get<bool>(choice.options[2].value));
  CHECK(choice.options[2].description.empty());
  const DecisionQuestion& score = request.questions[2];
  CHECK(score.kind == QuestionKind::kScore);
  CHECK(score.options[1].text == "high");
  CHECK(score.options[1].description == "very");
}

struct InputRow {
  const char* input;
  const char* messages;
};

TEST_CASE("an input becomes a conversation that ends with a user's message") {
  const InputRow rows[] = {
      {R"("text")", R"([{"role":"user","content":"text"}])"},
      {R"([{"role":"user","content":"a"}])", R"([{"role":"user","content":"a"}])"},
      {R"([{"type":"message","role":"developer","content":"be"},{"role":"user","content":[{"type":"input_text","text":"a"},
           {"type":"input_json","data":[{"k":null}]}]}])",
       R"([{"role":"system","content":"be"},{"role":"user","content":"a\n[{\"k\":null}]"}])"},
      {R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])", R"([{"role":"user","content":"a\nb"}])"},
      {R"([{"role":"user","content":"a"},{"role":"assistant","phase":"final_answer","content":[{"type":"output_text","text":"b"},
           {"type":"refusal","refusal":"no"}]}])",
       R"([{"role":"user","content":"a"},{"role":"assistant","content":"b\nno"},{"role":"user","content":""}])"},
      {R"([{"role":"user","content":"a"},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"x\":1}"},
           {"type":"function_call_output","call_id":"c","output":"r"}])",
       R"([{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":
           [{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
           {"role":"tool","tool_call_id":"c","content":"r"},{"role":"user","content":""}])"},
      {R"([{"role":"assistant","content":"t"},{"type":"custom_tool_call","call_id":"c","name":"f","input":"raw","namespace":"n"},
           {"type":"custom_tool_call_output","call_id":"c","output":[{"type":"input_text","text":"r"}],
            "status":"completed"}])",
       R"([{"role":"assistant","content":"t","tool_calls":
           [{"id":"c","type":"function","function":{"name":"f","arguments":{"input":"raw"}}}]},
           {"role":"tool","tool_call_id":"c","content":"r"},{"role":"user","content":""}])"},
      {R"([{"type":"function_call","call_id":"c","name":"f","arguments":"not JSON"}])",
       R"([{"role":"assistant","content":null,"tool_calls":
           [{"id":"c","type":"function","function":{"name":"f","arguments":"not JSON"}}]},
           {"role":"user","content":""}])"},
  };
  for (const InputRow& row : rows) {
    CHECK(*parse(body(row.input, fmt::format("[{}]", kPredicate))).chat.messages == Json::parse(row.messages));
  }
}

struct BadRow {
  const char* input;
  const char* questions;
  const char* param;
  const char* message;  // part of it
};

TEST_CASE("what the API does not have, or bounds, is refused by name") {
  const std::string one = fmt::format("[{}]", kPredicate);
  const BadRow rows[] = {
      {"3", one.c_str(), "input", "a string or an array of items; got the number 3"},
      {R"("")", one.c_str(), "input", "a string of 1 to"},
      {"[]", one.c_str(), "input", "an array of 1 to"},
      {R"([{"role":"tool","content":"a"}])", one.c_str(), "input[0].role", "\"user\", \"developer\", \"system\" or"},
      {R"([{"role":"user"}])", one.c_str(), "input[0].content", "is missing"},
      {R"([{"role":"user","content":"a","name":"n"}])", one.c_str(), "input[0].name", "not a field"},
      {R"([{"role":"user","content":[{"type":"input_image","image_url":"x"}]}])", one.c_str(),
       "input[0].content[0].type", "\"input_text\" or \"input_json\"; got the string \"input_image\""},
      {R"([{"role":"system","content":[{"type":"input_json","data":{}}]}])", one.c_str(), "input[0].content[0].type",
       "must be \"input_text\""},
      {R"([{"role":"user","content":[{"type":"input_json","data":[1]}]}])", one.c_str(), "input[0].content[0].data",
       "an object or an array of objects"},
      {R"([{"role":"user","content":[{"type":"input_text","text":"a","prompt_cache_breakpoint":{"mode":"x"}}]}])",
       one.c_str(), "input[0].content[0].prompt_cache_breakpoint.mode", "\"explicit\""},
      {R"([{"type":"reasoning"}])", one.c_str(), "input[0].type", "\"message\", \"function_call\""},
      {R"([{"type":"function_call_output","call_id":"c","output":"r"}])", one.c_str(), "input[0].call_id",
       "an earlier call; got \"c\""},
      {R"([{"type":"function_call","call_id":"c","name":"f"}])", one.c_str(), "input[0].arguments", "is missing"},
      {R"("s")", "[]", "questions", "an array of 1 to 3 questions; got an empty array"},
      {R"("s")", R"([{"type":"noul","instructions":"a"}])", "questions[0].type",
       "\"predicate\", \"choice\" or \"score\""},
      {R"("s")", R"([{"instructions":"a"}])", "questions[0]", "an object whose 'type' is"},
      {R"("s")", R"([{"type":"predicate"}])", "questions[0].instructions", "is missing"},
      {R"("s")", R"([{"type":"predicate","instructions":""}])", "questions[0].instructions", "a string of 1 to"},
      {R"("s")", R"([{"type":"predicate","instructions":"a","choices":[]}])", "questions[0].choices", "not a field"},
      {R"("s")", R"([{"type":"choice","instructions":"a"}])", "questions[0].choices", "an array of 2 to 4 choices"},
      {R"("s")", R"([{"type":"choice","instructions":"a","choices":[{"value":"x"}]}])", "questions[0].choices",
       "an array of 2 to 4 choices; got an array of 1"},
      {R"("s")", R"([{"type":"choice","instructions":"a","choices":[{"value":"x"},{"value":"x"}]}])",
       "questions[0].choices", "must all differ; \"x\" stands twice"},
      {R"("s")", R"([{"type":"choice","instructions":"a","choices":[{"value":"x"},{"value":1}]}])",
       "questions[0].choices[1].value", "a string, true or false; got the number 1"},
      {R"("s")", R"([{"type":"score","instructions":"a","levels":[{"label":"x"},{"label":"x"}]}])",
       "questions[0].levels", "must all differ"},
      {R"("s")", R"([{"type":"score","instructions":"a","levels":[{"label":"x"},{"label":"y","value":1}]}])",
       "questions[0].levels[1].value", "not a field"},
  };
  for (const BadRow& row : rows) {
    INFO(row.input << " " << row.questions);
    const Result<DecisionRequest> parsed = parse_decision_request(body(row.input, row.questions), small_limits());
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().status == 400);
    CHECK(parsed.error().param == row.param);
    CHECK_THAT(parsed.error().message, Catch::Contains(row.message));
  }
  for (const char* const extra : {R"("stream":true)", R"("temperature":0)", R"("chat_template_kwargs":{})"}) {
    const std::string text = R"({"model":"m","input":"s","questions":)" + one + "," + extra + "}";
    const Result<DecisionRequest> parsed = parse_decision_request(text, small_limits());
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().code == "unknown_parameter");
  }
  CHECK_FALSE(parse_decision_request(R"({"input":"s","questions":)" + one + "}", small_limits()).ok());  // no model
}

TEST_CASE("JSON parts have OpenAI's bounds") {
  std::string deep = "1";
  for (int i = 0; i < 32; ++i) {
    deep = R"({"a":)" + deep + "}";
  }
  const auto input = [](const std::string& data) {
    return body(R"([{"role":"user","content":[{"type":"input_json","data":)" + data + "}]}]",
                fmt::format("[{}]", kPredicate));
  };
  parse(input(deep));
  CHECK_FALSE(parse_decision_request(input(R"({"a":)" + deep + "}"), small_limits()).ok());
  const std::string many = R"({"a":[0)" + [] {
    std::string zeros;
    for (int i = 0; i < 10'000; ++i) {
      zeros += ",0";
    }
    return zeros;
  }() + "]}";
  const Result<DecisionRequest> refused = parse_decision_request(input(many), small_limits());
  REQUIRE_FALSE(refused.ok());
  CHECK_THAT(refused.error().message, Catch::Contains("10003 values"));
}

TEST_CASE("probabilities are the softmax over the labels; confidence counts what the labels have of all") {
  const DecisionRequest request = parse(body(R"("s")", R"([
      {"type":"predicate","instructions":"p","name":"n"},
      {"type":"choice","instructions":"c","choices":[{"value":"x"},{"value":false}]},
      {"type":"score","instructions":"s","levels":[{"label":"l"},{"label":"m"},{"label":"h"}]}])"));
  const auto log = [](double probability) { return static_cast<float>(std::log(probability)); };
  const std::vector<std::vector<float>> logprobs = {
      {log(0.1), log(0.3)}, {log(0.2), log(0.2)}, {log(0.1), log(0.1), log(0.2)}};
  AnswerUsage usage;
  usage.prompt_tokens = 20;
  usage.cached_tokens = 16;
  usage.completion_tokens = 3;
  const Json answer = Json::parse(write_decision("m", request.questions, logprobs, usage));
  CHECK_FALSE(decision_answer_schema().check(answer, "answer").has_value());
  const Json& answers = answer["answers"];
  CHECK(answers[0]["name"] == "n");
  CHECK(answers[0]["probability"].get<double>() == Approx(0.75));
  CHECK(answers[1]["name"].is_null());
  CHECK(answers[1]["choice"] == "x");  // of equals the first
  CHECK(answers[1]["confidence"].get<double>() == Approx(0.2));
  CHECK(answers[1]["probabilities"][1]["value"] == false);
  CHECK(answers[2]["score"].get<double>() == Approx(0.25 + 2 * 0.5));
  CHECK(answers[2]["probabilities"][2]["label"] == "h");
  CHECK(answers[2]["probabilities"][2]["value"] == 2);
  CHECK(answers[2]["confidence"].get<double>() == Approx(0.5 * 0.4));
  CHECK(answer["usage"]["input_tokens"] == 20);
  CHECK(answer["usage"]["input_tokens_details"]["cached_tokens"] == 16);
  CHECK(answer["usage"]["output_tokens"] == 3);
  CHECK(answer["usage"]["total_tokens"] == 23);
  // Labels that the model never says, and a mass that rounding brings above 1.
  const std::vector<std::vector<float>> extreme = {
      {-9999.0F, -9999.0F}, {1e-7F, -9999.0F}, {-9999.0F, -1e-9F, -9999.0F}};
  const Json ends = Json::parse(write_decision("m", request.questions, extreme, usage));
  CHECK_FALSE(decision_answer_schema().check(ends, "answer").has_value());
  CHECK(ends["answers"][0]["probability"] == 0.5);
  CHECK(ends["answers"][1]["confidence"] == 1.0);
}

}  // namespace
}  // namespace coppice::openai
