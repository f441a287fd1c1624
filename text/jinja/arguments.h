// Reading the arguments of functions, methods, filters and tests: positions, keywords and defaults, as Python binds
// them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

inline constexpr std::size_t kParametersMax = 6;

// The arguments bound to a signature's parameters. Owner: the call; points into its Arguments.
class BoundArguments {
 public:
  bool has(std::size_t i) const { return values_[i] != nullptr; }
  // REQUIRES: has(i).
  const Value& at(std::size_t i) const { return *values_[i]; }
  // Absent, or none.
  bool is_none(std::size_t i) const { return !has(i) || at(i).is_none(); }
  bool flag(std::size_t i, bool otherwise) const { return has(i) ? truthy(at(i)) : otherwise; }
  // An int argument; a float, a string or undefined is an error.
  absl::StatusOr<std::int64_t> integer(std::size_t i, std::int64_t otherwise) const;
  // A string argument; anything else is an error. The text belongs to the argument.
  absl::StatusOr<std::string_view> text(std::size_t i, std::string_view otherwise = "") const;

 private:
  friend absl::StatusOr<BoundArguments> bind_arguments(std::string_view, const Arguments&,
                                                       std::span<const std::string_view>, std::size_t);
  std::array<const Value*, kParametersMax> values_{};
};

// Binds to parameters by position, then by name (a name that starts with "/" is by position only); the first
// `required` must be there. `function` is named in errors.
absl::StatusOr<BoundArguments> bind_arguments(std::string_view function, const Arguments& arguments,
                                              std::span<const std::string_view> parameters, std::size_t required);

// The usual short form: bind(name, arguments, {"width", "fill"}, 1).
inline absl::StatusOr<BoundArguments> bind(std::string_view function, const Arguments& arguments,
                                           std::initializer_list<std::string_view> parameters,
                                           std::size_t required = 0) {
  return bind_arguments(function, arguments, {parameters.begin(), parameters.size()}, required);
}

}  // namespace coppice::text
