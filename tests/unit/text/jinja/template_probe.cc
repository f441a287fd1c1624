// A helper for tools/make_template_fixtures.py: renders templates given as JSON lines, so that another implementation
// can be compared with ours on many cases. In: {"template": ..., "context": {...}}; out: {"output": ...} or {"error":
// ...}.
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/unit/text/jinja/fixture_time.h"
#include "text/jinja/chat_template.h"

namespace {

using Json = nlohmann::ordered_json;

Json answer(const Json& request) {
  const auto compiled = coppice::jinja::ChatTemplate::compile(request.at("template").get<std::string>());
  const auto text = compiled.ok() ? compiled->render(request.at("context"), coppice::jinja::fixture_time())
                                  : absl::StatusOr<std::string>(compiled.status());
  if (text.ok()) {
    return {{"output", *text}};
  }
  return {{"error", std::string(text.status().message())}, {"code", absl::StatusCodeToString(text.status().code())}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(Json::parse(line)).dump() << "\n";
  }
  return 0;
}
