// Tool calls in the form that each kind of chat template wants: the probe finds it by itself.
#include "server/prompts/template_form.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "proto/openai/json_reader.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using openai::Json;

const text::TestTokenizer kTokenizer({"a"});

// What a template makes of one message.
std::string render(const std::string& source, const Json& message, bool drops_odd_arguments = false) {
  const auto program = jinja::ChatTemplate::compile(source);
  REQUIRE(program.ok());
  const TemplateForm form(*program, Json::object());
  const ControlTokens tokens(*program, {}, kTokenizer);
  const Json context = {{"messages", Json::array({form.adapt(message, tokens, {}, drops_odd_arguments)})},
                        {"tools", nullptr}};
  const auto text = program->render(context, jinja::local_time_now());
  INFO(text.status().ToString());
  REQUIRE(text.ok());
  return *text;
}

Json call_message(const Json& content, const Json& arguments, const std::string& id = "call_12345678") {
  Json call = {{"id", id}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", arguments}}}};
  return {{"role", "assistant"}, {"content", content}, {"tool_calls", Json::array({call})}};
}

// Of a chat template: what it does with one message's calls.
std::string with_calls(const std::string& text, const std::string& call) {
  return "{% for m in messages %}" + text + "{% for t in m.tool_calls or [] %}{% set f = t.function %}" + call +
         "{% endfor %}{% endfor %}";
}
const std::string kObject = "[{{ f.name }} {{ f.arguments | tojson }}]";

TEST_CASE("content beside tool calls that is null is empty, whatever the template does with it") {
  for (const char* const text : {"{{ m.content }}", "{{ m.content + '' }}", "{{ m.content | trim }}",
                                 "{% if m.content is string %}{{ m.content }}{% endif %}",
                                 "{% if 'x' in m.content %}{% endif %}", "{{ m['content'].split('x')[-1] }}"}) {
    INFO(text);
    CHECK(render(with_calls(text, kObject), call_message(nullptr, "{}")) == "[f {}]");
    CHECK(render(with_calls(text, kObject), call_message("", "{}")) == "[f {}]");
  }
  const Json plain = {{"role", "assistant"}, {"content", nullptr}};
  CHECK(render("{{ '' ~ messages[0].content }}", plain).empty());
}

TEST_CASE("a template that finds calls by null content, as DeepSeek's, gets null") {
  const std::string source =
      "{% for m in messages %}{% if m.content is none %}{% for t in m.tool_calls %}[{{ t.function.name + "
      "t.function.arguments }}]{% endfor %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
  CHECK(render(source, call_message(nullptr, R"({"a": 1})")) == R"([f{"a": 1}])");
  CHECK(render(source, call_message("", R"({"a": 1})")) == R"([f{"a": 1}])");
  CHECK(render(source, call_message("", Json{{"a", 1}})) == R"([f{"a":1}])");
  CHECK(render(source, call_message("", "")) == "[f{}]");
  CHECK(render(source, {{"role", "assistant"}, {"content", nullptr}}).empty());
}

TEST_CASE("arguments that are no object: as the client sent them, or none where the template cannot write them") {
  const std::string source = with_calls("", kObject);
  CHECK(render(source, call_message("", R"({"a": [1, "x"]})")) == R"([f {"a": [1, "x"]}])");
  CHECK(render(source, call_message("", "")) == "[f {}]");
  CHECK(render(source, call_message("", nullptr)) == "[f {}]");
  CHECK(render(source, call_message("", "[1]")) == "[f [1]]");
  CHECK(render(source, call_message("", "no json")) == R"([f "no json"])");
  CHECK(render(source, call_message("", "no json"), true) == "[f {}]");
  CHECK(render(source, call_message("", "[1]"), true) == "[f {}]");
  CHECK(has_odd_arguments(Json::array({call_message("", "no json")}), {}));
  CHECK_FALSE(has_odd_arguments(Json::array({call_message("", ""), {{"role", "user"}, {"content", "x"}}}), {}));
}

TEST_CASE("integers of any size reach the prompt with all their digits") {
  const std::string digits = "123456789012345678901234567890";
  CHECK(render(with_calls("", kObject), call_message("", R"({"n": )" + digits + "}")) ==
        R"([f {"n": )" + digits + "}]");
  const auto sent = openai::parse_json(R"({"n":-)" + digits + "}", {});
  CHECK(render(with_calls("", "{{ f.arguments.n }}"), call_message("", sent.value())) == "-" + digits);
}

TEST_CASE("templates that count the characters of ids, as Mistral's, get nine; others keep them") {
  const std::string strict = with_calls(
      "{{ m.content }}", "{% if t.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}[{{ f.name }} " +
                             std::string("{{ f.arguments | tojson }} {{ t.id }}]"));
  CHECK(render(strict, call_message("", "{}")) == "[f {} l12345678]");
  CHECK(render(strict, call_message("", "{}", "a-1")) == "[f {} 0000000a1]");
  CHECK(render(strict, call_message("", "{}", "abcdefghi")) == "[f {} abcdefghi]");
  CHECK(render(with_calls("", kObject + "{{ t.id }}"), call_message("", "{}")) == "[f {}]call_12345678");
  const auto program = jinja::ChatTemplate::compile(strict);
  CHECK(TemplateForm(*program, Json::object()).has_short_call_ids());
  const auto lenient = jinja::ChatTemplate::compile(with_calls("", kObject));
  CHECK_FALSE(TemplateForm(*lenient, Json::object()).has_short_call_ids());
}

TEST_CASE("an answer to a call names it by the same id") {
  const std::string strict =
      "{% for m in messages %}{% for t in m.tool_calls or [] %}{% if t.id | length != 9 %}{{ raise_exception('nine') }}"
      "{% endif %}[{{ t.function.name }}{{ t.function.arguments }}{{ t.id }}]{% endfor %}{{ m.tool_call_id }}"
      "{% endfor %}";
  const std::string id = render(strict, call_message("", "{}"));
  const std::string answer = render(strict, {{"role", "tool"}, {"content", "x"}, {"tool_call_id", "call_12345678"}});
  CHECK(id == "[f{}" + answer + "]");
}

}  // namespace
}  // namespace coppice::server
