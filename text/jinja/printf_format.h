// "text %s" % values: Python's printf-style formatting.
#pragma once

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

// REQUIRES: `format` is a string. `values` is a tuple of values, a dict for %(name)s, or one value.
Result format_printf(Heap& heap, const Value& format, const Value& values);

}  // namespace coppice::text
