// ApiField: a row of the table of an API's own fields: what becomes of each. Parsing and docs/api.md read the same
// tables. The sampling fields that all APIs share have tables of their own (base/sampling.h, request_fields.h).
#pragma once

#include <cstdint>
#include <span>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

enum class FieldUse : std::uint8_t {
  kHonoured,
  kRepeated,  // kept, and repeated in the answer
  kIgnored,   // accepted without effect; the answer's header names it
  kRefused,
};

struct ApiField {
  const char* name;
  FieldUse use;
  const char* form;           // for docs
  const char* meaning;        // for docs: one sentence
  const char* harmless = "";  // kIgnored, kRefused: the value, as JSON, that asks for what this server does anyway
};

// Notes the ignored fields that the object has and refuses the refused ones. ERRORS: in `reader`.
void apply_table(FieldReader& reader, std::span<const ApiField> table, IgnoredFields& ignored);
// Notes the fields that the object has and nothing has asked for, except those of the table.
void note_unknown(const FieldReader& reader, std::span<const ApiField> table, IgnoredFields& ignored);

}  // namespace coppice::openai
