// What fixtures cannot say: limits, error messages with lines, whose fault an error is, threads, and the context's
// edges.
#include "text/jinja/chat_template.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/text/jinja/fixture_time.h"

namespace coppice::jinja {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::string> render(const std::string& source, const Json& context = Json::object(),
                                   const Limits& limits = {}) {
  const auto compiled = ChatTemplate::compile(source, limits);
  return compiled.ok() ? compiled->render(context, fixture_time()) : compiled.status();
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) {
    result += text;
  }
  return result;
}

bool exhausted(const absl::StatusOr<std::string>& text) {
  return text.status().code() == absl::StatusCode::kResourceExhausted;
}

TEST_CASE("Errors say the line and what is wrong") {
  CHECK(render("a\nb {{ x.y }}").status().message() == "chat template line 2: 'x' is undefined");
  CHECK(render("\n\n{% if %}").status().message() ==
        "chat template line 3: an expression expected, found the end of the tag");
  CHECK(render("{{ 1 + 'a' }}").status().message() ==
        "chat template line 1: unsupported operand types for +: 'int' and 'str'");
  CHECK(render("{% for x in [1] %}\n{{ x }}\n{{ x() }}{% endfor %}").status().message() ==
        "chat template line 3: a 'int' cannot be called");
  // Long enough not to fit a small string, and gone by the time the message is read if it is not copied.
  CHECK(render("{{ ('an_attribute' ~ '_with_a_long_name')[0:0][99].more }}").status().message() ==
        "chat template line 1: the object has no attribute or element '99'");
  CHECK(render("{{ x[('an_attribute' ~ '_with_a_long_name')].more }}", {{"x", {1}}}).status().message() ==
        "chat template line 1: the object has no attribute or element 'an_attribute_with_a_long_name'");
  CHECK(render("{{ '%é' % 1 }}").status().message() ==
        "chat template line 1: the conversion '%é' is not supported in chat templates");
  CHECK(render("{% endfor %}").status().message() == "chat template line 1: misplaced tag 'endfor'");
  CHECK(render("{% for x in y recursive %}{% endfor %}").status().message() ==
        "chat template line 1: recursive loops are not supported");
}

TEST_CASE("What chat templates do not use is refused by name") {
  const std::string end = " not supported in chat templates";
  for (const auto& [source, what] : std::vector<std::pair<std::string, std::string>>{
           {"{{ [1]|batch(2) }}", "filter 'batch' is"},
           {"{% if true %}{{ 'a'|truncate(3) }}{% endif %}", "filter 'truncate' is"},
           {"{{ ['a']|map('wordcount')|list }}", "filter 'wordcount' is"},
           {"{{ [1]|sum }}", "filter 'sum' is"},
           {"{{ [1]|groupby('a') }}", "filter 'groupby' is"},
           {"{{ '%s'|format(1) }}", "filter 'format' is"},
           {"{{ 'a' is upper }}", "test 'upper' is"},
           {"{{ 'a' is callable }}", "test 'callable' is"},
           {"{{ ['a']|select('lower')|list }}", "test 'lower' is"},
           {"{{ 'a'.swapcase() }}", "method 'swapcase' is"},
           {"{{ 'a'.encode is defined }}", "method 'encode' is"},
           {"{{ '{}'.format(1) }}", "method 'format' is"},
           {"{{ 'a.b'.partition('.') }}", "method 'partition' is"},
           {"{{ {}.fromkeys([1]) }}", "method 'fromkeys' is"},
           {"{{ {'update': 1}.update }}", "method 'update' is"},
           {"{{ [1].append(2) }}", "method 'append' is"},
           {"{% for x in [1] %}{{ loop.changed(x) }}{% endfor %}", "loop attribute 'changed' is"},
           {"{% include 'x' %}", "tag 'include' is"},
           {"{% raw %}x{% endraw %}", "tag 'raw' is"},
           {"{% call m() %}x{% endcall %}", "tag 'call' is"},
           {"{{ range(3) }}", "printing a 'range' is"},
           {"{{ namespace(a=1) }}", "printing a 'Namespace' is"},
           {"{{ {}.keys() }}", "printing a 'dict_keys' is"},
           {"{{ [1] < [2] }}", "ordering a 'list' and a 'list' is"},
           {"{{ [1] * 2 }}", "repeating a list is"},
           {"{{ 'abc'[::2] }}", "a slice with a step beyond 1 is"},
           {"{{ [1]|sort(attribute='a,b') }}", "sorting by several attributes is"},
           {"{{ 7.5 % 2 }}", "'//' and '%' of floats are"},
           {"{{ 0x1f }}", "numbers of another base, with '_' or with leading zeros are"},
           {"{{ '%c' % 65 }}", "the conversion '%c' is"},
           {"{{ '%5d' % 65 }}", "the conversion '%5' is"},
           {"{{ '1_000'|int }}", "a number with '_' or digits beyond ASCII is"},
           {"{{ 15|round(-1) }}", "this precision or method of round is"},
           {"{{ strftime_now('%Y %Z') }}", "%f, %z and %Z of strftime_now() are"},
           {"{% macro m() %}{% endmacro %}{{ m.name }}", "attributes of functions are"},
           {"{% macro m() %}{{ varargs }}{% endmacro %}", "'varargs' is"},
           {"{% macro m() %}{{ caller() }}{% endmacro %}", "'caller' is"},
           {"{{ dict(*[1]) }}", "'*' and '**' in calls are"}}) {
    CAPTURE(source);
    CHECK(render(source).status().message() == "chat template line 1: " + what + end);
  }
  CHECK(render("{% if false %}{{ 'a'|truncate(3) }}{% endif %}fine").value() == "fine");
}

TEST_CASE("integers beyond 64 bits are printed and compared, with all their digits") {
  const auto large = [](const std::string& digits) {
    return Json::binary(std::vector<std::uint8_t>(digits.begin(), digits.end()));
  };
  const Json context = {{"a", large("18446744073709551616")},
                        {"b", large("18446744073709551617")},
                        {"n", large("-123456789012345678901234567890")},
                        {"m", large("-99999999999999999999")},
                        {"u", 18446744073709551615ULL}};
  // The outputs are Python's.
  CHECK(render("{{ a }} {{ [n] }} {{ {'k': b} | tojson }} {{ '%d' % a }} {{ u }} {{ +a }}", context).value() ==
        "18446744073709551616 [-123456789012345678901234567890] {\"k\": 18446744073709551617} 18446744073709551616 "
        "18446744073709551615 18446744073709551616");
  CHECK(render("{{ a < b }} {{ b < a }} {{ a == b }} {{ a == a }} {{ n < m }} {{ m < n }} {{ n < 0 }} {{ a > 5 }} {{ u "
               "< a }} "
               "{{ a > 1.5e300 }} {{ a is number }} {{ a is integer }} {{ a is string }} {{ 1 if a else 0 }}",
               context)
            .value() == "True False False True True False True True True False True True False 1");
  CHECK_FALSE(render("{{ a + 1 }}", context).ok());
}

TEST_CASE("what a template writes: its texts and strings, not its names and comments") {
  const auto compiled =
      ChatTemplate::compile("<a>{# <b> #}{{ '<c>' + d }}{% if x == 'role' %}{{ \"<e>\" }}{% endif %}");
  REQUIRE(compiled.ok());
  for (const char* const text : {"<a>", "<c>", "<e>", "role", "c"}) {
    CHECK(compiled->writes(text));
  }
  for (const char* const text : {"<b>", "d", "x", "<a><c>"}) {
    CHECK_FALSE(compiled->writes(text));
  }
  CHECK(compiled->names("role"));
  CHECK_FALSE(compiled->names("rol"));
}

TEST_CASE("raise_exception is told apart from a template that fails") {
  const auto refused = render("{% if true %}\n{{ raise_exception('roles must alternate') }}{% endif %}");
  CHECK(refused.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(refused.status().message() == "chat template line 2: roles must alternate");
  CHECK(render("{{ nothing.at.all }}").status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Work is bounded") {
  const std::string loops = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
  CHECK(exhausted(render(loops)));
  CHECK(exhausted(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")));
  CHECK(exhausted(render("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", Json::object(),
                         {.evaluation_depth_max = 100})));
  CHECK(exhausted(render("{{ range(100001) }}")));
  CHECK(render("{{ range(100000)|length }}").value() == "100000");
  CHECK(exhausted(render("{{ range(0, 9223372036854775807) }}")));
  // A search that a naive find() would take 2^40 comparisons for.
  CHECK(render("{{ ('a' * 1000000).find('a' * 500000 ~ 'b') }}").value() == "-1");
}

TEST_CASE("Work on text is charged by the bytes that it touches") {
  // Each takes seconds at a step per call; refused, it ends in a fraction of one.
  const Json context = {
      {"m", std::string(1U << 20U, 'x')}, {"u", repeated("é", 1 << 19)}, {"q", std::string(1U << 20U, '"')}};
  for (const char* expression : {"m.find('zz')",
                                 "'zz' in m",
                                 "m|upper|length",
                                 "u|lower|length",
                                 "u.title()|length",
                                 "m.replace('x', 'yy')|length",
                                 "u[::-1]|length",
                                 "u[-1]",
                                 "(q|tojson)|length",
                                 "([q]|string)|length",
                                 "(q|e)|length",
                                 "m|indent|length",
                                 "m.split('y')|length",
                                 "(m ~ ' ')|trim|length",
                                 "m == m ~ 'x'",
                                 "{m: 1}[m]",
                                 "m.startswith(m)",
                                 "(range(300)|map('float')|map('round', 300)|list)|length",
                                 "strftime_now('%%' * 2000)",
                                 "m|list|length"}) {
    CAPTURE(expression);
    const std::string source = "{% for i in range(5000) %}{{ " + std::string(expression) + " }}{% endfor %}";
    const auto start = std::chrono::steady_clock::now();
    CHECK(exhausted(render(source, context)));
    // Generous: sanitizers and loaded machines are slow.
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  }
}

TEST_CASE("Thousands of variables in one scope are charged when they are searched") {
  std::string source = "{% macro m() %}";
  for (int i = 0; i < 8000; ++i) {
    source += "{% set v" + std::to_string(i) + " = 1 %}";
  }
  CHECK(exhausted(render(source + "{% for i in range(99999) %}{{ absent }}{% endfor %}{% endmacro %}{{ m() }}")));
}

TEST_CASE("Memory and output are bounded") {
  CHECK(exhausted(render("{{ ('a' * 1000000) * 1000000 }}")));
  CHECK(exhausted(render("{{ 'a' * 9223372036854775807 }}")));
  CHECK(exhausted(render("{{ 'a'|indent(999999999, true) }}")));
  CHECK(exhausted(render("{{ [[1]]|tojson(indent=999999999) }}")));
  const std::string doubling =
      "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
  CHECK(exhausted(render(doubling)));
  const std::string lists =
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
  CHECK(exhausted(render(lists)));
  CHECK(exhausted(render("{{ 'aaaa' }}", Json::object(), {.output_bytes_max = 3})));
  CHECK(render("{{ 'aaa' }}", Json::object(), {.output_bytes_max = 3}).value() == "aaa");
  CHECK(exhausted(render("{{ m }}", {{"m", std::string(1000, 'x')}}, {.value_bytes_max = 500})));
  CHECK(exhausted(render("12345", Json::object(), {.source_bytes_max = 4})));
  // Strings that fall out of use are given back: 20,000 times 10 kB go through 4 MB.
  const std::string churn = "{% set y = 'y' * 10000 %}{% for i in range(2000) %}{% set x = y ~ i %}{% endfor %}ok";
  CHECK(render(churn, Json::object(), {.value_bytes_max = 4U << 20U}).value() == "ok");
}

TEST_CASE("Text under construction is in the budget at every level of a recursion") {
  const Json context = {{"m", std::string(100'000, 'x')}};
  for (const char* body :
       {"{{ m ~ f(n - 1) }}", "{{ m }}{{ f(n - 1)|length }}", "{% set x %}{{ m }}{{ f(n - 1) }}{% endset %}"}) {
    CAPTURE(body);
    const std::string macro =
        "{% macro f(n) %}{% if n > 0 %}" + std::string(body) + "{% endif %}{% endmacro %}{{ f(60) }}";
    CHECK(exhausted(render(macro, context, {.value_bytes_max = 4U << 20U})));
  }
  const Json large = {{"numbers", std::vector<int>(200'000, 1)}};
  CHECK(exhausted(render("{{ numbers|length }}", large, {.value_bytes_max = 4U << 20U})));
}

TEST_CASE("An error says at most some kilobytes of what the template put into it") {
  const auto refused = render("{{ raise_exception('é' * 100000) }}");
  CHECK(refused.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(refused.status().message().size() < 5000);
  CHECK(refused.status().message().size() > 4000);
}

TEST_CASE("Depth is bounded") {
  for (const auto& [open, close] : std::vector<std::pair<std::string, std::string>>{{"(", ")"},
                                                                                    {"[", "]"},
                                                                                    {"{1:", "}"},
                                                                                    {"-", ""},
                                                                                    {"not ", ""},
                                                                                    {"f(", ")"},
                                                                                    {"x[", "]"},
                                                                                    {"1 if 1 else ", ""}}) {
    CAPTURE(open);
    const std::string source = "{{ " + repeated(open, 100000) + "1" + repeated(close, 100000) + " }}";
    CHECK(exhausted(render(source)));
  }
  CHECK(exhausted(render("{{ 1" + repeated("+1", 200000) + " }}")));
  CHECK(exhausted(render("{{ x" + repeated("|list", 100000) + " }}")));
  CHECK(exhausted(render(repeated("{% if 1 %}", 50000) + repeated("{% endif %}", 50000))));
  CHECK(exhausted(render("{% for " + repeated("(", 50000) + "a" + repeated(",)", 50000) + " in x %}{% endfor %}")));
  const std::string nest =
      "{% set ns = namespace(x=[]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}";
  for (const char* use : {"{{ ns.x }}", "{{ ns.x|tojson }}", "{{ ns.x == [ns.x] }}", "{{ '%s' % ns.x }}"}) {
    CAPTURE(use);
    CHECK(exhausted(render(nest + use)));
  }
  const std::string pipe =
      "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = ns.x|map('string') %}{% endfor %}";
  CHECK(exhausted(render(pipe + "{{ ns.x|list }}")));
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) {
    deep = Json::array({std::move(deep)});
  }
  CHECK(exhausted(render("{{ deep is defined }}", {{"deep", deep}})));
}

TEST_CASE("Integers never wrap") {
  for (const char* source :
       {"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 4611686018427387904 * 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}",
        "{{ (-9223372036854775807 - 1)|abs }}", "{{ '9999999999999999999'|int }}", "{{ 1e30|int }}", "{{ big + 1 }}"}) {
    CAPTURE(source);
    CHECK(exhausted(render(source, {{"big", 18446744073709551615U}})));
  }
  CHECK(render("{{ (-9223372036854775807 - 1) % -1 }}").value() == "0");
  CHECK_FALSE(render("{{ 9223372036854775808 }}").ok());
}

TEST_CASE("The context is checked") {
  CHECK_FALSE(render("x", Json::array()).ok());
  CHECK_FALSE(render("{{ m }}", {{"m", "\xff\xfe"}}).ok());
  CHECK_FALSE(render("{{ m }}", {{"m", "\xed\xa0\x80"}}).ok());  // a surrogate
  CHECK_FALSE(render("\xc3(").ok());
  const Json ordered = Json::parse(R"({"m": {"z": 1, "a": 2, "k": {"y": 1, "b": 2}}})");
  CHECK(render("{{ m|tojson }}", ordered).value() == R"({"z": 1, "a": 2, "k": {"y": 1, "b": 2}})");
  CHECK(render("{{ range }}", {{"range", "mine"}}).value() == "mine");
  CHECK(render("{{ none is none }}{{ n is none }}{{ n is defined }}", {{"n", nullptr}}).value() == "TrueTrueTrue");
}

TEST_CASE("A compiled template renders in many threads at once, always the same") {
  const auto compiled = ChatTemplate::compile(
      "{% macro m(x) %}[{{ x }}]{% endmacro %}{% for x in xs %}{{ m(x ~ 'lit') }}{{ {'k': 'v'}.k }}{% endfor %}");
  REQUIRE(compiled.ok());
  const Json context = {{"xs", {1, "two", 3.5}}};
  const std::string expected = "[1lit]v[twolit]v[3.5lit]v";
  std::vector<int> wrong(8);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&, copy = *compiled] {
      for (int i = 0; i < 500; ++i) {
        const auto text = copy.render(context, fixture_time());
        count += text.ok() && *text == expected ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(wrong == std::vector<int>(8, 0));
}

}  // namespace
}  // namespace coppice::jinja
