// Global functions.
#include "text/jinja/globals.h"

#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

Result range_function(Heap& heap, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("range", arguments, {"/start", "/stop", "/step"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t start, bound.integer(0, 0));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t stop, bound.integer(1, 0));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t step, bound.integer(2, 1));
  if (!bound.has(1)) {
    stop = std::exchange(start, 0);
  }
  if (step == 0) {
    return template_error("range() with step zero");
  }
  const bool forwards = step > 0;
  const std::uint64_t distance = (forwards ? start < stop : start > stop)
                                     ? forwards ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                                                : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop)
                                     : 0;
  const std::uint64_t stride = forwards ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  const std::uint64_t count = distance / stride + (distance % stride != 0 ? 1 : 0);
  if (count > static_cast<std::uint64_t>(heap.limits().range_items_max)) {
    return absl::ResourceExhaustedError(fmt::format("range() of more than {} items", heap.limits().range_items_max));
  }
  COPPICE_RETURN_IF_ERROR(heap.budget().charge(static_cast<std::int64_t>(count)));
  std::vector<Value> items;
  items.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    items.emplace_back(start + static_cast<std::int64_t>(i) * step);
  }
  return heap.range(start, stop, step, std::move(items));
}

// dict(mapping or pairs, **names): the entries.
absl::StatusOr<std::vector<std::pair<Value, Value>>> dict_entries(Heap& heap, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) {
    return template_error("dict() and namespace() take at most one position");
  }
  if (!arguments.positional.empty() && arguments.positional[0].is_undefined()) {
    return undefined_error(arguments.positional[0]);
  }
  if (!arguments.positional.empty() && arguments.positional[0].is_dict()) {
    entries = as_dict(arguments.positional[0]).entries;
    COPPICE_RETURN_IF_ERROR(heap.budget().charge(static_cast<std::int64_t>(entries.size())));
  } else if (!arguments.positional.empty()) {
    COPPICE_ASSIGN_OR_RETURN(std::vector<Value> pairs, collect(heap, arguments.positional[0]));
    for (const Value& pair : pairs) {
      COPPICE_ASSIGN_OR_RETURN(std::vector<Value> parts, collect(heap, pair));
      if (parts.size() != 2) {
        return template_error("dict() needs pairs");
      }
      entries.emplace_back(std::move(parts[0]), std::move(parts[1]));
    }
  }
  for (const auto& [name, value] : arguments.keywords) {
    entries.emplace_back(Value(name), value);
  }
  return entries;
}

Result dict_function(Heap& heap, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(auto entries, dict_entries(heap, arguments));
  return heap.dict(std::move(entries));
}

Result namespace_function(Heap& heap, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(auto entries, dict_entries(heap, arguments));
  for (const auto& [name, value] : entries) {
    if (name.is_string()) {
      COPPICE_RETURN_IF_ERROR(check_namespace_name(name.text()));
    }
  }
  COPPICE_ASSIGN_OR_RETURN(Value attributes, heap.dict(std::move(entries)));
  COPPICE_ASSIGN_OR_RETURN(Namespace * object, heap.make<Namespace>(0, static_cast<Dictionary*>(attributes.object())));
  return Value(object);
}

Result raise_function(Heap& heap, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("raise_exception", arguments, {"message"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::string message, to_text(heap, bound.at(0)));
  return absl::FailedPreconditionError(message);
}

// What C's strftime cannot know about a Python datetime without a time zone.
std::string prepare_format(std::string_view format) {
  std::string result;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const char next = format[i] == '%' && i + 1 < format.size() ? format[i + 1] : '\0';
    if (next == 'f') {
      result += "000000";
    } else if (next != 'z' && next != 'Z') {
      result += format[i];
      if (next == '\0') {
        continue;
      }
      result += next;
    }
    i += next != '\0' ? 1 : 0;
  }
  return result;
}

Result time_function(Heap& heap, const Arguments& arguments, const std::tm& now) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("strftime_now", arguments, {"format"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::string_view text, bound.text(0));
  if (text.find('\0') != std::string_view::npos) {
    return template_error("strftime_now: the format contains a null character");
  }
  const std::string format = "." + prepare_format(text);  // never empty, so that an empty result is a failure
  std::array<char, 4096> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now);
  const std::string_view result(buffer.data(), size);
  if (size == 0 || !valid_utf8(result)) {
    return template_error("strftime_now: the format is not valid or its result too long");
  }
  return heap.string(std::string(result.substr(1)));
}

}  // namespace

absl::Status check_namespace_name(std::string_view name) {
  return name.starts_with('_') ? template_error(fmt::format("'{}': namespaces hold no names that begin with '_'", name))
                               : absl::OkStatus();
}

absl::StatusOr<std::vector<std::pair<std::string_view, Value>>> make_globals(Heap& heap, const std::tm& now) {
  const std::pair<std::string_view, Callable::Body> functions[] = {
      {"range", [&heap](Arguments& arguments) { return range_function(heap, arguments); }},
      {"dict", [&heap](Arguments& arguments) { return dict_function(heap, arguments); }},
      {"namespace", [&heap](Arguments& arguments) { return namespace_function(heap, arguments); }},
      {"raise_exception", [&heap](Arguments& arguments) { return raise_function(heap, arguments); }},
      {"strftime_now", [&heap, now](Arguments& arguments) { return time_function(heap, arguments, now); }},
  };
  std::vector<std::pair<std::string_view, Value>> globals;
  for (const auto& [name, body] : functions) {
    COPPICE_ASSIGN_OR_RETURN(Value value, heap.callable(std::string(name), body));
    globals.emplace_back(name, std::move(value));
  }
  return globals;
}

}  // namespace coppice::text
