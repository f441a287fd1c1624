// Attributes, items and slices.
#include "text/jinja/attributes.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/loop_attributes.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

Value absent(StringRef name, Absence absence = Absence::kAttribute) {
  return Value(Undefined{std::move(name), absence});
}

// The attribute itself, or nothing when the object has none of that name.
absl::StatusOr<std::optional<Value>> own_attribute(Heap& heap, const Value& object, const StringRef& name) {
  const MethodLookup lookup = find_method(object, name->text);
  if (lookup.unsafe) {
    return absent(name, Absence::kUnsafe);
  }
  if (lookup.exists) {
    COPPICE_ASSIGN_OR_RETURN(
        Value method, heap.callable(name->text, [&heap, object, lookup, name](Arguments& arguments) {
          return lookup.method != nullptr
                     ? lookup.method(heap, object, arguments)
                     : Result(template_error(fmt::format("the method '{}' is not supported", name->text)));
        }));
    return method;
  }
  if (!object.is_object()) {
    return std::nullopt;
  }
  if (object.is_object(ObjectKind::kNamespace)) {
    const Value* found = static_cast<Namespace*>(object.object())->attributes->find(name->text);
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  if (object.is_object(ObjectKind::kLoop)) {
    return loop_attribute(heap, static_cast<LoopState*>(object.object()), name);
  }
  if (object.is_tuple() && as_sequence(object).group && (name->text == "grouper" || name->text == "list")) {
    return as_sequence(object).items[name->text == "list" ? 1 : 0];
  }
  if (object.is_object(ObjectKind::kCallable)) {
    const auto& callable = static_cast<const Callable&>(*object.object());
    if (callable.macro && name->text == "name") {
      COPPICE_ASSIGN_OR_RETURN(Value text, heap.string(callable.name));
      return text;
    }
    if (callable.macro && name->text == "arguments") {
      std::vector<Value> names(callable.macro_arguments.begin(), callable.macro_arguments.end());
      COPPICE_ASSIGN_OR_RETURN(Value tuple, heap.tuple(std::move(names)));
      return tuple;
    }
  }
  return std::nullopt;
}

// The item, or nothing when there is none or the object has no items.
absl::StatusOr<std::optional<Value>> own_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_dict()) {
    const Dictionary& dictionary = as_dict(object);
    if (!hashable(key)) {
      return std::nullopt;
    }
    COPPICE_RETURN_IF_ERROR(heap.budget().charge(
        key.is_string() || !dictionary.has_other_keys ? 1 : static_cast<std::int64_t>(dictionary.entries.size())));
    const auto found = dictionary.find(key);
    return found ? std::optional<Value>(dictionary.entries[*found].second) : std::nullopt;
  }
  const bool indexable =
      object.is_string() || object.is_list() || object.is_tuple() || object.is_object(ObjectKind::kRange);
  if (!indexable || !key.is_integral()) {
    return std::nullopt;
  }
  const std::int64_t length = *length_of(object);
  const std::int64_t index = key.integer() < 0 ? key.integer() + length : key.integer();
  if (index < 0 || index >= length) {
    return std::nullopt;
  }
  const auto position = static_cast<std::size_t>(index);
  if (!object.is_string()) {
    return as_sequence(object).items[position];
  }
  const std::string& text = object.text();
  const std::size_t start = object.string()->ascii() ? position : byte_offset(text, position);
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(object.string()->ascii() ? 1 : start));
  COPPICE_ASSIGN_OR_RETURN(Value character,
                           heap.string(text.substr(start, sequence_length(text[start])), object.string()->markup));
  return character;
}

// One end of a slice, as Python's slice.indices() clamps it.
absl::StatusOr<std::int64_t> slice_end(const Value& value, std::int64_t otherwise, std::int64_t length,
                                       bool backwards) {
  if (value.is_none()) {
    return otherwise;
  }
  if (!value.is_integral()) {
    return template_error(fmt::format("the parts of a slice must be ints, not '{}'", type_name(value)));
  }
  std::int64_t index = value.integer();
  index += index < 0 ? length : 0;
  return std::clamp<std::int64_t>(index, backwards ? -1 : 0, backwards ? length - 1 : length);
}

struct SliceBounds {
  std::int64_t start, stop, step;
};

absl::StatusOr<SliceBounds> slice_bounds(const Value& start, const Value& stop, const Value& step,
                                         std::int64_t length) {
  if (!step.is_none() && !step.is_integral()) {
    return template_error("the step of a slice must be an int");
  }
  const std::int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride == 0) {
    return template_error("a slice has step zero");
  }
  const bool backwards = stride < 0;
  SliceBounds bounds{};
  COPPICE_ASSIGN_OR_RETURN(bounds.start, slice_end(start, backwards ? length - 1 : 0, length, backwards));
  COPPICE_ASSIGN_OR_RETURN(bounds.stop, slice_end(stop, backwards ? -1 : length, length, backwards));
  // Beyond the length every step is the same; clamping keeps the walk from overflowing.
  bounds.step = std::clamp<std::int64_t>(stride, -length - 1, length + 1);
  return bounds;
}

Result slice_text(Heap& heap, const Value& object, const SliceBounds& bounds) {
  const std::string& text = object.text();
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(text.size()));
  std::string result;
  if (bounds.step == 1) {
    if (bounds.start < bounds.stop) {
      const auto first = static_cast<std::size_t>(bounds.start);
      const auto count = static_cast<std::size_t>(bounds.stop - bounds.start);
      const std::size_t begin = object.string()->ascii() ? first : byte_offset(text, first);
      const std::string_view rest = std::string_view(text).substr(begin);
      result = rest.substr(0, object.string()->ascii() ? count : byte_offset(rest, count));
    }
    return heap.string(std::move(result), object.string()->markup);
  }
  const std::vector<std::uint32_t> codes = decode_utf8(text);
  for (std::int64_t i = bounds.start; bounds.step > 0 ? i < bounds.stop : i > bounds.stop; i += bounds.step) {
    append_code_point(&result, codes[static_cast<std::size_t>(i)]);
  }
  return heap.string(std::move(result), object.string()->markup);
}

}  // namespace

Result get_attribute(Heap& heap, const Value& object, const StringRef& name) {
  if (object.is_undefined()) {
    return undefined_error(object);
  }
  COPPICE_ASSIGN_OR_RETURN(std::optional<Value> attribute, own_attribute(heap, object, name));
  if (attribute) {
    return *std::move(attribute);
  }
  COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, own_item(heap, object, Value(name)));
  return item ? *std::move(item) : absent(name);
}

Result get_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_undefined()) {
    return undefined_error(object);
  }
  COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, own_item(heap, object, key));
  if (item) {
    return *std::move(item);
  }
  if (key.is_string()) {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> attribute, own_attribute(heap, object, key.string()));
    return attribute ? *std::move(attribute) : absent(key.string());
  }
  COPPICE_ASSIGN_OR_RETURN(std::string name, to_repr(heap, key));
  COPPICE_ASSIGN_OR_RETURN(Value text, heap.string(std::move(name)));
  return absent(text.string());
}

Result get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) {
    return undefined_error(object);
  }
  const bool sliceable =
      object.is_string() || object.is_list() || object.is_tuple() || object.is_object(ObjectKind::kRange);
  if (!sliceable) {
    return template_error(fmt::format("a '{}' cannot be sliced", type_name(object)));
  }
  COPPICE_ASSIGN_OR_RETURN(const SliceBounds bounds, slice_bounds(start, stop, step, *length_of(object)));
  if (object.is_string()) {
    return slice_text(heap, object, bounds);
  }
  const std::vector<Value>& items = as_sequence(object).items;
  std::vector<Value> result;
  for (std::int64_t i = bounds.start; bounds.step > 0 ? i < bounds.stop : i > bounds.stop; i += bounds.step) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge(1));
    result.push_back(items[static_cast<std::size_t>(i)]);
  }
  if (!object.is_object(ObjectKind::kRange)) {
    return heap.sequence(object.object()->kind, std::move(result));
  }
  // A part of a range is a range, and prints as one.
  const std::vector<std::int64_t>& shown = as_sequence(object).range;
  const std::int64_t stride = shown.size() > 2 ? shown[2] : 1;
  return heap.range(shown[0] + bounds.start * stride, shown[0] + bounds.stop * stride, stride * bounds.step,
                    std::move(result));
}

}  // namespace coppice::text
