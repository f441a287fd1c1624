// The `loop` variable of a for: its position, its neighbours, cycle() and changed().
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

// Wraps the iteration, looking ahead only when asked to, as jinja2's LoopContext does. Owner: the heap.
class LoopState : public Object {
 public:
  explicit LoopState(Iterator::Next next) : Object(ObjectKind::kLoop), next_(std::move(next)) {}

  // Takes the next item into current(); false at the end.
  bool advance();
  const Value& current() const { return current_; }
  // loop.name, or nothing when loop has no such attribute.
  std::optional<Value> attribute(Heap& heap, std::string_view name);
  // Ends the iteration: what a template has kept of the loop gives no more items.
  void finish();

 private:
  const std::optional<Value>& peek();
  std::int64_t length();

  Iterator::Next next_;
  std::optional<std::int64_t> length_;
  bool peeked_ = false;
  std::optional<Value> after_;  // meaningful when peeked_; empty at the end
  Value current_;
  Value before_;
  std::int64_t index0_ = -1;
  std::optional<Value> last_changed_;
};

}  // namespace coppice::jinja
