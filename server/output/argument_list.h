// The arguments that a function takes, one by one: what a JSON schema says of its object's properties. For formats of
// calls that do not write the arguments as one JSON object.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "proto/openai/request.h"
#include "server/output/output_format.h"
#include "text/grammar/schema_check.h"

namespace coppice::server {

struct Argument {
  std::string name;
  openai::Json schema;  // a document of its own, with what it refers to
  bool is_required = false;
  std::string pointer;    // of its schema in the tool's
  std::size_t bytes = 0;  // of the schema's JSON
};

struct ArgumentList {
  std::vector<Argument> arguments;  // in the schema's order
  // The schema of arguments of any other name. They may come where `arguments` is empty.
  std::optional<openai::Json> others;
  std::vector<text::UnenforcedKeyword> unenforced;  // what `schema` says and these do not
};

// REQUIRES: a `schema` that check_schema() takes. `shape`: decides which names can be written. An argument's schema
// that with all before it has more than `bytes_max` ends the list: it is then one of any arguments.
ArgumentList list_arguments(const openai::Json& schema, CallShape shape, std::size_t bytes_max);

}  // namespace coppice::server
