// Filters and methods of strings.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// A filter is given anything, a method its string.
template <LetterCase letter_case>
Value cased(Heap& heap, const Value& self, const Bound&) {
  return to_case(heap, to_text(heap, self), letter_case);
}

template <bool left, bool right>
Value stripped(Heap& heap, const Value& self, const Bound& arguments) {
  const StringRef whole = to_text(heap, self);
  std::string_view text = whole->text;
  if (arguments.is_none(0)) {
    text = left ? strip_left(text) : text;
    text = right ? strip_right(text) : text;
  } else {
    const std::string_view set = arguments.text(heap, 0);
    const auto in_set = [&](std::size_t at) {  // a character's bytes are found only where that character is
      return heap.budget().charge_walk(set.size()) &&
             set.find(text.substr(at, sequence_length(text[at]))) != std::string_view::npos;
    };
    while (left && !text.empty() && in_set(0)) {
      text.remove_prefix(sequence_length(text.front()));
    }
    while (right && !text.empty() && in_set(previous_start(text, text.size()))) {
      text = text.substr(0, previous_start(text, text.size()));
    }
  }
  return heap.budget().charge_walk(whole->text.size() - text.size()) ? heap.string(text, whole->markup) : Value();
}

// The first `count` occurrences of a text, all when negative.
Value replaced(Heap& heap, std::string_view text, std::string_view old_text, std::string_view new_text,
               std::int64_t count, bool markup) {
  Budget& budget = heap.budget();
  TextBuilder result(heap);
  std::size_t start = 0;
  std::size_t found = count == 0 ? std::string_view::npos : find_text(budget, text, old_text, 0);
  while (found != std::string_view::npos && !budget.failed()) {
    result.append(text.substr(start, found - start)).append(new_text);
    start = found + old_text.size();
    // An empty text stands before every character and at the end.
    const std::size_t from = !old_text.empty()     ? start
                             : found < text.size() ? found + sequence_length(text[found])
                                                   : text.size() + 1;
    found = --count == 0 ? std::string_view::npos : find_text(budget, text, old_text, from);
  }
  return result.append(text.substr(start)).finish(markup);
}

Value replace_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::int64_t count = arguments.is_none(2) ? -1 : arguments.integer(heap, 2, -1);
  return replaced(heap, to_text(heap, input)->text, to_text(heap, arguments.at(0))->text,
                  to_text(heap, arguments.at(1))->text, count, false);
}

Value replace_method(Heap& heap, const Value& self, const Bound& arguments) {
  return replaced(heap, self.text(), arguments.text(heap, 0), arguments.text(heap, 1), arguments.integer(heap, 2, -1),
                  self.string()->markup);
}

// The indentation of indent and tojson: a string as it is, a number (4 when absent) as blanks.
std::string indentation(Heap& heap, const Bound& arguments, std::size_t i) {
  constexpr std::int64_t kWidthMax = 10'000;  // wider than any line of a prompt
  if (arguments.has(i) && arguments.at(i).is_string()) {
    return arguments.at(i).text();
  }
  const std::int64_t width = arguments.integer(heap, i, 4);
  if (width > kWidthMax) {
    heap.budget().fail_exhausted("an indentation is too wide");
  }
  return std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(width, 0, kWidthMax)), ' ');
}

Value indent_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::string indent = indentation(heap, arguments, 0);
  if (!input.is_string()) {
    return heap.fail_type("indent needs a string", input);
  }
  const Value whole = TextBuilder(heap).append(input.text()).append("\n").finish();
  TextBuilder result(heap);
  for (std::size_t next = 0; !heap.budget().failed() && next < whole.text().size();) {
    const bool first = next == 0;
    const std::string_view line = next_line(heap.budget(), whole.text(), &next);
    const bool indents = first ? arguments.flag(1) : arguments.flag(2) || !line.empty();
    result.append(first ? "" : "\n").append(indents ? indent : "").append(line);
  }
  return result.finish(input.string()->markup);
}

Value escape_filter(Heap& heap, const Value& input, const Bound&) {
  if (input.is_string() && input.string()->markup) {
    return input;
  }
  TextBuilder result(heap);
  append_escaped(result, to_text(heap, input)->text);
  return result.finish(true);
}

// tojson as transformers defines it: json.dumps with its options, nothing escaped for HTML.
Value json_filter(Heap& heap, const Value& input, const Bound& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.flag(0);
  if (!arguments.is_none(1)) {
    style.indent = indentation(heap, arguments, 1);
    style.item_separator = ",";
  }
  if (!arguments.is_none(2)) {
    const Value pair = collected(heap, arguments.at(2));
    if (items_of(pair).size() != 2 || !items_of(pair)[0].is_string() || !items_of(pair)[1].is_string()) {
      return heap.fail("tojson: separators must be a pair of strings");
    }
    style.item_separator = items_of(pair)[0].text();
    style.key_separator = items_of(pair)[1].text();
  }
  return to_json(heap, input, style);
}

Value find_method(Heap& heap, const Value& self, const Bound& arguments) {
  const std::string_view text = self.text();
  const std::size_t found = find_text(heap.budget(), text, arguments.text(heap, 0), 0);
  return Value(found == std::string_view::npos ? std::int64_t{-1}
                                               : static_cast<std::int64_t>(code_point_count(text.substr(0, found))));
}

template <bool at_end>
Value has_affix(Heap& heap, const Value& self, const Bound& arguments) {
  const bool several = arguments.at(0).is(ObjectKind::kTuple);
  for (const Value& affix : several ? items_of(arguments.at(0)) : std::vector<Value>{arguments.at(0)}) {
    if (!affix.is_string()) {
      return heap.fail_type("a string or a tuple of strings is needed", affix);
    }
    if (!heap.budget().charge_copy(affix.text().size())) {
      return Value();
    }
    if (at_end ? self.text().ends_with(affix.text()) : self.text().starts_with(affix.text())) {
      return Value(true);
    }
  }
  return Value(false);
}

// Pushes a piece of `self`.
bool push_piece(Heap& heap, Sequence& list, const Value& self, std::string_view piece) {
  return heap.push(list, heap.string(piece, self.string()->markup));
}

void split_whitespace(Heap& heap, const Value& self, std::int64_t limit, Sequence& list) {
  if (!heap.budget().charge_walk(self.text().size())) {
    return;
  }
  for (std::string_view text = strip_left(self.text()); !text.empty(); text = strip_left(text)) {
    std::size_t end = text.size();
    if (limit < 0 || static_cast<std::int64_t>(list.items.size()) < limit) {
      for (std::size_t next = end = 0; next < text.size() && !is_space(next_code_point(text, &next));) {
        end = next;
      }
    }
    if (!push_piece(heap, list, self, text.substr(0, end))) {
      return;
    }
    text.remove_prefix(end);
  }
}

Value split_method(Heap& heap, const Value& self, const Bound& arguments) {
  const std::int64_t limit = arguments.integer(heap, 1, -1);
  auto& list = heap.make<Sequence>(ObjectKind::kList);
  if (arguments.is_none(0)) {
    split_whitespace(heap, self, limit, list);
    return Value(&list);
  }
  const std::string_view separator = arguments.text(heap, 0);
  if (separator.empty()) {
    return heap.fail("split() with an empty separator");
  }
  std::string_view rest = self.text();
  while (limit < 0 || static_cast<std::int64_t>(list.items.size()) < limit) {
    const std::size_t found = find_text(heap.budget(), rest, separator, 0);
    if (found == std::string_view::npos || !push_piece(heap, list, self, rest.substr(0, found))) {
      break;
    }
    rest.remove_prefix(found + separator.size());
  }
  push_piece(heap, list, self, rest);
  return Value(&list);
}

Value join_method(Heap& heap, const Value& self, const Bound& arguments) {
  TextBuilder result(heap);
  const Iterator::Next next = iterate(heap, arguments.at(0));
  for (bool first = true; const std::optional<Value> item = next(); first = false) {
    if (!item->is_string()) {
      return heap.fail_type("join() needs strings", *item);
    }
    result.append(first ? "" : self.text()).append(item->text());
  }
  return result.finish(self.string()->markup);
}

constexpr auto kFilters = std::to_array<Builtin>({
    {"upper", cased<LetterCase::kUpper>},
    {"lower", cased<LetterCase::kLower>},
    {"capitalize", cased<LetterCase::kCapitalized>},
    {"title", cased<LetterCase::kTitleFilter>},
    {"string", [](Heap& heap, const Value& input, const Bound&) { return Value(to_text(heap, input)); }},
    {"trim", stripped<true, true>, {"chars"}},
    {"replace", replace_filter, {"old", "new", "count"}, 2},
    {"indent", indent_filter, {"width", "first", "blank"}},
    {"safe",
     [](Heap& heap, const Value& input, const Bound&) { return heap.string(to_text(heap, input)->text, true); }},
    {"escape", escape_filter},
    {"e", escape_filter},
    {"tojson", json_filter, {"ensure_ascii", "indent", "separators"}},
});

constexpr auto kMethods = std::to_array<Builtin>({
    {"upper", cased<LetterCase::kUpper>},
    {"lower", cased<LetterCase::kLower>},
    {"capitalize", cased<LetterCase::kCapitalized>},
    {"title", cased<LetterCase::kTitle>},
    {"strip", stripped<true, true>, {"chars"}},
    {"lstrip", stripped<true, false>, {"chars"}},
    {"rstrip", stripped<false, true>, {"chars"}},
    {"startswith", has_affix<false>, {"prefix"}, 1},
    {"endswith", has_affix<true>, {"suffix"}, 1},
    {"find", find_method, {"sub"}, 1},
    {"replace", replace_method, {"old", "new", "count"}, 2},
    {"split", split_method, {"sep", "maxsplit"}},
    {"join", join_method, {"iterable"}, 1},
});

}  // namespace

BuiltinTable text_filters() {
  return kFilters;
}

BuiltinTable text_methods() {
  return kMethods;
}

}  // namespace coppice::jinja
