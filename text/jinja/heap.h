// Where a rendering's values live. Objects stay until the rendering ends (so cycles through namespaces cannot leak and
// nothing is destroyed recursively); strings, the bulk of the memory, are counted and freed as they fall out of use.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/jinja/budget.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

// Owner: one rendering. Thread: that rendering's. ERRORS: a maker beyond the limits fails the rendering and returns
// none, or an object that is not complete.
class Heap {
 public:
  explicit Heap(const Limits& limits) : budget_(limits) {}

  Budget& budget() { return budget_; }
  const Limits& limits() const { return budget_.limits(); }

  // Fails the rendering, by the template's own fault (kInvalidArgument), and returns none.
  Value fail(std::string message);
  // Fails with the problem of an undefined value, or else "what, not 'type'".
  Value fail_type(std::string_view what, const Value& value);
  // Fails as an integer left 64 bits: kResourceExhausted.
  Value fail_overflow();

  // REQUIRES: `text` is valid UTF-8.
  Value string(std::string_view text, bool markup = false);
  // REQUIRES: an integer beyond int64, as JSON writes it.
  Value large_integer(std::string_view digits);
  Value sequence(ObjectKind kind, std::vector<Value> items);
  // Adds an item to a sequence that is being made. Returns false when the rendering has failed.
  bool push(Sequence& sequence, Value item);
  // Sets one entry. ERRORS: a key that is not a string, a number or none.
  void assign(Dictionary& dictionary, const Value& key, Value value);
  Value iterator(Iterator::Next next);
  Value callable(Callable::Body body);
  // Turns a JSON value of the context into ours. ERRORS: nesting beyond value_depth_max; text that is not UTF-8.
  Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  // Makes an object of any kind. Owner: the heap.
  template <typename T, typename... Args>
  T& make(Args&&... args) {
    static_cast<void>(budget_.charge(1) && budget_.reserve(sizeof(T) + kObjectOverheadBytes));  // both keep the failure
    auto owned = std::make_unique<T>(std::forward<Args>(args)...);
    T& object = *owned;
    objects_.push_back(std::move(owned));
    return object;
  }

 private:
  static constexpr std::size_t kObjectOverheadBytes = 96;  // allocator's header, our pointer, a closure's few values

  Budget budget_;  // first: strings give their bytes back to it while the objects go
  std::vector<std::unique_ptr<Object>> objects_;
};

// A text under construction: in the budget while it grows, and each append charged. Stops growing when the rendering
// has failed. Owner: the code that builds. Thread: the rendering's.
class TextBuilder {
 public:
  explicit TextBuilder(Heap& heap) : heap_(heap) {}
  TextBuilder(const TextBuilder&) = delete;
  TextBuilder& operator=(const TextBuilder&) = delete;
  ~TextBuilder() { heap_.budget().release(held_); }

  // Returns itself.
  TextBuilder& append(std::string_view text);
  std::size_t size() const { return text_.size(); }
  // Gives the text away, as a string value or as it is.
  Value finish(bool markup = false);
  std::string take() { return std::move(text_); }

 private:
  Heap& heap_;
  std::string text_;
  std::size_t held_ = 0;  // bytes in the budget
};

}  // namespace coppice::jinja
