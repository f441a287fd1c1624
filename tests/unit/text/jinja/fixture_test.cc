// Every case of fixtures.json renders as jinja2 rendered it (tools/make_template_fixtures.py made the expected
// outputs), or fails where jinja2 failed.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/source_folder.h"
#include "tests/unit/text/jinja/fixture_time.h"
#include "text/jinja/chat_template.h"

namespace coppice::jinja {
namespace {

using Json = nlohmann::ordered_json;

std::string read_file(const std::string& name) {
  std::ifstream file(coppice::test::source_path("tests/unit/text/jinja/") + name);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The template of a case: written in it, or in a file of templates/.
std::string template_of(const Json& test_case) {
  return test_case.contains("file") ? read_file("templates/" + test_case.at("file").get<std::string>())
                                    : test_case.at("template").get<std::string>();
}

absl::StatusOr<std::string> render(const std::string& source, const Json& context) {
  const auto compiled = ChatTemplate::compile(source);
  return compiled.ok() ? compiled->render(context, fixture_time()) : compiled.status();
}

TEST_CASE("Templates render as jinja2 renders them") {
  const Json fixtures = Json::parse(read_file("fixtures.json"));
  std::size_t outputs = 0;
  std::size_t errors = 0;
  for (const Json& test_case : fixtures.at("cases")) {
    const auto context_name = test_case.at("context").get<std::string>();
    const std::string source = template_of(test_case);
    CAPTURE(context_name, source);
    const auto text = render(source, fixtures.at("contexts").at(context_name));
    if (test_case.contains("output")) {
      CAPTURE(text.status().ToString());
      REQUIRE(text.ok());
      CHECK(*text == test_case.at("output").get<std::string>());
      ++outputs;
      continue;
    }
    ++errors;
    const auto expected = test_case.at("error").get<std::string>();
    CAPTURE(expected);
    REQUIRE_FALSE(text.ok());
    const std::string prefix = "raised: ";
    const bool raised = expected.starts_with(prefix);
    CHECK((text.status().code() == absl::StatusCode::kFailedPrecondition) == raised);
    if (raised) {
      const std::string message(text.status().message());
      CHECK(message.ends_with(expected.substr(prefix.size())));
    }
  }
  // The file is what the tool wrote, not a stump of it.
  CHECK(outputs >= 270);
  CHECK(errors >= 80);
}

}  // namespace
}  // namespace coppice::jinja
