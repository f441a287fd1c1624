// Values as text: str(), repr(), JSON, and the two kinds of formatting.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/builtins.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

// Python's str(value) and repr(value). Undefined prints as nothing. ERRORS: what prints as an address in Python
// (functions, generators, loops); kResourceExhausted beyond the limits.
std::string to_text(Heap& heap, const Value& value);
std::string to_repr(Heap& heap, const Value& value);
// str(value) as a value; a string stays itself, markup included.
Value to_string_value(Heap& heap, const Value& value);

// A float as Python prints it: the shortest digits that read back equal.
std::string real_to_text(double value);

// `text` with & < > ' " as HTML writes them (markupsafe.escape).
std::string escape_html(std::string_view text);

// json.dumps() of Python's standard library.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level; none: everything on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// ERRORS: a value that is not JSON; kResourceExhausted beyond the limits.
std::string to_json(Heap& heap, const Value& value, const JsonStyle& style);

// "text %s" % values, which is a tuple of values, a dict for %(name)s, or one value. REQUIRES: `format` is a string.
// ERRORS: conversions and flags that chat templates do not use.
Value format_percent(Heap& heap, const Value& format, const Value& values);
// "text {}".format(...), as a method.
Value format_braces(Heap& heap, const Value& self, const Bound& arguments);

inline constexpr std::int64_t kWidthMax = 10'000;  // of fields and indentations; wider than any line of a prompt

// `text` with blanks before and after it. ERRORS: kResourceExhausted for more than kWidthMax of either.
Value padded(Heap& heap, const Value& text, std::int64_t before, std::int64_t after);
// The indentation of indent() and tojson(): a string as it is, a number (4 when absent) as blanks.
std::string indentation(Heap& heap, const Bound& arguments, std::size_t i);

}  // namespace coppice::jinja
