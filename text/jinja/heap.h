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

// Owner: one rendering. Thread: that rendering's. ERRORS: a maker that fails (beyond the limits) fails the rendering
// and returns none.
class Heap {
 public:
  explicit Heap(const Limits& limits) : budget_(limits) {}

  Budget& budget() { return budget_; }
  const Limits& limits() const { return budget_.limits(); }

  // Fail the rendering, by the template's own fault (kInvalidArgument), and return none.
  Value fail(std::string message);
  // The problem of an undefined value, or else "what, not 'type'".
  Value fail_type(std::string_view what, const Value& value);
  // An integer left 64 bits: kResourceExhausted.
  Value fail_overflow();

  // REQUIRES: `text` is valid UTF-8.
  Value string(std::string text, bool markup = false);
  Value sequence(ObjectKind kind, std::vector<Value> items);
  Value list(std::vector<Value> items) { return sequence(ObjectKind::kList, std::move(items)); }
  Value tuple(std::vector<Value> items) { return sequence(ObjectKind::kTuple, std::move(items)); }
  // Later entries replace the values of equal earlier keys.
  Value dict(std::vector<std::pair<Value, Value>> entries);
  // Sets one entry. ERRORS: a key that is not hashable.
  void assign(Dictionary& dictionary, const Value& key, Value value);
  Value iterator(Iterator::Next next);
  Value iterator_over(std::vector<Value> items);
  Value callable(Callable::Body body);
  // A JSON value of the context. ERRORS: nesting beyond value_depth_max; text that is not UTF-8.
  Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  // A new object of any kind, counted as sizeof(T) + extra_bytes; null when the rendering has failed.
  template <typename T, typename... Args>
  T* make(std::size_t extra_bytes, Args&&... args) {
    if (!budget_.reserve(sizeof(T) + kObjectOverheadBytes + extra_bytes)) {
      return nullptr;
    }
    auto owned = std::make_unique<T>(std::forward<Args>(args)...);
    T* object = owned.get();
    objects_.push_back(std::move(owned));
    return object;
  }

 private:
  static constexpr std::size_t kObjectOverheadBytes = 32;  // the allocator's header and our pointer

  Budget budget_;  // first: strings give their bytes back to it while the objects go
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace coppice::jinja
