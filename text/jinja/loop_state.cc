// jinja2's LoopContext: the items ahead are fetched only when an attribute asks for them.
#include "text/jinja/loop_state.h"

#include <vector>

#include "text/jinja/operators.h"

namespace coppice::jinja {

const std::optional<Value>& LoopState::peek() {
  if (!peeked_) {
    after_ = next_();
    peeked_ = true;
  }
  return after_;
}

bool LoopState::advance() {
  if (!peek()) {
    return false;
  }
  before_ = std::exchange(current_, *std::move(after_));
  peeked_ = false;
  ++index0_;
  return true;
}

void LoopState::finish() {
  next_ = []() -> std::optional<Value> { return std::nullopt; };
}

// The number of items; those still to come are fetched to count them.
std::int64_t LoopState::length() {
  if (!length_) {
    std::vector<Value> rest;
    if (peek()) {
      while (std::optional<Value> item = next_()) {
        rest.push_back(*std::move(item));
      }
    }
    length_ = index0_ + 1 + (after_ ? 1 : 0) + static_cast<std::int64_t>(rest.size());
    next_ = [rest = std::move(rest), i = std::size_t{0}]() mutable {
      return i < rest.size() ? std::optional<Value>(rest[i++]) : std::nullopt;
    };
  }
  return *length_;
}

std::optional<Value> LoopState::attribute(Heap& heap, std::string_view name) {
  if (name == "index" || name == "index0") {
    return Value(index0_ + (name == "index" ? 1 : 0));
  }
  if (name == "first" || name == "last") {
    return Value(name == "first" ? index0_ == 0 : !peek());
  }
  if (name == "nextitem") {
    return peek().value_or(Value(Undefined{nullptr, "there is no next item"}));
  }
  if (name == "previtem") {
    return index0_ > 0 ? before_ : Value(Undefined{nullptr, "there is no previous item"});
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    return Value(name == "length" ? length() : length() - index0_ - (name == "revindex0" ? 1 : 0));
  }
  if (name == "depth" || name == "depth0") {
    return Value(std::int64_t{name == "depth" ? 1 : 0});
  }
  if (name == "cycle") {
    return heap.callable([this, &heap](Arguments& arguments) {
      const auto& items = arguments.positional;
      return items.empty() ? heap.fail("loop.cycle() needs items")
                           : items[static_cast<std::size_t>(index0_) % items.size()];
    });
  }
  if (name == "changed") {
    return heap.callable([this, &heap](Arguments& arguments) {
      const std::optional<Value> before = std::exchange(last_changed_, heap.tuple(arguments.positional));
      return Value(!before || !equal(heap, *before, *last_changed_));
    });
  }
  return std::nullopt;
}

}  // namespace coppice::jinja
