// How values look as text: Python's str() and repr(), JSON as json.dumps() writes it, and HTML escaping.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

// str(value). All three fail with kResourceExhausted on values too deep or too long.
absl::StatusOr<std::string> to_text(Heap& heap, const Value& value);
// repr(value).
absl::StatusOr<std::string> to_repr(Heap& heap, const Value& value);

// repr(number): the shortest digits that read back as the same double.
std::string real_to_text(double value);
// repr(text), quotes included.
std::string quote_text(std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // of one level; nothing: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
// json.dumps(value). Fails on what JSON cannot say (undefined, functions, generators, keys that are tuples).
absl::StatusOr<std::string> to_json(Heap& heap, const Value& value, const JsonStyle& style);

// markupsafe.escape(text).
std::string escape_html(std::string_view text);

}  // namespace coppice::text
