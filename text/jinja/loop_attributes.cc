// jinja2's LoopContext: the items ahead are fetched only when an attribute asks for them.
#include "text/jinja/loop_attributes.h"

#include "base/status_macros.h"
#include "text/jinja/operators.h"

namespace coppice::text {
namespace {

absl::Status peek(LoopState* loop) {
  if (!loop->peeked) {
    COPPICE_ASSIGN_OR_RETURN(loop->after, loop->next());
    loop->peeked = true;
  }
  return absl::OkStatus();
}

// The number of items; those still to come are fetched to count them.
absl::StatusOr<std::int64_t> loop_length(LoopState* loop) {
  if (loop->length) {
    return *loop->length;
  }
  std::vector<Value> rest;
  while (true) {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, loop->next());
    if (!item) {
      break;
    }
    rest.push_back(*std::move(item));
  }
  loop->length = static_cast<std::int64_t>(rest.size()) + loop->index0 + 1 + (loop->peeked && loop->after ? 1 : 0);
  loop->next = [rest = std::move(rest), i = std::size_t{0}]() mutable -> absl::StatusOr<std::optional<Value>> {
    return i < rest.size() ? std::optional<Value>(rest[i++]) : std::nullopt;
  };
  return *loop->length;
}

Result cycle(LoopState* loop, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.keywords.empty()) {
    return template_error("loop.cycle() needs items");
  }
  return arguments.positional[static_cast<std::size_t>(loop->index0) % arguments.positional.size()];
}

Result changed(Heap& heap, LoopState* loop, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(Value values, heap.tuple(arguments.positional));
  if (loop->last_changed) {
    COPPICE_ASSIGN_OR_RETURN(bool same, equal(heap, *loop->last_changed, values));
    if (same) {
      return Value(false);
    }
  }
  loop->last_changed = std::move(values);
  return Value(true);
}

absl::StatusOr<std::optional<Value>> neighbour(Heap& heap, LoopState* loop, bool next) {
  if (next) {
    COPPICE_RETURN_IF_ERROR(peek(loop));
    if (loop->after) {
      return *loop->after;
    }
  } else if (loop->index0 > 0) {
    return loop->before;
  }
  COPPICE_ASSIGN_OR_RETURN(Value hint, heap.string(next ? "there is no next item" : "there is no previous item"));
  return Value(Undefined{hint.string(), Absence::kHint});
}

}  // namespace

absl::StatusOr<bool> advance_loop(LoopState* loop) {
  std::optional<Value> item;
  if (loop->peeked) {
    item = std::move(loop->after);
    loop->peeked = false;
    loop->after.reset();
  } else {
    COPPICE_ASSIGN_OR_RETURN(item, loop->next());
  }
  if (!item) {
    return false;
  }
  ++loop->index0;
  loop->before = std::move(loop->current);
  loop->current = *std::move(item);
  return true;
}

absl::StatusOr<std::optional<Value>> loop_attribute(Heap& heap, LoopState* loop, const StringRef& name) {
  const std::string& text = name->text;
  if (text == "index" || text == "index0") {
    return Value(loop->index0 + (text == "index" ? 1 : 0));
  }
  if (text == "first") {
    return Value(loop->index0 == 0);
  }
  if (text == "last") {
    COPPICE_RETURN_IF_ERROR(peek(loop));
    return Value(!loop->after.has_value());
  }
  if (text == "length" || text == "revindex" || text == "revindex0") {
    COPPICE_ASSIGN_OR_RETURN(std::int64_t length, loop_length(loop));
    return Value(text == "length" ? length : length - loop->index0 - (text == "revindex0" ? 1 : 0));
  }
  if (text == "previtem" || text == "nextitem") {
    return neighbour(heap, loop, text == "nextitem");
  }
  if (text == "depth" || text == "depth0") {
    return Value(std::int64_t{text == "depth" ? 1 : 0});
  }
  if (text == "cycle") {
    COPPICE_ASSIGN_OR_RETURN(Value method,
                             heap.callable("cycle", [loop](Arguments& arguments) { return cycle(loop, arguments); }));
    return method;
  }
  if (text == "changed") {
    COPPICE_ASSIGN_OR_RETURN(Value method, heap.callable("changed", [&heap, loop](Arguments& arguments) {
      return changed(heap, loop, arguments);
    }));
    return method;
  }
  return std::nullopt;
}

}  // namespace coppice::text
