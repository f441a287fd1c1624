// The values a template computes with: Python's None, bool, int, float, str, list, tuple, dict, and jinja2's undefined,
// namespace, loop and macro. Scalars are held by value, strings are shared and immutable, everything else lives in the
// rendering's Heap (heap.h) and is pointed to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/budget.h"

namespace coppice::jinja {

class Value;

// Text of a string value: always valid UTF-8. Owner: shared by values. Thread: immutable.
struct StringData {
  StringData(std::string text_in, bool markup_in, Budget* budget_in);
  StringData(const StringData&) = delete;
  StringData& operator=(const StringData&) = delete;
  ~StringData();

  // Bytes that a string of this capacity holds in the budget, with its reference count and the allocator's header.
  static std::size_t footprint(std::size_t capacity) { return sizeof(StringData) + 32 + capacity; }
  bool ascii() const { return length == text.size(); }

  const std::string text;
  const std::size_t length;  // in code points
  const bool markup;         // jinja2's Markup: concatenation escapes the other side
  Budget* const budget;      // null for literals of the program
};
using StringRef = std::shared_ptr<const StringData>;

// Returns a string that belongs to no rendering: a name or literal of a compiled template.
StringRef make_program_string(std::string text);

struct None {};

// An integer beyond int64: it can be printed and compared, not computed with.
struct LargeInteger {
  StringRef digits;  // a minus sign may come first
};

// What is wrong with an undefined value; "{}" stands for its name.
inline constexpr const char* kNoVariable = "'{}' is undefined";
inline constexpr const char* kNoAttribute = "the object has no attribute or element '{}'";
struct Undefined {
  StringRef name;  // may be null
  const char* problem = kNoVariable;
};

enum class ObjectKind : std::uint8_t {
  kList,
  kTuple,
  kRange,
  kDictKeys,
  kDictValues,
  kDictItems,
  kDict,
  kNamespace,
  kIterator,
  kCallable,
  kLoop,
};

// Anything that lives in the Heap. Owner: the Heap, until the rendering ends (hence cycles are harmless).
struct Object {
  explicit Object(ObjectKind kind_in) : kind(kind_in) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  const ObjectKind kind;
};

// A value. Thread: one rendering, one thread (literals of a compiled template are shared and immutable).
class Value {
 public:
  Value() : data_(None{}) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(std::int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(StringRef value) : data_(std::move(value)) {}
  explicit Value(Object* value) : data_(value) {}
  explicit Value(Undefined value) : data_(std::move(value)) {}
  explicit Value(LargeInteger value) : data_(std::move(value)) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_boolean() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_large() const { return std::holds_alternative<LargeInteger>(data_); }
  bool is_real() const { return std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<StringRef>(data_); }
  bool is_object() const { return std::holds_alternative<Object*>(data_); }
  bool is(ObjectKind kind) const { return is_object() && object()->kind == kind; }
  bool is_dict() const { return is(ObjectKind::kDict); }
  // A list, tuple, range or view of a dict: a Sequence.
  bool is_sequence() const { return is_object() && object()->kind <= ObjectKind::kDictItems; }
  // A list, tuple or range: what has a place for each index.
  bool is_indexable() const { return is_object() && object()->kind <= ObjectKind::kRange; }
  bool is_number() const { return is_integral() || is_large() || is_real(); }
  // An int as Python sees it: bool is one.
  bool is_integral() const { return is_boolean() || is_integer(); }

  const Undefined& undefined() const { return std::get<Undefined>(data_); }
  // REQUIRES: is_integral().
  std::int64_t integer() const { return is_boolean() ? std::get<bool>(data_) : std::get<std::int64_t>(data_); }
  const std::string& digits() const { return std::get<LargeInteger>(data_).digits->text; }
  // REQUIRES: is_number().
  double as_real() const;
  const StringRef& string() const { return std::get<StringRef>(data_); }
  const std::string& text() const { return string()->text; }
  Object* object() const { return std::get<Object*>(data_); }

 private:
  std::variant<None, bool, std::int64_t, LargeInteger, double, StringRef, Object*, Undefined> data_;
};

// list, tuple, range (its items spelled out) and the views of a dict. Changes only while it is made (Heap::push).
struct Sequence : Object {
  explicit Sequence(ObjectKind kind_in) : Object(kind_in) {}
  std::vector<Value> items;
};

// dict: insertion order, keys compared as Python does (1 == 1.0 == true).
struct Dictionary : Object {
  Dictionary() : Object(ObjectKind::kDict) {}
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string_view, std::size_t> index;  // of string keys, into entries
  bool has_other_keys = false;                              // any key that is not a string

  // Returns the value of `key`, or null. Spends its steps: keys that are not strings are searched one by one.
  Value* find(Budget& budget, const Value& key);
};

// namespace(): the only thing a template can change.
struct Namespace : Object {
  explicit Namespace(Dictionary* attributes_in) : Object(ObjectKind::kNamespace), attributes(attributes_in) {}
  Dictionary* const attributes;
};

// A generator: each item comes out once. next() gives no value at the end, and none once the rendering has failed.
struct Iterator : Object {
  using Next = std::function<std::optional<Value>()>;
  explicit Iterator(Next next_in) : Object(ObjectKind::kIterator), next(std::move(next_in)) {}
  const Next next;
};

// Arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<StringRef, Value>> keywords;
};

// A function, bound method or macro.
struct Callable : Object {
  using Body = std::function<Value(Arguments&)>;
  explicit Callable(Body body_in) : Object(ObjectKind::kCallable), body(std::move(body_in)) {}
  const Body body;
};

// REQUIRES: the kind fits.
inline const std::vector<Value>& items_of(const Value& value) {
  return static_cast<const Sequence&>(*value.object()).items;
}
inline Dictionary& as_dict(const Value& value) {
  return static_cast<Dictionary&>(*value.object());
}

// Returns Python's name of the value's type ("str", "NoneType", "dict_keys", ...).
std::string_view type_name(const Value& value);
// Returns Python's bool(value).
bool truthy(const Value& value);
// Returns len(value), if it has one.
std::optional<std::int64_t> length_of(const Value& value);
// Returns why the value is undefined: "'x' is undefined". REQUIRES: value.is_undefined().
std::string undefined_problem(const Value& value);

}  // namespace coppice::jinja
