// Filters ("value | name(arguments)"), with jinja2's names and meanings and transformers' tojson.
#pragma once

#include <span>
#include <string_view>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

using Filter = Result (*)(Heap& heap, const Value& input, const Arguments& arguments);
struct FilterName {
  std::string_view name;
  Filter filter;
};

bool filter_exists(std::string_view name);
// Fails with kInvalidArgument on an unknown name.
Result apply_filter(Heap& heap, std::string_view name, const Value& input, const Arguments& arguments);

// The tables that make up the filters, one per file.
std::span<const FilterName> text_filters();
std::span<const FilterName> number_filters();
std::span<const FilterName> sequence_filters();
std::span<const FilterName> order_filters();
std::span<const FilterName> selection_filters();

// What filters share.

// "a.b.0" as a path of keys, looked up one by one (jinja2's make_attrgetter). An int or string attribute; a none
// attribute is the item itself. `fallback`, when not null, stands for undefined.
Result get_path(Heap& heap, const Value& item, const Value& attribute, const Value* fallback = nullptr);
// A string in lower case, anything else as it is: the key of comparisons that ignore case.
Result fold_case(Heap& heap, const Value& value);
// An iterator over items at hand.
Result iterator_over(Heap& heap, const char* name, std::vector<Value> items);

}  // namespace coppice::text
