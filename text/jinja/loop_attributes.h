// The `loop` variable of a for: its position, its neighbours, cycle() and changed().
#pragma once

#include <optional>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

// Takes the next item into loop->current; false at the end.
absl::StatusOr<bool> advance_loop(LoopState* loop);
// loop.name, or nothing when loop has no such attribute.
absl::StatusOr<std::optional<Value>> loop_attribute(Heap& heap, LoopState* loop, const StringRef& name);

}  // namespace coppice::text
