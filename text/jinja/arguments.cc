// Binding arguments to parameters.
#include "text/jinja/arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"

namespace coppice::text {

absl::StatusOr<BoundArguments> bind_arguments(std::string_view function, const Arguments& arguments,
                                              std::span<const std::string_view> parameters, std::size_t required) {
  COPPICE_CHECK(parameters.size() <= kParametersMax, "a signature has too many parameters");
  BoundArguments bound;
  if (arguments.positional.size() > parameters.size()) {
    return template_error(fmt::format("{}() takes at most {} arguments", function, parameters.size()));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    bound.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.keywords) {
    const auto found = std::find(parameters.begin(), parameters.end(), name->text);
    if (found == parameters.end()) {
      return template_error(fmt::format("{}() has no parameter '{}'", function, name->text));
    }
    const Value*& slot = bound.values_[static_cast<std::size_t>(found - parameters.begin())];
    if (slot != nullptr) {
      return template_error(fmt::format("{}() gets '{}' twice", function, name->text));
    }
    slot = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (!bound.has(i)) {
      return template_error(fmt::format("{}() needs at least {} arguments", function, required));
    }
  }
  return bound;
}

absl::StatusOr<std::int64_t> BoundArguments::integer(std::size_t i, std::int64_t otherwise) const {
  if (!has(i)) {
    return otherwise;
  }
  if (at(i).is_integral()) {
    return at(i).integer();
  }
  return at(i).is_undefined() ? undefined_error(at(i))
                              : template_error(fmt::format("an int is needed, not '{}'", type_name(at(i))));
}

absl::StatusOr<std::string_view> BoundArguments::text(std::size_t i, std::string_view otherwise) const {
  if (!has(i)) {
    return otherwise;
  }
  if (at(i).is_string()) {
    return std::string_view(at(i).text());
  }
  return at(i).is_undefined() ? undefined_error(at(i))
                              : template_error(fmt::format("a string is needed, not '{}'", type_name(at(i))));
}

}  // namespace coppice::text
