// References inside a JSON schema.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "proto/openai/request.h"

namespace coppice::server {

struct Referred {
  const openai::Json* schema = nullptr;  // null: the reference leads nowhere
  std::size_t members = 0;               // of the objects on the way: what finding it costs
};

// Where "#", "#/$defs/a" and the like lead in the document `root`.
Referred referred_schema(const openai::Json& root, std::string_view reference);

struct ObjectSchema {
  const openai::Json* schema = nullptr;  // null: a reference led nowhere
  std::string pointer;                   // in `root`, without "#"
};

// The schema of an object that `root` is, maybe by a reference or as the only part of `allOf`.
ObjectSchema object_schema(const openai::Json& root);

// The pointer "/a~1b" to the member "a/b".
std::string pointer_step(std::string_view member);

}  // namespace coppice::server
