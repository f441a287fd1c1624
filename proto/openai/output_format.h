// OutputFormat: what a request asks its output to match, as far as it can be read without knowing grammars. One request
// has at most one, whatever of the fields and APIs it comes by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/openai/limits.h"

namespace coppice::openai {

class FieldReader;
class IgnoredFields;
struct GenerationRequest;

// The answer's header that names what of a schema is not enforced.
inline constexpr const char* kUnenforcedHeader = "x-coppice-unenforced";

enum class OutputFormatKind : std::uint8_t {
  kText,        // anything
  kJsonObject,  // any JSON object
  kJsonSchema,
  kRegex,
  kGrammar,  // EBNF
  kChoice,
  kStructuralTag,
};

// A value.
struct OutputFormat {
  OutputFormatKind kind = OutputFormatKind::kText;
  std::string text = {};                  // the schema, the expression, the grammar or the tag
  std::vector<std::string> choices = {};  // kChoice
  bool strict = false;                    // of schemas: what cannot be enforced is refused
  std::string field = {};                 // that it came in, for messages: "response_format"
  std::string name = {};                  // that the client gave a schema; may be empty

  bool is_free() const { return kind == OutputFormatKind::kText; }
  std::size_t bytes() const;
};

// All readers: ERRORS in `reader`; 400 also for a second format in one request.
//
// OpenAI's `response_format`.
void read_response_format(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request);
// vLLM's `structured_outputs` and `guided_…`, SGLang's and llama.cpp's `json_schema`, `regex`, `ebnf`, `grammar` and
// `structural_tag`.
void read_server_formats(FieldReader& reader, GenerationRequest& request);

// Reads the member `name` as an object of the form that the Responses and the Messages API have: {"type", "schema",
// "name", "strict"}. `otherwise`: `strict` where it is not given.
void read_flat_format(FieldReader& reader, const char* name, bool otherwise, const RequestLimits& limits,
                      GenerationRequest& request);

}  // namespace coppice::openai
