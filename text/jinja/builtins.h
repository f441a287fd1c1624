// Filters, tests, methods and global functions: one form for all of them, found by name, with arguments bound to
// parameters as Python does. What is not in a table is refused by name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

struct Builtin;
inline constexpr std::size_t kParametersMax = 4;  // of the longest signature (tojson)

// Arguments bound to a signature's parameters. Owner: the call; points into its Arguments. Thread: the rendering's.
class Bound {
 public:
  explicit Bound(const Arguments& arguments) : arguments_(arguments) {}

  bool has(std::size_t i) const { return values_[i] != nullptr; }
  // REQUIRES: has(i).
  const Value& at(std::size_t i) const { return *values_[i]; }
  Value value(std::size_t i, Value otherwise = Value()) const { return has(i) ? at(i) : std::move(otherwise); }
  // Absent, or none.
  bool is_none(std::size_t i) const { return !has(i) || at(i).is_none(); }
  bool flag(std::size_t i) const { return has(i) && truthy(at(i)); }
  // ERRORS: an argument that is there and not an int, or not a string.
  std::int64_t integer(Heap& heap, std::size_t i, std::int64_t otherwise) const;
  std::string_view text(Heap& heap, std::size_t i, std::string_view otherwise = "") const;
  // The arguments as given, for signatures of kAnyArguments.
  const Arguments& arguments() const { return arguments_; }

 private:
  friend Value call_builtin(Heap& heap, const Builtin& builtin, const Value& self, const Arguments& arguments);
  const Arguments& arguments_;
  std::array<const Value*, kParametersMax> values_{};
};

// A built-in: applied to `self`, the filter's input, the tested value or the method's object.
struct Builtin {
  using Body = Value (*)(Heap& heap, const Value& self, const Bound& arguments);
  std::string_view name;
  Body body;
  std::array<std::string_view, kParametersMax> parameters{};  // by position, then by name
  std::size_t required = 0;                                   // how many of them must be given
};
// The one parameter of a signature that takes whatever it gets.
inline constexpr std::string_view kAnyArguments = "*";

using BuiltinTable = std::span<const Builtin>;
// Each returns the entry of that name, or null.
const Builtin* find_in(BuiltinTable table, std::string_view name);
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_method(const Value& object, std::string_view name);  // of the object's type
// Returns whether Python has the method, and we do not: chat templates do not use it, or must not, as it would change
// the object.
bool is_refused_method(const Value& object, std::string_view name);

// ERRORS: arguments that do not fit the signature; those of the body.
Value call_builtin(Heap& heap, const Builtin& builtin, const Value& self, const Arguments& arguments);

// Returns "filter 'x' is not supported in chat templates".
std::string unsupported(std::string_view kind, std::string_view name);

// Returns range, dict, namespace, raise_exception, and strftime_now, which formats `now`; by name.
std::vector<std::pair<std::string_view, Value>> make_globals(Heap& heap, const std::tm& now);
// ERRORS: a name that a namespace cannot have.
void check_namespace_name(Heap& heap, std::string_view name);

// The tables of filters and methods.
BuiltinTable text_filters();
BuiltinTable sequence_filters();
BuiltinTable scalar_filters();
BuiltinTable text_methods();

}  // namespace coppice::jinja
