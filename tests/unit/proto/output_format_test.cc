// What a request asks its output to match, by every name that APIs and servers have for it.
#include "proto/openai/output_format.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "proto/anthropic/parse_messages.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/parse_responses.h"

namespace coppice::openai {
namespace {

using Kind = OutputFormatKind;

RequestLimits limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  limits.name_bytes_max = 20;
  return limits;
}

Result<GenerationRequest> completion(const std::string& fields) {
  return parse_completion_request(fmt::format(R"({{"prompt":"x",{}}})", fields), limits());
}

Result<GenerationRequest> chat(const std::string& fields) {
  return parse_chat_request(fmt::format(R"({{"messages":[{{"role":"user","content":"x"}}],{}}})", fields), limits());
}

Result<ResponsesRequest> response(const std::string& fields) {
  return read_responses_request(parse_json(fmt::format(R"({{"input":"x",{}}})", fields), limits()).value(), {},
                                limits());
}

Result<GenerationRequest> message(const std::string& fields) {
  const std::string body = fmt::format(R"({{"max_tokens":4,"messages":[{{"role":"user","content":"x"}}],{}}})", fields);
  return anthropic::read_messages_request(parse_json(body, limits()).value(), limits());
}

// What a format says, as one text.
std::string shown(const OutputFormat& format) {
  std::string text = fmt::format("{} {}", static_cast<int>(format.kind), format.text);
  for (const std::string& choice : format.choices) {
    text += "|" + choice;
  }
  return text + (format.strict ? " strict" : "") + " " + format.field + " " + format.name;
}

TEST_CASE("completions and chats take the format by the names of OpenAI, vLLM, SGLang and llama.cpp") {
  const std::string schema = R"({"type":"object","properties":{"b":{},"a":{}}})";
  const std::string quoted = Json(schema).dump();
  const std::string tag = R"({"type":"structural_tag","format":{"type":"any_text"}})";
  const std::pair<std::string, std::string> kRows[] = {
      {R"("response_format":{"type":"text"})", "0   "},
      {R"("response_format":{})", "0   "},
      {R"("response_format":null)", "0   "},
      {R"("response_format":{"type":"json_object"})", "1  response_format "},
      {R"("response_format":{"type":"json_object","schema":)" + schema + "}", "2 " + schema + " response_format "},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"description":"d","schema":)" +
           schema + "}}",
       "2 " + schema + " strict response_format n"},
      {R"("response_format":{"type":"json_schema","json_schema":{"strict":null,"schema":{}}})",
       "2 {} response_format "},
      {R"("response_format":{"type":"json_schema","schema":true})", "2 true response_format "},
      {R"("response_format":)" + tag, "6 " + tag + " response_format "},
      {R"("structured_outputs":{"json":)" + schema + "}", "2 " + schema + " structured_outputs.json "},
      {R"("structured_outputs":{"json":)" + quoted + R"(,"regex":null})", "2 " + schema + " structured_outputs.json "},
      {R"("structured_outputs":{"regex":"a+"})", "3 a+ structured_outputs.regex "},
      {R"("structured_outputs":{"grammar":"root ::= \"a\""})", R"(4 root ::= "a" structured_outputs.grammar )"},
      {R"("structured_outputs":{"choice":["a","b"]})", "5 |a|b structured_outputs.choice "},
      {R"("structured_outputs":{"json_object":true})", "1  structured_outputs.json_object "},
      {R"("structured_outputs":{"json_object":false})", "0   "},
      {R"("structured_outputs":{"structural_tag":)" + Json(tag).dump() + "}",
       "6 " + tag + " structured_outputs.structural_tag "},
      {R"("structured_outputs":{})", "0   "},
      {R"("guided_json":)" + schema, "2 " + schema + " guided_json "},
      {R"("guided_json":{})", "2 {} guided_json "},
      {R"("guided_regex":"a")", "3 a guided_regex "},
      {R"("guided_grammar":"g")", "4 g guided_grammar "},
      {R"("guided_choice":["a"])", "5 |a guided_choice "},
      {R"("guided_json_object":true)", "1  guided_json_object "},
      {R"("json_schema":)" + quoted, "2 " + schema + " json_schema "},
      {R"("regex":"a")", "3 a regex "},
      {R"("ebnf":"g")", "4 g ebnf "},
      {R"("grammar":"g")", "4 g grammar "},
      {R"("structural_tag":)" + tag, "6 " + tag + " structural_tag "},
      {R"("regex":"","ebnf":"","grammar":"","json_schema":"","guided_choice":[],"structural_tag":{})", "0   "},
  };
  for (const auto& [fields, wanted] : kRows) {
    INFO(fields);
    const auto by_completion = completion(fields);
    const auto by_chat = chat(fields);
    REQUIRE(by_completion.ok());
    REQUIRE(by_chat.ok());
    CHECK(shown(by_completion.value().format) == wanted);
    CHECK(shown(by_chat.value().format) == wanted);
    CHECK(by_chat.value().ignored.header().empty());
  }
}

TEST_CASE("what has no effect is named") {
  const auto parsed = completion(
      R"("guided_regex":"a","guided_decoding_backend":"outlines","guided_whitespace_pattern":"x","colour":1)");
  CHECK(parsed.value().ignored.header() == "guided_decoding_backend, guided_whitespace_pattern, colour");
  const auto structured =
      completion(R"("structured_outputs":{"regex":"a","whitespace_pattern":" ","disable_any_whitespace":true,)"
                 R"("disable_fallback":true,"disable_additional_properties":true,"size":2})");
  CHECK(structured.value().ignored.header() ==
        "structured_outputs.whitespace_pattern, structured_outputs.disable_any_whitespace, structured_outputs.size");
}

TEST_CASE("wrong forms name the field") {
  const std::pair<const char*, const char*> kRows[] = {
      {R"("response_format":"json")", "response_format"},
      {R"("response_format":{"type":1})", "response_format.type"},
      {R"("response_format":{"type":"xml"})", "response_format.type"},
      {R"("response_format":{"type":"json_schema"})", "response_format.schema"},
      {R"("response_format":{"type":"json_schema","json_schema":1})", "response_format.json_schema"},
      {R"("response_format":{"type":"json_schema","json_schema":{}})", "response_format.json_schema.schema"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":1}})", "response_format.json_schema.schema"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":{},"strict":1}})",
       "response_format.json_schema.strict"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":{},"name":1}})",
       "response_format.json_schema.name"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":{},"name":"123456789012345678901"}})",
       "response_format.json_schema.name"},
      {R"("structured_outputs":"x")", "structured_outputs"},
      {R"("structured_outputs":{"regex":1})", "structured_outputs.regex"},
      {R"("structured_outputs":{"json":[]})", "structured_outputs.json"},
      {R"("structured_outputs":{"choice":"a"})", "structured_outputs.choice"},
      {R"("structured_outputs":{"choice":[1]})", "structured_outputs.choice"},
      {R"("structured_outputs":{"json_object":"yes"})", "structured_outputs.json_object"},
      {R"("guided_json":3)", "guided_json"},
      {R"("regex":{})", "regex"},
      {R"("ebnf":[])", "ebnf"},
      // two of them
      {R"("response_format":{"type":"json_object"},"guided_regex":"a")", "guided_regex"},
      {R"("structured_outputs":{"regex":"a","choice":["b"]})", "structured_outputs.choice"},
      {R"("regex":"a","ebnf":"b")", "ebnf"},
  };
  for (const auto& [fields, param] : kRows) {
    INFO(fields);
    for (const auto& refused : {completion(fields), chat(fields)}) {
      REQUIRE_FALSE(refused.ok());
      CHECK(refused.error().param == param);
      CHECK(refused.error().status == 400);
      CHECK(refused.error().type == "invalid_request_error");
    }
  }
}

TEST_CASE("responses have it in text.format, and repeat it") {
  const auto parsed =
      response(R"("text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"null"}}})");
  REQUIRE(parsed.ok());
  CHECK(shown(parsed.value().generation.format) == R"(2 {"type":"null"} strict text.format n)");
  bool is_repeated = false;
  for (const auto& [name, json] : parsed.value().echo) {
    is_repeated = is_repeated || (std::string(name) == "text" && Json::parse(json)["format"]["name"] == "n");
  }
  CHECK(is_repeated);
  CHECK(shown(response(R"("text":{"format":{"type":"json_object"}})").value().generation.format) == "1  text.format ");
  CHECK(response(R"("text":{"format":{"type":"text"}})").value().generation.format.is_free());
  CHECK(shown(response(R"("structured_outputs":{"regex":"a"})").value().generation.format) ==
        "3 a structured_outputs.regex ");
  CHECK(response(R"("text":{"format":{"type":"xml"}})").error().param == "text.format.type");
  CHECK(response(R"("text":{"format":{}})").error().param == "text.format");
  CHECK(response(R"("text":{"format":{"type":"json_schema"}})").error().param == "text.format.schema");
  CHECK(response(R"("response_format":{"type":"json_object"})").error().param == "response_format");
}

TEST_CASE("messages have it in output_config.format or output_format, and mean it strictly") {
  for (const char* const fields :
       {R"("output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"null"}}})",
        R"("output_format":{"type":"json_schema","schema":{"type":"null"}})"}) {
    const auto parsed = message(fields);
    REQUIRE(parsed.ok());
    CHECK(parsed.value().format.kind == Kind::kJsonSchema);
    CHECK(parsed.value().format.text == R"({"type":"null"})");
    CHECK(parsed.value().format.strict);
  }
  CHECK(message(R"("output_config":{"format":{"type":"json_schema"}})").error().param == "output_config.format.schema");
  CHECK(message(R"("output_format":{"type":"json_object"},"output_config":{"format":{"type":"json_object"}})")
            .error()
            .param == "output_format");
}

}  // namespace
}  // namespace coppice::openai
