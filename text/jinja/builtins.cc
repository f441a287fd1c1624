// Finding built-ins by name and binding their arguments.
#include "text/jinja/builtins.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "text/jinja/operators.h"

namespace coppice::jinja {

const Builtin* find_in(BuiltinTable table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [name](const Builtin& b) { return b.name == name; });
  return found == table.end() ? nullptr : &*found;
}

const Builtin* find_filter(std::string_view name) {
  for (const BuiltinTable table : {text_filters(), number_filters(), sequence_filters(), order_filters()}) {
    if (const Builtin* const found = find_in(table, name)) {
      return found;
    }
  }
  return nullptr;
}

std::string unsupported(std::string_view kind, std::string_view name) {
  return fmt::format("{} '{}' is not supported in chat templates", kind, name);
}

Value call_builtin(Heap& heap, const Builtin& builtin, const Value& self, const Arguments& arguments) {
  Bound bound(arguments);
  if (builtin.parameters[0] == kAnyArguments) {
    return builtin.body(heap, self, bound);
  }
  const auto end = std::find(builtin.parameters.begin(), builtin.parameters.end(), std::string_view());
  const auto count = static_cast<std::size_t>(end - builtin.parameters.begin());
  if (arguments.positional.size() > count) {
    return heap.fail(fmt::format("{}() takes at most {} arguments in chat templates", builtin.name, count));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    bound.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.keywords) {
    const auto found = std::find(builtin.parameters.begin(), end, name->text);
    if (found == end) {
      return heap.fail(fmt::format("{}() has no parameter '{}' in chat templates", builtin.name, name->text));
    }
    if (std::exchange(bound.values_[static_cast<std::size_t>(found - builtin.parameters.begin())], &value) != nullptr) {
      return heap.fail(fmt::format("{}() gets '{}' twice", builtin.name, name->text));
    }
  }
  for (std::size_t i = 0; i < builtin.required; ++i) {
    if (!bound.has(i)) {
      return heap.fail(fmt::format("{}() needs at least {} arguments", builtin.name, builtin.required));
    }
  }
  return builtin.body(heap, self, bound);
}

std::int64_t Bound::integer(Heap& heap, std::size_t i, std::int64_t otherwise) const {
  if (has(i) && !at(i).is_integral()) {
    heap.fail_type("an int is needed", at(i));
  }
  return has(i) && at(i).is_integral() ? at(i).integer() : otherwise;
}

std::string_view Bound::text(Heap& heap, std::size_t i, std::string_view otherwise) const {
  if (has(i) && !at(i).is_string()) {
    heap.fail_type("a string is needed", at(i));
  }
  return has(i) && at(i).is_string() ? std::string_view(at(i).text()) : otherwise;
}

Value get_path(Heap& heap, const Value& item, const Value& attribute, const Value& fallback) {
  const auto or_fallback = [&](Value value) { return value.is_undefined() && !fallback.is_none() ? fallback : value; };
  if (!attribute.is_string()) {
    return attribute.is_none() ? item : or_fallback(get_item(heap, item, attribute));
  }
  Value value = item;
  std::string_view rest = attribute.text();
  for (bool more = true; more && !heap.budget().failed();) {
    const std::string_view part = rest.substr(0, rest.find('.'));
    more = part.size() < rest.size();
    rest.remove_prefix(part.size() + (more ? 1 : 0));
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == part.data() + part.size() && !part.starts_with('-');
    value = or_fallback(get_item(heap, value, is_index ? Value(index) : heap.string(std::string(part))));
  }
  return value;
}

}  // namespace coppice::jinja
