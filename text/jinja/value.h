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
  StringData(std::string text_in, std::size_t length_in, bool markup_in, Budget* budget_in)
      : text(std::move(text_in)), length(length_in), markup(markup_in), budget(budget_in) {}
  StringData(const StringData&) = delete;
  StringData& operator=(const StringData&) = delete;
  ~StringData();

  // Bytes that a string of `bytes` holds in the budget.
  static std::size_t footprint(std::size_t bytes) { return sizeof(StringData) + bytes; }
  bool ascii() const { return length == text.size(); }

  const std::string text;
  const std::size_t length;  // in code points
  const bool markup;         // jinja2's Markup: concatenation escapes the other side
  Budget* const budget;      // null for literals of the program
};
using StringRef = std::shared_ptr<const StringData>;

// A string that belongs to no rendering: a name or literal of a compiled template.
StringRef make_program_string(std::string text);

struct None {};

// What is wrong with an undefined value; "{}" stands for its name.
inline constexpr std::string_view kNoVariable = "'{}' is undefined";
inline constexpr std::string_view kNoAttribute = "the object has no attribute or element '{}'";
inline constexpr std::string_view kUnsafe = "access to attribute '{}' is not allowed";
struct Undefined {
  StringRef name;  // may be null
  std::string_view problem = kNoVariable;
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
  // An integer beyond int64 can be printed and compared, not computed with.
  static Value from_unsigned(std::uint64_t value);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_boolean() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_unsigned() const { return std::holds_alternative<std::uint64_t>(data_); }
  bool is_real() const { return std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<StringRef>(data_); }
  bool is_object() const { return std::holds_alternative<Object*>(data_); }
  bool is(ObjectKind kind) const { return is_object() && object()->kind == kind; }
  bool is_dict() const { return is(ObjectKind::kDict); }
  // A list, tuple, range or view of a dict: a Sequence.
  bool is_sequence() const { return is_object() && object()->kind <= ObjectKind::kDictItems; }
  // A list, tuple or range: what has a place for each index.
  bool is_indexable() const { return is_object() && object()->kind <= ObjectKind::kRange; }
  bool is_number() const { return is_integral() || is_unsigned() || is_real(); }
  // An int as Python sees it: bool is one.
  bool is_integral() const { return is_boolean() || is_integer(); }

  const Undefined& undefined() const { return std::get<Undefined>(data_); }
  // REQUIRES: is_integral().
  std::int64_t integer() const { return is_boolean() ? std::get<bool>(data_) : std::get<std::int64_t>(data_); }
  std::uint64_t unsigned_integer() const { return std::get<std::uint64_t>(data_); }
  // REQUIRES: is_number().
  double as_real() const;
  const StringRef& string() const { return std::get<StringRef>(data_); }
  const std::string& text() const { return string()->text; }
  Object* object() const { return std::get<Object*>(data_); }

 private:
  std::variant<None, bool, std::int64_t, std::uint64_t, double, StringRef, Object*, Undefined> data_;
};

// list, tuple, range (its items spelled out) and the views of a dict.
struct Sequence : Object {
  Sequence(ObjectKind kind_in, std::vector<Value> items_in) : Object(kind_in), items(std::move(items_in)) {}
  const std::vector<Value> items;
  bool group = false;  // a groupby() tuple, which also has .grouper and .list
};

// dict: insertion order, keys compared as Python does (1 == 1.0 == true).
struct Dictionary : Object {
  Dictionary() : Object(ObjectKind::kDict) {}
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string_view, std::size_t> index;  // of string keys, into entries
  bool has_other_keys = false;                              // any key that is not a string

  // The entry's number for `key`, if any. A key that cannot be hashed is in no dict.
  std::optional<std::size_t> find(const Value& key) const;
  const Value* find(std::string_view key) const;
  // Steps that find(key) takes: keys that are not strings are searched one by one.
  std::int64_t find_steps(const Value& key) const;
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
inline const Dictionary& as_dict(const Value& value) {
  return static_cast<const Dictionary&>(*value.object());
}

// Python's name of the value's type ("str", "NoneType", "dict_keys", ...).
std::string_view type_name(const Value& value);
// Python's bool(value).
bool truthy(const Value& value);
// len(value), if it has one.
std::optional<std::int64_t> length_of(const Value& value);
// Whether a value can be a dict key here: a string, a number, a bool, none or undefined.
bool hashable(const Value& value);

// "'x' is undefined": why the value is undefined. REQUIRES: value.is_undefined().
std::string undefined_problem(const Value& value);

}  // namespace coppice::jinja
