// docs/api.md lists every field as the tables have it. After a change of the tables run this test with
// COPPICE_WRITE_DOCS=1 in the environment: it writes the page.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "proto/anthropic/message_fields.h"
#include "proto/openai/request_fields.h"
#include "proto/openai/response_fields.h"
#include "proto/openai/service_fields.h"
#include "tests/support/source_folder.h"

namespace coppice::openai {
namespace {

const std::string kPage = coppice::test::source_path("docs/api.md");
constexpr const char* kHow = "; tests/unit/proto/api_doc_test.cc says how -->\n";
constexpr const char* kEnd = "<!-- end -->\n";

std::string read_page() {
  std::ifstream file(kPage);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string sampling_section() {
  std::string section = "\n| field | kind | bounds | default | meaning |\n| --- | --- | --- | --- | --- |\n";
  base::SamplingNumbers defaults;
  const auto add_knob = [&section](const base::SamplingKnob& knob, const auto& otherwise) {
    constexpr bool kIsInteger = std::is_integral_v<std::decay_t<decltype(otherwise)>>;
    const std::string most = kIsInteger ? "the vocabulary's size" : fmt::format("{}", knob.most);
    section += fmt::format("| `{}`{} | {} | {} to {} | {} | {} |\n", knob.name, knob.is_recommended ? "\\*" : "",
                           kIsInteger ? "integer" : "number", knob.least, most, otherwise, knob.meaning);
  };
  base::for_each_sampling_knob(add_knob, defaults);
  GenerationRequest request;
  for_each_request_field(request, [&section](const RequestField& field, const auto& value) {
    const bool is_switch = std::is_same_v<std::decay_t<decltype(value)>, bool>;
    const std::string other =
        field.name == std::string_view(field.proto_name) ? "" : fmt::format(" (gRPC: `{}`)", field.proto_name);
    section += fmt::format("| `{}`{} | {} | {} | {} | {} |\n", field.name, other,
                           is_switch ? "true or false" : "integer", field.bounds, field.otherwise, field.meaning);
  });
  return section + "\n";
}

std::string_view use_name(FieldUse use) {
  switch (use) {
    case FieldUse::kHonoured:
      return "honoured";
    case FieldUse::kRepeated:
      return "repeated";
    case FieldUse::kIgnored:
      return "no effect";
    case FieldUse::kRefused:
      return "refused";
  }
  return "";
}

std::string api_section(std::span<const ApiField> fields) {
  std::string section = "\n| field | form | use | meaning |\n| --- | --- | --- | --- |\n";
  for (const ApiField& field : fields) {
    section += fmt::format("| `{}` | {} | {} | {} |\n", field.name, field.form, use_name(field.use), field.meaning);
  }
  return section + "\n";
}

// The part of the page that is made from `source` is `section`.
void check_section(const std::string& source, const std::string& section) {
  const std::string begin = "<!-- made from " + source + kHow;
  const auto place = [&begin](const std::string& page) {
    REQUIRE(page.find(begin) != std::string::npos);
    return page.find(begin) + begin.size();
  };
  const std::string page = read_page();
  const std::size_t from = place(page);
  REQUIRE(page.find(kEnd, from) != std::string::npos);
  if (std::getenv("COPPICE_WRITE_DOCS") != nullptr) {
    std::ofstream(kPage) << page.substr(0, from) << section << page.substr(page.find(kEnd, from));
  }
  const std::string now = read_page();
  CHECK(now.substr(from, now.find(kEnd, from) - from) == section);
}

TEST_CASE("docs/api.md lists the fields of the tables") {
  check_section("base/sampling.h and proto/openai/request_fields.h", sampling_section());
  check_section("proto/openai/response_fields.h", api_section(kResponseFields));
  check_section("proto/anthropic/message_fields.h", api_section(anthropic::kMessageFields));
  check_section("proto/openai/service_fields.h", api_section(kServiceFields));
}

}  // namespace
}  // namespace coppice::openai
