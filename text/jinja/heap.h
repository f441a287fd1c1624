// Where a rendering's values live. Objects stay until the rendering ends (so cycles through namespaces cannot leak and
// nothing is destroyed recursively); strings, the bulk of the memory, are counted and freed as they fall out of use.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/jinja/budget.h"
#include "text/jinja/value.h"

namespace coppice::text {

// Owner: one rendering. Thread: that rendering's. Every maker fails with kResourceExhausted beyond the limits.
class Heap {
 public:
  explicit Heap(const TemplateLimits& limits) : budget_(limits) {}

  Budget& budget() { return budget_; }
  const TemplateLimits& limits() const { return budget_.limits(); }

  // REQUIRES: `text` is valid UTF-8.
  Result string(std::string text, bool markup = false);
  Result sequence(ObjectKind kind, std::vector<Value> items);
  Result list(std::vector<Value> items) { return sequence(ObjectKind::kList, std::move(items)); }
  Result tuple(std::vector<Value> items) { return sequence(ObjectKind::kTuple, std::move(items)); }
  // A range that prints as start, stop and step, with its items spelled out.
  Result range(std::int64_t start, std::int64_t stop, std::int64_t step, std::vector<Value> items);
  // Later entries replace the values of equal earlier keys. Fails on a key that cannot be hashed.
  Result dict(std::vector<std::pair<Value, Value>> entries);
  Result iterator(const char* name, Iterator::Next next);
  Result callable(std::string name, Callable::Body body);
  // A JSON value of the context. Fails on nesting beyond value_depth_max and on text that is not UTF-8.
  Result from_json(const nlohmann::ordered_json& json);

  // Sets one entry. REQUIRES: `key` can be hashed.
  absl::Status assign(Dictionary& dictionary, const Value& key, Value value);

  // A new object of any kind, counted as sizeof(T) + extra_bytes.
  template <typename T, typename... Args>
  absl::StatusOr<T*> make(std::size_t extra_bytes, Args&&... args) {
    if (absl::Status status = budget_.reserve(sizeof(T) + kOverhead + extra_bytes); !status.ok()) {
      return status;
    }
    auto owned = std::make_unique<T>(std::forward<Args>(args)...);
    T* object = owned.get();
    objects_.push_back(std::move(owned));
    return object;
  }

 private:
  static constexpr std::size_t kOverhead = 32;  // the allocator's header and our pointer
  Result from_json_at(const nlohmann::ordered_json& json, int depth);

  Budget budget_;  // first: strings give their bytes back to it while the objects go
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace coppice::text
