// Global functions.
#include <array>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

Value range_function(Heap& heap, const Value&, const Bound& arguments) {
  const bool has_start = arguments.has(1);
  const std::int64_t start = has_start ? arguments.integer(heap, 0, 0) : 0;
  const std::int64_t stop = arguments.integer(heap, has_start ? 1 : 0, 0);
  const std::int64_t step = arguments.integer(heap, 2, 1);
  if (step == 0) {
    return heap.fail("range() with step zero");
  }
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.emplace_back(i);
    if (static_cast<std::int64_t>(items.size()) > heap.limits().range_items_max) {
      heap.budget().fail_exhausted(fmt::format("range() of more than {} items", heap.limits().range_items_max));
    }
    if (!heap.budget().charge(1) || __builtin_add_overflow(i, step, &i)) {
      break;
    }
  }
  return heap.sequence(ObjectKind::kRange, std::move(items));
}

// dict(mapping or pairs, **names): the entries.
std::vector<std::pair<Value, Value>> dict_entries(Heap& heap, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) {
    heap.fail("dict() and namespace() take at most one position");
  }
  if (!arguments.positional.empty() && arguments.positional[0].is_dict()) {
    entries = as_dict(arguments.positional[0]).entries;
  } else if (!arguments.positional.empty()) {
    for (const Value& pair : collect(heap, arguments.positional[0])) {
      std::vector<Value> parts = collect(heap, pair);
      parts.resize(parts.size() == 2 ? 2 : 0);
      if (parts.empty()) {
        heap.fail("dict() needs pairs");
        break;
      }
      entries.emplace_back(std::move(parts[0]), std::move(parts[1]));
    }
  }
  for (const auto& [name, value] : arguments.keywords) {
    entries.emplace_back(Value(name), value);
  }
  return entries;
}

Value dict_function(Heap& heap, const Value&, const Bound& arguments) {
  return heap.dict(dict_entries(heap, arguments.arguments()));
}

Value namespace_function(Heap& heap, const Value&, const Bound& arguments) {
  std::vector<std::pair<Value, Value>> entries = dict_entries(heap, arguments.arguments());
  for (const auto& [name, value] : entries) {
    check_namespace_name(heap, name.is_string() ? std::string_view(name.text()) : "");
  }
  const Value attributes = heap.dict(std::move(entries));
  auto* const object =
      attributes.is_dict() ? heap.make<Namespace>(0, static_cast<Dictionary*>(attributes.object())) : nullptr;
  return object == nullptr ? Value() : Value(object);
}

Value raise_function(Heap& heap, const Value&, const Bound& arguments) {
  heap.budget().fail(absl::FailedPreconditionError(to_text(heap, arguments.at(0))));
  return Value();
}

// What C's strftime cannot know about a Python datetime without a time zone.
std::string prepare_format(std::string_view format) {
  std::string result;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const char next = format[i] == '%' && i + 1 < format.size() ? format[i + 1] : '\0';
    if (next == 'f') {
      result += "000000";
    } else if (next != 'z' && next != 'Z') {
      result += format.substr(i, next == '\0' ? 1 : 2);
    }
    i += next == '\0' ? 0 : 1;
  }
  return result;
}

constexpr std::size_t kTimeBytesMax = 4096;  // of what strftime_now() returns; dates take tens

Value time_function(Heap& heap, std::string_view text, const std::tm& now) {
  const std::string format = "." + prepare_format(text);  // never empty, so that an empty result is a failure
  std::array<char, kTimeBytesMax> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now);
  const std::string_view result(buffer.data(), size);
  if (size == 0 || !valid_utf8(result) || text.find('\0') != std::string_view::npos) {
    return heap.fail("strftime_now: the format is not valid or its result too long");
  }
  return heap.string(std::string(result.substr(1)));
}

constexpr auto kFunctions = std::to_array<Builtin>({
    {"range", range_function, {"start", "stop", "step"}, 1},
    {"dict", dict_function, {kAnyArguments}},
    {"namespace", namespace_function, {kAnyArguments}},
    {"raise_exception", raise_function, {"message"}, 1},
});

}  // namespace

void check_namespace_name(Heap& heap, std::string_view name) {
  if (name.starts_with('_')) {
    heap.fail(fmt::format("'{}': namespaces hold no names that begin with '_'", name));
  }
}

std::vector<std::pair<std::string_view, Value>> make_globals(Heap& heap, const std::tm& now) {
  std::vector<std::pair<std::string_view, Value>> globals;
  for (const Builtin& function : kFunctions) {
    globals.emplace_back(function.name, heap.callable([&heap, &function](Arguments& arguments) {
      return call_builtin(heap, function, Value(), arguments);
    }));
  }
  globals.emplace_back("strftime_now", heap.callable([&heap, now](Arguments& arguments) {
    const bool fits = arguments.positional.size() == 1 && arguments.positional[0].is_string();
    return fits ? time_function(heap, arguments.positional[0].text(), now)
                : heap.fail("strftime_now() takes one format");
  }));
  return globals;
}

}  // namespace coppice::jinja
