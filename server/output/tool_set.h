// ToolSet: the functions that an answer may call, as its parser needs them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/request.h"

namespace coppice::server {

// JSON types that a parameter's schema allows; bits.
enum ParameterType : std::uint8_t {
  kStringType = 1,
  kIntegerType = 2,
  kNumberType = 4,
  kBooleanType = 8,
  kNullType = 16,
  kObjectType = 32,
  kArrayType = 64,
};
using ParameterTypes = std::uint8_t;
inline constexpr ParameterTypes kAnyType = 127;

struct Tool {
  std::string name;
  std::map<std::string, ParameterTypes, std::less<>> parameters;
  ParameterTypes others = kStringType;  // of parameters that are not declared: text, where the schema says nothing

  ParameterTypes types_of(std::string_view parameter) const;
};

// Immutable; all choices of a request share it. Thread: any.
class ToolSet {
 public:
  ToolSet() = default;
  // `tools`: as the chat API has them, checked.
  explicit ToolSet(const openai::Json& tools);

  // Null: no such function.
  const Tool* find(std::string_view name) const;
  bool empty() const { return tools_.empty(); }

 private:
  std::map<std::string, Tool, std::less<>> tools_;
};

// The types that `schema` allows, any where finding out would take long. `root`: where its references point.
ParameterTypes types_of_schema(const openai::Json& schema, const openai::Json& root);

// The first keyword by which `schema` allows only some values of its types; "": there is none.
std::string_view restriction_of(const openai::Json& schema);

// What a text says when a schema that allows `types` describes it: JSON text. Text that says nothing else is a string.
std::string typed_value(std::string_view text, ParameterTypes types);

// Appends `text` to an open JSON string: quotes, backslashes and control characters escaped. Bytes may come one by one.
void append_json_text(std::string_view text, std::string& out);

}  // namespace coppice::server
