// The methods of strings, lists, tuples and dicts. As in jinja2's immutable sandbox, those that would change their
// object exist but cannot be reached.
#pragma once

#include <string_view>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

using Method = Result (*)(Heap& heap, const Value& self, const Arguments& arguments);
struct MethodName {
  std::string_view name;
  Method method;  // null: exists in Python, not here
};

// What `object.name` is when it names a method of the object's type.
struct MethodLookup {
  bool exists = false;
  bool unsafe = false;  // would change the object
  Method method = nullptr;
};
MethodLookup find_method(const Value& object, std::string_view name);

// The tables that make up str's methods (text_methods.cc, text_search_methods.cc, brace_format.cc).
Method find_text_method(std::string_view name);
Method find_text_search_method(std::string_view name);
Result format_method(Heap& heap, const Value& self, const Arguments& arguments);
Result format_map_method(Heap& heap, const Value& self, const Arguments& arguments);

// str.strip(characters): at the left, the right or both ends; whitespace when `characters` is null.
std::string_view strip(std::string_view text, const std::string_view* characters, bool left, bool right);
// str.splitlines().
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

}  // namespace coppice::text
