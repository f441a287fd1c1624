// What is inside a value: iteration, attributes, items and slices, and the loop variable.
#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace coppice::jinja {

Iterator::Next iterate(Heap& heap, const Value& value) {
  if (value.is_string()) {
    return [&heap, text = value.string(), end = std::size_t{0}]() mutable -> std::optional<Value> {
      const std::size_t start = end;
      if (heap.budget().failed() || start >= text->text.size()) {
        return std::nullopt;
      }
      end += sequence_length(text->text[start]);
      return heap.string(std::string_view(text->text).substr(start, end - start));
    };
  }
  if (value.is_sequence() || value.is_dict()) {
    return [&heap, value, i = std::size_t{0}]() mutable -> std::optional<Value> {
      if (!heap.budget().charge(1) || i >= static_cast<std::size_t>(*length_of(value))) {
        return std::nullopt;
      }
      return value.is_dict() ? as_dict(value).entries[i++].first : items_of(value)[i++];
    };
  }
  if (value.is(ObjectKind::kIterator)) {  // an iterator over an iterator over ... is one level of evaluation each
    return [&heap, iterator = static_cast<Iterator*>(value.object())] {
      std::optional<Value> item = heap.budget().enter() ? iterator->next() : std::nullopt;
      heap.budget().leave();
      return item;
    };
  }
  if (!value.is_undefined()) {
    heap.fail(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  return []() -> std::optional<Value> { return std::nullopt; };
}

Value collected(Heap& heap, const Value& value) {
  if (value.is_sequence()) {
    return value;
  }
  auto& list = heap.make<Sequence>(ObjectKind::kList);
  const Iterator::Next next = iterate(heap, value);
  while (std::optional<Value> item = next()) {
    if (!heap.push(list, *std::move(item))) {
      break;
    }
  }
  return Value(&list);
}

namespace {

// The attribute itself, or nothing when the object has none of that name.
std::optional<Value> own_attribute(Heap& heap, const Value& object, const StringRef& name) {
  if (is_refused_method(object, name->text)) {
    return heap.fail(unsupported("method", name->text));
  }
  if (const Builtin* const method = find_method(object, name->text)) {
    return heap.callable(
        [&heap, object, method](Arguments& arguments) { return call_builtin(heap, *method, object, arguments); });
  }
  if (object.is(ObjectKind::kNamespace)) {
    const Value* found = static_cast<Namespace*>(object.object())->attributes->find(heap.budget(), Value(name));
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  if (object.is(ObjectKind::kLoop)) {
    return static_cast<LoopState*>(object.object())->attribute(heap, name->text);
  }
  if (object.is(ObjectKind::kCallable)) {
    return heap.fail("attributes of functions are not supported in chat templates");
  }
  return std::nullopt;
}

// The item, or nothing when there is none or the object has no items.
std::optional<Value> own_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_dict()) {
    const Value* const found = as_dict(object).find(heap.budget(), key);
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
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

// The items or characters of a slice: [first, last), taken backwards or not.
struct Slice {
  std::int64_t first = 0, last = 0;
  bool backwards = false;
};

// As Python's slice.indices(), for steps of one.
Slice slice_of(Heap& heap, const Value& start, const Value& stop, const Value& step, std::int64_t length) {
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is_none() && !part->is_integral()) {
      heap.fail_type("the parts of a slice must be ints", *part);
      return {};
    }
  }
  const std::int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride != 1 && stride != -1) {
    heap.fail(stride == 0 ? "a slice has step zero"
                          : "a slice with a step beyond 1 is not supported in chat templates");
  }
  const bool backwards = stride < 0;
  const auto clamped = [length, backwards](const Value& end, std::int64_t otherwise) {
    return end.is_none() ? otherwise
                         : std::clamp<std::int64_t>(end.integer() + (end.integer() < 0 ? length : 0),
                                                    backwards ? -1 : 0, backwards ? length - 1 : length);
  };
  const std::int64_t begin = clamped(start, backwards ? length - 1 : 0);
  const std::int64_t end = clamped(stop, backwards ? -1 : length);
  return backwards ? Slice{end + 1, begin + 1, true} : Slice{begin, end, false};
}

// Code points are counted from the start of a text that is not ASCII.
Value slice_text(Heap& heap, const StringRef& string, const Slice& slice) {
  const std::string_view text = string->text;
  if ((!string->ascii() || slice.backwards) && !heap.budget().charge_walk(text.size())) {
    return Value();
  }
  const auto offset = [&](std::string_view of, std::int64_t count) {
    const auto characters = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
    return string->ascii() ? characters : byte_offset(of, characters);
  };
  const std::string_view rest = text.substr(offset(text, slice.first));
  const std::string_view part = rest.substr(0, offset(rest, slice.last - slice.first));
  if (!slice.backwards) {
    return heap.string(part, string->markup);
  }
  TextBuilder result(heap);
  for (std::size_t end = part.size(), start = 0; end > 0 && !heap.budget().failed(); end = start) {
    start = previous_start(part, end);
    result.append(part.substr(start, end - start));
  }
  return result.finish(string->markup);
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
  found = !found && key.is_string() ? own_attribute(heap, object, key.string()) : found;
  return found ? *std::move(found) : Value(Undefined{to_text(heap, key), kNoAttribute});
}

Value get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (!object.is_string() && !object.is_indexable()) {
    return heap.fail(object.is_undefined()
                         ? undefined_problem(object)
                         : fmt::format("a slice of a '{}' is not supported in chat templates", type_name(object)));
  }
  const Slice slice = slice_of(heap, start, stop, step, *length_of(object));
  if (object.is_string() || heap.budget().failed()) {
    return heap.budget().failed() ? Value() : slice_text(heap, object.string(), slice);
  }
  auto& result = heap.make<Sequence>(object.object()->kind);
  for (std::int64_t i = 0; i < slice.last - slice.first; ++i) {
    const std::int64_t at = slice.backwards ? slice.last - 1 - i : slice.first + i;
    if (!heap.push(result, items_of(object)[static_cast<std::size_t>(at)])) {
      break;
    }
  }
  return Value(&result);
}

// jinja2's LoopContext: the items ahead are fetched only when an attribute asks for them.
const std::optional<Value>& LoopState::peek() {
  if (!peeked_) {
    after_ = next_();
    peeked_ = true;
  }
  return after_;
}

bool LoopState::advance() {
  if (!peek()) {
    return false;
  }
  before_ = std::exchange(current_, *std::move(after_));
  peeked_ = false;
  ++index0_;
  return true;
}

void LoopState::finish() {
  next_ = []() -> std::optional<Value> { return std::nullopt; };
}

// The number of items; those still to come are fetched to count them.
std::int64_t LoopState::length(Heap& heap) {
  if (!length_) {
    auto& rest = heap.make<Sequence>(ObjectKind::kList);
    while (peek()) {
      std::optional<Value> item = next_();
      if (!item || !heap.push(rest, *std::move(item))) {
        break;
      }
    }
    length_ = index0_ + 1 + (after_ ? 1 : 0) + static_cast<std::int64_t>(rest.items.size());
    next_ = iterate(heap, Value(&rest));
  }
  return *length_;
}

std::optional<Value> LoopState::attribute(Heap& heap, std::string_view name) {
  if (name == "index" || name == "index0") {
    return Value(index0_ + (name == "index" ? 1 : 0));
  }
  if (name == "first" || name == "last") {
    return Value(name == "first" ? index0_ == 0 : !peek());
  }
  if (name == "nextitem") {
    return peek().value_or(Value(Undefined{nullptr, "there is no next item"}));
  }
  if (name == "previtem") {
    return index0_ > 0 ? before_ : Value(Undefined{nullptr, "there is no previous item"});
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    return Value(name == "length" ? length(heap) : length(heap) - index0_ - (name == "revindex0" ? 1 : 0));
  }
  if (name == "cycle") {
    return heap.callable([this, &heap](Arguments& arguments) {
      const auto& items = arguments.positional;
      return items.empty() ? heap.fail("loop.cycle() needs items")
                           : items[static_cast<std::size_t>(index0_) % items.size()];
    });
  }
  if (name == "changed" || name == "depth" || name == "depth0") {
    return heap.fail(unsupported("loop attribute", name));
  }
  return std::nullopt;
}

}  // namespace coppice::jinja
