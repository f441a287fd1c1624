// Operation: what /openapi.json and docs/api.md say of a route. Each file of routes declares one beside each row of its
// table, from the schemas that its bodies are checked with.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "proto/openai/schema.h"

namespace coppice::server {

// A parameter of a route's query. Those of its path are in the path.
struct QueryParameter {
  std::string_view name;
  openai::Schema schema;
  std::string_view meaning;
};

// A value, made when a document is. The names have static storage.
struct Operation {
  std::string_view name;                               // "createEmbedding": unique
  std::string_view summary;                            // one line
  std::optional<openai::Schema> body = std::nullopt;   // of the request; none: it has no body
  std::string_view body_type = "application/json";     // another one: the schema is of the form's parts
  openai::Schema answer = openai::Schema::any();       // of a 200
  std::optional<openai::Schema> event = std::nullopt;  // of each event's data, where the answer may be a stream
  std::vector<std::string_view> content_types = {"application/json"};  // of a 200
  std::vector<QueryParameter> query = {};
};

// Makes a route's operation for the model that is served.
using Describe = Operation (*)(const openai::RequestLimits& limits);

}  // namespace coppice::server
