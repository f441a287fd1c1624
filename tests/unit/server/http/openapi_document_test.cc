// The document of the routes: complete, consistent in itself, with the bounds of the model.
#include "server/http/openapi_document.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "server/http/routes/route_table.h"
#include "server/sessions/refusals.h"

namespace coppice::server {
namespace {

using openai::Json;

openai::RequestLimits limits_of(std::int64_t context) {
  openai::RequestLimits limits;
  limits.vocab = 500;
  limits.hidden = 8;
  limits.model_tokens_max = context;
  return limits;
}

Json document(bool needs_key = false, std::int64_t context = 64) {
  return Json::parse(write_openapi(all_routes(), limits_of(context), needs_key));
}

void collect_references(const Json& value, std::set<std::string>& names) {
  if (value.is_object() && value.contains("$ref")) {
    names.insert(value["$ref"].get<std::string>());
  }
  for (const Json& item : value) {
    if (item.is_structured()) {
      collect_references(item, names);
    }
  }
}

// Those that need a model of another kind.
bool refuses_every_request(const Route& route) {
  return route.path.find("rerank") != std::string_view::npos || route.path.ends_with("/score");
}

TEST_CASE("every route describes itself, under a name of its own") {
  std::set<std::string> names;
  for (const Route& route : all_routes()) {
    INFO(route.method << " " << route.path);
    if (refuses_every_request(route)) {
      CHECK(route.describe == nullptr);
      continue;
    }
    REQUIRE(route.describe != nullptr);
    const Operation operation = route.describe(limits_of(64));
    CHECK(names.insert(std::string(operation.name)).second);
    CHECK(operation.summary.ends_with('.'));
    CHECK(operation.body.has_value() == (route.method == "POST" && !route.path.ends_with("/cancel")));
  }
}

TEST_CASE("the document has every route, and everything it refers to") {
  const Json written = document();
  CHECK(written["openapi"] == "3.1.0");
  std::size_t operations = 0;
  for (const auto& [path, methods] : written["paths"].items()) {
    CHECK(path.find("...") == std::string::npos);
    operations += methods.size();
  }
  const std::span<const Route> routes = all_routes();
  CHECK(operations == routes.size() - std::count_if(routes.begin(), routes.end(), &refuses_every_request));
  std::set<std::string> references;
  collect_references(written, references);
  CHECK(references.size() > 10);
  for (const std::string& reference : references) {
    INFO(reference);
    CHECK(written.contains(Json::json_pointer(reference.substr(1))));
  }
  for (const auto& [name, schema] : written["components"]["schemas"].items()) {
    INFO(name);
    CHECK(references.count("#/components/schemas/" + name) == 1);
  }
}

TEST_CASE("paths' names and queries are parameters") {
  const Json drop = document()["paths"]["/v1/speculation/corpora/{name}"]["delete"];
  REQUIRE(drop["parameters"].size() == 2);
  CHECK(drop["parameters"][0]["in"] == "path");
  CHECK(drop["parameters"][0]["name"] == "name");
  CHECK(drop["parameters"][0]["required"] == true);
  CHECK(drop["parameters"][1]["in"] == "query");
  CHECK(drop["parameters"][1]["name"] == "cache_salt");
  CHECK_FALSE(drop.contains("requestBody"));
}

TEST_CASE("what ends by the client's deadline says by which header, and nothing else does") {
  std::set<std::string> named;
  const Json written = document();
  for (const auto& [path, operations] : written["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      for (const Json& parameter : operation.value("parameters", Json::array())) {
        if (parameter["in"] == "header") {
          CHECK(parameter["name"] == "x-request-timeout-ms");
          CHECK(parameter["schema"]["anyOf"][0]["minimum"] == 1);
          CHECK(parameter["schema"]["anyOf"][0]["maximum"] == 86400000);
          CHECK_FALSE(parameter.value("required", false));
          named.insert(path);
        }
      }
    }
  }
  CHECK(named == std::set<std::string>{"/v1/chat/completions", "/v1/completions", "/v1/decisions", "/v1/embeddings",
                                       "/v1/messages", "/v1/responses"});
}

TEST_CASE("bounds are those of the model that is served") {
  for (const std::int64_t context : {64, 4096}) {
    const Json schemas = document(false, context)["components"]["schemas"];
    const Json tokens = schemas["CompletionRequest"]["properties"]["max_tokens"]["anyOf"][0];
    CHECK(tokens["maximum"] == context);
  }
}

TEST_CASE("keys are asked for where the server has some, on routes that need one") {
  const Json open = document(false);
  const Json closed = document(true);
  CHECK_FALSE(open["components"].contains("securitySchemes"));
  CHECK_FALSE(open["paths"]["/v1/models"]["get"].contains("security"));
  CHECK(closed["components"]["securitySchemes"]["key"]["scheme"] == "bearer");
  CHECK(closed["paths"]["/v1/models"]["get"].contains("security"));
  CHECK_FALSE(closed["paths"]["/metrics"]["get"].contains("security"));
}

TEST_CASE("answers that may be streams say what their events hold") {
  const Json content = document()["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"];
  CHECK(content["application/json"]["schema"]["$ref"] == "#/components/schemas/Chat");
  CHECK(content["text/event-stream"]["schema"]["properties"]["data"]["anyOf"][1]["contentSchema"]["$ref"] ==
        "#/components/schemas/ChatChunk");
  const Json responses = document()["paths"]["/v1/chat/completions"]["post"]["responses"];
  CHECK(responses.size() == refusals().size() + 1);
  CHECK(responses["429"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/Error");
  const Json message = document()["paths"]["/v1/messages"]["post"]["responses"];
  CHECK(message["429"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/AnthropicError");
}

}  // namespace
}  // namespace coppice::server
