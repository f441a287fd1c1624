// Reaching into values: object.name, object[key], object[start:stop:step], with jinja2's rules for which of attribute
// and item comes first, and undefined for what is not there.
#pragma once

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

// object.name: a method or attribute first, then an item.
Result get_attribute(Heap& heap, const Value& object, const StringRef& name);
// object[key]: an item first, then an attribute.
Result get_item(Heap& heap, const Value& object, const Value& key);
// object[start:stop:step]; none for what is not given.
Result get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace coppice::text
