// Attributes, items and slices.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/loop_state.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// The attribute itself, or nothing when the object has none of that name.
std::optional<Value> own_attribute(Heap& heap, const Value& object, const StringRef& name) {
  if (is_mutating_method(object, name->text)) {
    return Value(Undefined{name, kUnsafe});
  }
  if (is_unsupported_method(object, name->text)) {
    return heap.fail(unsupported("method", name->text));
  }
  if (const Builtin* const method = find_method(object, name->text)) {
    return heap.callable(
        [&heap, object, method](Arguments& arguments) { return call_builtin(heap, *method, object, arguments); });
  }
  if (object.is(ObjectKind::kNamespace)) {
    const Value* found = static_cast<Namespace*>(object.object())->attributes->find(name->text);
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  if (object.is(ObjectKind::kLoop)) {
    return static_cast<LoopState*>(object.object())->attribute(heap, name->text);
  }
  if (object.is(ObjectKind::kCallable)) {
    return heap.fail("attributes of functions are not supported in chat templates");
  }
  const bool group = object.is(ObjectKind::kTuple) && static_cast<Sequence*>(object.object())->group;
  if (group && (name->text == "grouper" || name->text == "list")) {
    return items_of(object)[name->text == "list" ? 1 : 0];
  }
  return std::nullopt;
}

// The item, or nothing when there is none or the object has no items.
std::optional<Value> own_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_dict()) {
    const auto found = heap.budget().charge(as_dict(object).find_steps(key)) ? as_dict(object).find(key) : std::nullopt;
    return found ? std::optional<Value>(as_dict(object).entries[*found].second) : std::nullopt;
  }
  if ((!object.is_string() && !object.is_indexable()) || !key.is_integral()) {
    return std::nullopt;
  }
  const std::int64_t length = *length_of(object);
  const std::int64_t index = key.integer() < 0 ? key.integer() + length : key.integer();
  if (index < 0 || index >= length) {
    return std::nullopt;
  }
  if (object.is_string()) {
    return get_slice(heap, object, Value(index), Value(index + 1), Value());
  }
  return items_of(object)[static_cast<std::size_t>(index)];
}

struct SliceBounds {
  std::int64_t start, stop, step;
};

// As Python's slice.indices().
SliceBounds slice_bounds(Heap& heap, const Value& start, const Value& stop, const Value& step, std::int64_t length) {
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is_none() && !part->is_integral()) {
      heap.fail_type("the parts of a slice must be ints", *part);
      return {};
    }
  }
  const std::int64_t stride = step.is_none() ? 1 : step.integer();
  const bool backwards = stride < 0;
  const auto clamped = [length, backwards](const Value& end, std::int64_t otherwise) {
    return end.is_none() ? otherwise
                         : std::clamp<std::int64_t>(end.integer() + (end.integer() < 0 ? length : 0),
                                                    backwards ? -1 : 0, backwards ? length - 1 : length);
  };
  if (stride == 0) {
    heap.fail("a slice has step zero");
  }
  // Beyond the length every step is the same; clamping keeps the walk from overflowing.
  return {clamped(start, backwards ? length - 1 : 0), clamped(stop, backwards ? -1 : length),
          std::clamp<std::int64_t>(stride, -length - 1, length + 1)};
}

// The part of a string, in steps of one code point.
Value slice_text(Heap& heap, const StringRef& string, std::int64_t start, std::int64_t stop) {
  const std::string_view text = string->text;
  const auto first = static_cast<std::size_t>(start);
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(stop - start, 0));
  const std::string_view rest = text.substr(string->ascii() ? first : byte_offset(text, first));
  const std::string_view part = rest.substr(0, string->ascii() ? count : byte_offset(rest, count));
  // Code points are counted from the start of the text.
  return heap.budget().charge_text(string->ascii() ? 0 : text.size() - rest.size() + part.size())
             ? heap.string(std::string(part), string->markup)
             : Value();
}

}  // namespace

Value get_attribute(Heap& heap, const Value& object, const StringRef& name) {
  if (object.is_undefined()) {
    return heap.fail(undefined_problem(object));
  }
  std::optional<Value> found = own_attribute(heap, object, name);
  found = found ? found : own_item(heap, object, Value(name));
  return found.value_or(Value(Undefined{name, kNoAttribute}));
}

Value get_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_undefined()) {
    return heap.fail(undefined_problem(object));
  }
  std::optional<Value> found = own_item(heap, object, key);
  if (found) {
    return *std::move(found);
  }
  const Value name = to_string_value(heap, key);
  found = key.is_string() ? own_attribute(heap, object, key.string()) : std::nullopt;
  return name.is_string() ? found.value_or(Value(Undefined{name.string(), kNoAttribute})) : Value();
}

Value get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (!object.is_string() && !object.is_indexable()) {
    return heap.fail_type("a string or a list is needed for a slice", object);
  }
  const SliceBounds bounds = slice_bounds(heap, start, stop, step, *length_of(object));
  if (object.is_string() && bounds.step == 1) {
    return slice_text(heap, object.string(), bounds.start, bounds.stop);
  }
  std::string text;
  std::vector<Value> items;
  const std::vector<std::uint32_t> codes =
      object.is_string() ? decode_utf8(object.text()) : std::vector<std::uint32_t>();
  for (std::int64_t i = bounds.start; (bounds.step > 0 ? i < bounds.stop : i > bounds.stop) && heap.budget().charge(1);
       i += bounds.step) {
    if (object.is_string()) {
      append_code_point(&text, codes[static_cast<std::size_t>(i)]);
    } else {
      items.push_back(items_of(object)[static_cast<std::size_t>(i)]);
    }
  }
  return object.is_string() ? heap.string(std::move(text), object.string()->markup)
                            : heap.sequence(object.object()->kind, std::move(items));
}

}  // namespace coppice::jinja
