// Values as text: str(), repr(), JSON, HTML and the % operator.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

// Returns Python's str(value), never null; a string stays itself, markup included; undefined is empty. ERRORS: what
// prints as an address in Python (functions, generators, loops).
StringRef to_text(Heap& heap, const Value& value);

// Appends `text` with & < > ' " as HTML writes them (markupsafe.escape).
void append_escaped(TextBuilder& out, std::string_view text);

// json.dumps() of Python's standard library.
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // one level; none: everything on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// Returns the JSON text as a string. ERRORS: a value that is not JSON.
Value to_json(Heap& heap, const Value& value, const JsonStyle& style);

// Returns "text %s %d" % values, which is a tuple of values or one value. ERRORS: other conversions.
Value format_percent(Heap& heap, const StringRef& format, const Value& values);

}  // namespace coppice::jinja
