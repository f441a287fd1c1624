// Finding built-ins by name, binding their arguments, methods of dicts and global functions.
#include "text/jinja/builtins.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/utf8.h"

namespace coppice::jinja {

const Builtin* find_in(BuiltinTable table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [name](const Builtin& b) { return b.name == name; });
  return found == table.end() ? nullptr : &*found;
}

namespace {

template <ObjectKind kind>
Value dict_view(Heap& heap, const Value& self, const Bound&) {
  auto& view = heap.make<Sequence>(kind);
  for (const auto& [key, value] : as_dict(self).entries) {
    const bool is_pair = kind == ObjectKind::kDictItems;
    const Value pair = is_pair ? heap.sequence(ObjectKind::kTuple, {key, value}) : Value();
    if (!heap.push(view, is_pair ? pair : kind == ObjectKind::kDictKeys ? key : value)) {
      break;
    }
  }
  return Value(&view);
}

Value dict_get(Heap& heap, const Value& self, const Bound& arguments) {
  if (arguments.at(0).is_object()) {
    return heap.fail_type("a dict key must be a string, a number or none in chat templates", arguments.at(0));
  }
  const Value* const found = as_dict(self).find(heap.budget(), arguments.at(0));
  return found != nullptr ? *found : arguments.value(1);
}

constexpr auto kDictMethods = std::to_array<Builtin>({
    {"get", dict_get, {"key", "default"}, 1},
    {"items", dict_view<ObjectKind::kDictItems>},
    {"keys", dict_view<ObjectKind::kDictKeys>},
    {"values", dict_view<ObjectKind::kDictValues>},
});

// Each name between blanks.
constexpr std::string_view kRefusedTextMethods =
    " casefold center count encode expandtabs format format_map index isalnum isalpha isascii isdecimal isdigit "
    "isidentifier "
    "islower isnumeric isprintable isspace istitle isupper ljust maketrans partition removeprefix removesuffix rindex "
    "rfind rjust rpartition rsplit splitlines swapcase translate zfill ";
constexpr std::string_view kRefusedDictMethods = " clear copy fromkeys pop popitem setdefault update ";
constexpr std::string_view kRefusedListMethods =
    " append clear copy count extend index insert pop remove reverse sort ";

Value range_function(Heap& heap, const Value&, const Bound& arguments) {
  const bool has_start = arguments.has(1);
  const std::int64_t start = has_start ? arguments.integer(heap, 0, 0) : 0;
  const std::int64_t stop = arguments.integer(heap, has_start ? 1 : 0, 0);
  const std::int64_t step = arguments.integer(heap, 2, 1);
  if (step == 0) {
    return heap.fail("range() with step zero");
  }
  auto& range = heap.make<Sequence>(ObjectKind::kRange);
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(range.items.size()) == heap.limits().range_items_max) {
      heap.budget().fail_exhausted(fmt::format("range() of more than {} items", heap.limits().range_items_max));
    }
    if (!heap.push(range, Value(i)) || __builtin_add_overflow(i, step, &i)) {
      break;
    }
  }
  return Value(&range);
}

// dict(mapping, **names).
Value dict_function(Heap& heap, const Value&, const Bound& bound) {
  const auto& [positional, keywords] = bound.arguments();
  auto& dictionary = heap.make<Dictionary>();
  if (positional.size() > 1 || (positional.size() == 1 && !positional[0].is_dict())) {
    return heap.fail("dict() and namespace() of anything but a dict and names are not supported in chat templates");
  }
  for (std::size_t i = 0; !positional.empty() && i < as_dict(positional[0]).entries.size(); ++i) {
    const auto& [key, value] = as_dict(positional[0]).entries[i];
    heap.assign(dictionary, key, value);
  }
  for (const auto& [name, value] : keywords) {
    heap.assign(dictionary, Value(name), value);
  }
  return Value(&dictionary);
}

Value namespace_function(Heap& heap, const Value& self, const Bound& arguments) {
  const Value attributes = dict_function(heap, self, arguments);
  if (heap.budget().failed()) {
    return Value();
  }
  for (const auto& [name, value] : as_dict(attributes).entries) {
    check_namespace_name(heap, name.is_string() ? std::string_view(name.text()) : "");
  }
  return Value(&heap.make<Namespace>(&as_dict(attributes)));
}

Value raise_function(Heap& heap, const Value&, const Bound& arguments) {
  heap.budget().fail(absl::FailedPreconditionError(to_text(heap, arguments.at(0))->text));
  return Value();
}

Value time_function(Heap& heap, std::string_view text, const std::tm& now) {
  constexpr std::size_t kTimeBytesMax = 4096;  // of a format and of its result; dates take tens
  if (!heap.budget().charge(static_cast<std::int64_t>(text.size()))) {  // each byte may be a conversion
    return Value();
  }
  for (std::size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 2)) {
    if (at + 1 < text.size() && std::string_view("fzZ").find(text[at + 1]) != std::string_view::npos) {
      return heap.fail("%f, %z and %Z of strftime_now() are not supported in chat templates");
    }
  }
  const std::string format = "." + std::string(text.substr(0, kTimeBytesMax));  // so that an empty result is a failure
  std::array<char, kTimeBytesMax> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now);
  const std::string_view result(buffer.data(), size);
  if (size == 0 || format.size() > kTimeBytesMax || !text::is_valid_utf8(result) ||
      text.find('\0') != std::string_view::npos) {
    return heap.fail("strftime_now: the format is not valid or its result too long");
  }
  return heap.string(result.substr(1));
}

constexpr auto kFunctions = std::to_array<Builtin>({
    {"range", range_function, {"start", "stop", "step"}, 1},
    {"dict", dict_function, {kAnyArguments}},
    {"namespace", namespace_function, {kAnyArguments}},
    {"raise_exception", raise_function, {"message"}, 1},
});

}  // namespace

const Builtin* find_filter(std::string_view name) {
  for (const BuiltinTable table : {text_filters(), sequence_filters(), scalar_filters()}) {
    if (const Builtin* const found = find_in(table, name)) {
      return found;
    }
  }
  return nullptr;
}

const Builtin* find_method(const Value& object, std::string_view name) {
  return object.is_string() ? find_in(text_methods(), name) : object.is_dict() ? find_in(kDictMethods, name) : nullptr;
}

bool is_refused_method(const Value& object, std::string_view name) {
  const std::string_view refused = object.is_string()      ? kRefusedTextMethods
                                   : object.is_dict()      ? kRefusedDictMethods
                                   : object.is_indexable() ? kRefusedListMethods
                                                           : "";
  return !name.empty() && name.find(' ') == std::string_view::npos &&
         refused.find(fmt::format(" {} ", name)) != std::string_view::npos;
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
