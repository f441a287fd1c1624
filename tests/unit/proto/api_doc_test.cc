// docs/api.md lists every sampling field as the tables have it. After a change of the tables run this test with
// COPPICE_WRITE_DOCS=1 in the environment: it writes the page.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <type_traits>

#include "proto/openai/request_fields.h"

namespace coppice::openai {
namespace {

constexpr const char* kPage = COPPICE_SOURCE_DIR "/docs/api.md";
constexpr const char* kBegin = "api_doc_test.cc says how -->\n";
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

TEST_CASE("docs/api.md lists the sampling fields of the tables") {
  const std::string page = read_page();
  const std::size_t begin = page.find(kBegin);
  const std::size_t end = page.find(kEnd);
  REQUIRE(begin != std::string::npos);
  REQUIRE(end != std::string::npos);
  const std::size_t from = begin + std::string_view(kBegin).size();
  const std::string section = sampling_section();
  if (std::getenv("COPPICE_WRITE_DOCS") != nullptr) {
    std::ofstream(kPage) << page.substr(0, from) << section << page.substr(end);
  }
  CHECK(read_page().substr(from, read_page().find(kEnd) - from) == section);
}

}  // namespace
}  // namespace coppice::openai
