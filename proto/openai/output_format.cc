// The names that servers and APIs have for one thing.
#include "proto/openai/output_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "proto/openai/json_reader.h"

namespace coppice::openai {
namespace {

using Kind = OutputFormatKind;

// Gives the request its format, unless it has one.
void set_format(FieldReader& reader, OutputFormat format, GenerationRequest& request) {
  if (reader.failed() || format.is_free()) {
    return;
  }
  if (!request.format.is_free()) {
    reader.fail(bad_value(format.field, fmt::format("'{}' and '{}' both say what the output has to match: send one",
                                                    request.format.field, format.field)));
    return;
  }
  request.format = std::move(format);
}

// The text of a grammar of this kind. Schemas and tags come as values or as JSON in a string; all else as a string.
void read_text(FieldReader& reader, const char* name, Kind kind, OutputFormat& format) {
  const Json* const value = reader.find(name);
  if (value == nullptr) {
    return;
  }
  const bool is_json = kind == Kind::kJsonSchema || kind == Kind::kStructuralTag;
  if (value->is_string()) {
    format.text = value->get_ref<const std::string&>();
  } else if (value->is_object() && is_json) {
    format.text = write_json(*value);
  } else if (value->is_boolean() && kind == Kind::kJsonSchema) {
    format.text = *value ? "true" : "false";
  } else {
    reader.fail_type(name, is_json ? "an object, or its JSON in a string" : "a string", *value);
    return;
  }
  format.kind = kind;
  format.field = reader.full_name(name);
}

void read_choices(FieldReader& reader, const char* name, OutputFormat& format) {
  const Json* const value = reader.find(name);
  if (value == nullptr) {
    return;
  }
  const bool is_fine =
      value->is_array() && std::all_of(value->begin(), value->end(), [](const Json& item) { return item.is_string(); });
  if (!is_fine) {
    reader.fail_type(name, "an array of strings", *value);
    return;
  }
  for (const Json& item : *value) {
    format.choices.push_back(item.get_ref<const std::string&>());
  }
  format.kind = Kind::kChoice;
  format.field = reader.full_name(name);
}

void read_switch(FieldReader& reader, const char* name, OutputFormat& format) {
  bool is_on = false;
  reader.read(name, is_on);
  if (is_on) {
    format.kind = Kind::kJsonObject;
    format.field = reader.full_name(name);
  }
}

// What a client's library sends for a field that its user has not set. An empty schema is one: of any JSON.
bool is_unset(const Json& value, Kind kind) {
  switch (kind) {
    case Kind::kChoice:
      return value.is_array() && value.empty();
    case Kind::kStructuralTag:
      return value == "" || (value.is_object() && value.empty());
    case Kind::kJsonObject:
      return false;
    default:
      return value == "";
  }
}

// A field that asks for a format of one kind.
struct FormatField {
  const char* name;
  Kind kind;
};

void read_fields(FieldReader& reader, std::span<const FormatField> fields, GenerationRequest& request,
                 FieldReader& outer) {
  for (const FormatField& field : fields) {
    const Json* const value = reader.find(field.name);
    if (value == nullptr || is_unset(*value, field.kind)) {
      continue;
    }
    OutputFormat format;
    if (field.kind == Kind::kChoice) {
      read_choices(reader, field.name, format);
    } else if (field.kind == Kind::kJsonObject) {
      read_switch(reader, field.name, format);
    } else {
      read_text(reader, field.name, field.kind, format);
    }
    if (reader.failed()) {
      outer.fail(*reader.error());
      return;
    }
    set_format(outer, std::move(format), request);
  }
}

// The schema in an object that has its name and `strict` beside it.
void read_schema(FieldReader& inner, bool otherwise, const RequestLimits& limits, OutputFormat& format) {
  format.strict = otherwise;
  inner.read("strict", format.strict);
  inner.read("name", format.name);
  std::string description;  // is for the model's eyes at OpenAI; templates here have no place for it
  inner.read("description", description);
  const std::string field = std::move(format.field);
  read_text(inner, "schema", Kind::kJsonSchema, format);
  format.field = field;
  if (!inner.failed() && format.kind != Kind::kJsonSchema) {
    inner.fail(bad_value(inner.full_name("schema"),
                         fmt::format("'{}' is missing: send a JSON schema", inner.full_name("schema"))));
  }
  if (format.name.size() > static_cast<std::size_t>(limits.name_bytes_max)) {
    inner.fail(bad_value(inner.full_name("name"),
                         fmt::format("'{}' must have at most {} bytes; got {}", inner.full_name("name"),
                                     limits.name_bytes_max, format.name.size())));
  }
}

constexpr const char* kTypes = R"("text", "json_object", "json_schema" or "structural_tag")";

// The types whose object has the schema in it; false for another type.
bool read_flat_type(FieldReader& inner, std::string_view type, bool otherwise, const RequestLimits& limits,
                    OutputFormat& format) {
  if (type == "json_schema" || (type == "json_object" && inner.has("schema"))) {  // the latter: llama.cpp's
    read_schema(inner, otherwise, limits, format);
    return true;
  }
  if (type == "json_object") {
    format.kind = Kind::kJsonObject;
    return true;
  }
  return type == "text";
}

// vLLM's options of a format. Of those without a row here, disable_fallback and disable_additional_properties ask for
// what is done anyway.
constexpr IgnoredField kStructuredIgnored[] = {
    {"whitespace_pattern"}, {"disable_any_whitespace", "false"}, {"_backend"}};
constexpr FormatField kStructured[] = {{"json", Kind::kJsonSchema},        {"regex", Kind::kRegex},
                                       {"choice", Kind::kChoice},          {"grammar", Kind::kGrammar},
                                       {"json_object", Kind::kJsonObject}, {"structural_tag", Kind::kStructuralTag}};

void read_structured_outputs(FieldReader& reader, GenerationRequest& request) {
  constexpr const char* kName = "structured_outputs";
  const Json* const value = reader.find(kName);
  if (value == nullptr) {
    return;
  }
  if (!value->is_object()) {
    reader.fail_type(kName,
                     "an object with one of 'json', 'regex', 'choice', 'grammar', 'json_object', "
                     "'structural_tag'",
                     *value);
    return;
  }
  FieldReader inner(*value, "structured_outputs.");
  read_fields(inner, kStructured, request, reader);
  for (const char* const harmless : {"disable_fallback", "disable_additional_properties"}) {
    (void)inner.has(harmless);
  }
  request.ignored.add_present(inner, kStructuredIgnored);
  for (const std::string& name : inner.unread()) {
    request.ignored.add(inner.full_name(name));
  }
}

constexpr FormatField kPlain[] = {
    // vLLM's older names
    {"guided_json", Kind::kJsonSchema},
    {"guided_regex", Kind::kRegex},
    {"guided_choice", Kind::kChoice},
    {"guided_grammar", Kind::kGrammar},
    {"guided_json_object", Kind::kJsonObject},
    // SGLang's and llama.cpp's
    {"json_schema", Kind::kJsonSchema},
    {"regex", Kind::kRegex},
    {"ebnf", Kind::kGrammar},
    {"grammar", Kind::kGrammar},
    {"structural_tag", Kind::kStructuralTag},
};
constexpr IgnoredField kPlainIgnored[] = {{"guided_decoding_backend"}, {"guided_whitespace_pattern"}};

}  // namespace

std::size_t OutputFormat::bytes() const {
  std::size_t bytes = text.size() + name.size();
  for (const std::string& choice : choices) {
    bytes += choice.size() + sizeof(std::string);
  }
  return bytes;
}

void read_response_format(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  constexpr const char* kName = "response_format";
  const Json* const value = reader.find(kName);
  if (value == nullptr) {
    return;
  }
  if (!value->is_object()) {
    reader.fail_type(kName, "an object with a 'type'", *value);
    return;
  }
  FieldReader inner(*value, "response_format.");
  OutputFormat format;
  format.field = kName;
  std::string type = "text";
  inner.read("type", type);
  const Json* const nested = inner.find("json_schema");
  if (type == "json_schema" && nested != nullptr) {
    if (!nested->is_object()) {
      inner.fail_type("json_schema", "an object with a 'schema'", *nested);
    } else {
      FieldReader schema(*nested, "response_format.json_schema.");
      read_schema(schema, /*otherwise=*/false, limits, format);
      if (schema.failed()) {
        inner.fail(*schema.error());
      }
    }
  } else if (type == "structural_tag") {
    format.kind = Kind::kStructuralTag;
    format.text = write_json(*value);
  } else if (!read_flat_type(inner, type, /*otherwise=*/false, limits, format) && !inner.failed()) {
    inner.fail(bad_value("response_format.type",
                         fmt::format("'response_format.type' must be {}; got {}", kTypes, describe(Json(type)))));
  }
  if (inner.failed()) {
    reader.fail(*inner.error());
  }
  set_format(reader, std::move(format), request);
}

void read_server_formats(FieldReader& reader, GenerationRequest& request) {
  read_structured_outputs(reader, request);
  read_fields(reader, kPlain, request, reader);
  request.ignored.add_present(reader, kPlainIgnored);
}

void read_flat_format(FieldReader& reader, const char* name, bool otherwise, const RequestLimits& limits,
                      GenerationRequest& request) {
  const Json* const value = reader.find(name);
  if (value == nullptr) {
    return;
  }
  const std::string field = reader.full_name(name);
  std::string type;
  FieldReader inner(*value, field + ".");
  if (value->is_object()) {
    inner.read("type", type);
  }
  if (inner.failed()) {
    reader.fail(*inner.error());
    return;
  }
  if (type.empty()) {
    reader.fail_type(name, "an object with a 'type'", *value);
    return;
  }
  OutputFormat format;
  format.field = field;
  if (!read_flat_type(inner, type, otherwise, limits, format) && !inner.failed()) {
    inner.fail(
        bad_value(field + ".type", fmt::format(R"('{}.type' must be "text", "json_object" or "json_schema"; got {})",
                                               field, describe(Json(type)))));
  }
  if (inner.failed()) {
    reader.fail(*inner.error());
  }
  set_format(reader, std::move(format), request);
}

}  // namespace coppice::openai
