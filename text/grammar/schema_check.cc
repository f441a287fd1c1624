// The bounds that hold before a schema is parsed; the walk checks the others.
#include "text/grammar/schema_check.h"

#include <utility>

#include "base/status_macros.h"
#include "text/grammar/schema_walk.h"

namespace coppice::text {
namespace {

// How deep values lie in one another, counted without recursion: brackets outside strings.
int depth_of(std::string_view json) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < json.size(); ++at) {
    const char c = json[at];
    if (in_string) {
      at += c == '\\' ? 1 : 0;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

// In a message the end of a pointer says more than its middle, and neither may crowd out what is wrong there.
std::string shown_pointer(const std::string& pointer) {
  constexpr std::size_t kBytesMax = 400;  // of 1 KiB that an error's message may have
  constexpr std::size_t kBegin = 60;      // of them
  if (pointer.size() <= kBytesMax) {
    return pointer;
  }
  const std::size_t begin = pointer.rfind('/', kBegin);
  const std::size_t end = pointer.find('/', pointer.size() - (kBytesMax - kBegin));
  return pointer.substr(0, begin == std::string::npos ? 1 : begin) + "/..." +
         (end == std::string::npos ? "" : pointer.substr(end));
}

std::string UnenforcedKeyword::message() const {
  return shown_pointer(pointer) + ": `" + keyword + "`: " + reason;
}

absl::StatusOr<CheckedSchema> check_schema(std::string_view schema, const SchemaLimits& limits) {
  if (schema.size() > limits.bytes_max) {
    return absl::OutOfRangeError("the schema has more than " + std::to_string(limits.bytes_max) + " bytes");
  }
  // A schema inside a schema is two or three values deeper.
  constexpr int kValuesOfSchema = 4;
  if (depth_of(schema) > limits.depth_max * kValuesOfSchema) {
    return absl::OutOfRangeError("the schema is nested deeper than " + std::to_string(limits.depth_max));
  }
  const SchemaJson root = SchemaJson::parse(schema.begin(), schema.end(), nullptr, false);
  if (root.is_discarded()) {
    return absl::InvalidArgumentError("the schema is not JSON");
  }
  return SchemaWalk(root, limits).run();
}

}  // namespace coppice::text
