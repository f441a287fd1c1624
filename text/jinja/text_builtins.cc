// Filters and methods of strings.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/text_search.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// A mapping of the text alone. A filter is given anything, a method its string.
template <std::string (*map)(std::string_view)>
Value mapped(Heap& heap, const Value& self, const Bound&) {
  const Value text = to_string_value(heap, self);
  return text.is_string() ? heap.string(map(text.text()), text.string()->markup) : Value();
}

// jinja2's title: words begin after blanks, "-" and opening brackets.
std::string title_words(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const std::uint32_t code = next_code_point(text, &i);
    const bool separates = is_space(code) || (code < 0x80 && std::string_view("-({[<").find(static_cast<char>(code)) !=
                                                                 std::string_view::npos);
    const std::string_view character = text.substr(start, i - start);
    result += separates ? std::string(character) : in_word ? to_lower(character) : to_upper(character);
    in_word = !separates;
  }
  return result;
}

template <bool left, bool right>
Value stripped(Heap& heap, const Value& self, const Bound& arguments) {
  const Value value = to_string_value(heap, self);
  std::string_view text = value.is_string() ? std::string_view(value.text()) : "";
  if (!arguments.is_none(0)) {
    text = strip(text, arguments.text(heap, 0), left, right);
  } else {
    text = left ? strip_left(text) : text;
    text = right ? strip_right(text) : text;
  }
  return heap.string(std::string(text), value.is_string() && value.string()->markup);
}

Value string_filter(Heap& heap, const Value& input, const Bound&) {
  return to_string_value(heap, input);
}

Value replace_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::int64_t count = arguments.is_none(2) ? -1 : arguments.integer(heap, 2, -1);
  return heap.string(
      replace_text(heap, to_text(heap, input), to_text(heap, arguments.at(0)), to_text(heap, arguments.at(1)), count));
}

Value replace_method(Heap& heap, const Value& self, const Bound& arguments) {
  return heap.string(
      replace_text(heap, self.text(), arguments.text(heap, 0), arguments.text(heap, 1), arguments.integer(heap, 2, -1)),
      self.string()->markup);
}

Value indent_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::string indent = indentation(heap, arguments, 0);
  if (!input.is_string()) {
    return heap.fail_type("indent needs a string", input);
  }
  std::string result = arguments.flag(1) ? indent : "";
  const std::string text = input.text() + "\n";
  const char* separator = "";
  for (const std::string_view line : split_lines(text, false)) {
    if (!heap.budget().charge_text(indent.size() + line.size())) {
      break;
    }
    const bool first = *separator == '\0';
    result.append(separator).append(!first && (arguments.flag(2) || !line.empty()) ? indent : "").append(line);
    separator = "\n";
  }
  return heap.string(std::move(result), input.string()->markup);
}

// "%s"|format(value), with names or without.
Value format_filter(Heap& heap, const Value& input, const Bound& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : arguments.arguments().keywords) {
    entries.emplace_back(Value(name), value);
  }
  if (!entries.empty() && !arguments.arguments().positional.empty()) {
    return heap.fail("format takes positions or names, not both");
  }
  const Value values = entries.empty() ? heap.tuple(arguments.arguments().positional) : heap.dict(std::move(entries));
  const Value format = to_string_value(heap, input);
  return format.is_string() ? format_percent(heap, format, values) : Value();
}

Value safe_filter(Heap& heap, const Value& input, const Bound&) {
  return heap.string(to_text(heap, input), true);
}

Value escape_filter(Heap& heap, const Value& input, const Bound&) {
  return input.is_string() && input.string()->markup ? input : heap.string(escape_html(to_text(heap, input)), true);
}

// tojson as transformers defines it: json.dumps with its options, nothing escaped for HTML.
Value json_filter(Heap& heap, const Value& input, const Bound& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.flag(0);
  style.sort_keys = arguments.flag(3);
  if (!arguments.is_none(1)) {
    style.indent = indentation(heap, arguments, 1);
    style.item_separator = ",";
  }
  if (!arguments.is_none(2)) {
    const std::vector<Value> pair = collect(heap, arguments.at(2));
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return heap.fail("tojson: separators must be a pair of strings");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  return heap.string(to_json(heap, input, style));
}

// The text of self[start:end], given at `first` and after it.
std::string_view part_of(Heap& heap, const Value& self, const Bound& arguments, std::size_t first) {
  const auto length = static_cast<std::int64_t>(self.string()->length);
  const auto position = [&](std::size_t i, std::int64_t otherwise) {
    const std::int64_t at = arguments.is_none(i) ? otherwise : arguments.integer(heap, i, otherwise);
    return static_cast<std::size_t>(std::clamp<std::int64_t>(at + (at < 0 ? length : 0), 0, length));
  };
  const std::string_view text = self.text();
  const std::size_t begin = byte_offset(text, position(first, 0));
  return text.substr(begin, std::max(byte_offset(text, position(first + 1, length)), begin) - begin);
}

template <bool last, bool must_find>
Value find_method(Heap& heap, const Value& self, const Bound& arguments) {
  const std::string_view needle = arguments.text(heap, 0);
  const std::string_view text = part_of(heap, self, arguments, 1);
  const std::size_t found = !heap.budget().charge_text(text.size()) ? std::string_view::npos
                            : last                                  ? find_last_text(text, needle)
                                                                    : find_text(text, needle, 0);
  if (found == std::string_view::npos) {
    return must_find ? heap.fail("substring not found") : Value(std::int64_t{-1});
  }
  const auto before = static_cast<std::size_t>(text.data() - self.text().data()) + found;
  return Value(static_cast<std::int64_t>(code_point_count(std::string_view(self.text()).substr(0, before))));
}

Value count_method(Heap& heap, const Value& self, const Bound& arguments) {
  const std::string_view needle = arguments.text(heap, 0);
  std::int64_t count = needle.empty() ? static_cast<std::int64_t>(self.string()->length) + 1 : 0;
  std::size_t at = needle.empty() ? std::string_view::npos : find_text(self.text(), needle, 0);
  for (; at != std::string_view::npos; at = find_text(self.text(), needle, at + needle.size())) {
    ++count;
  }
  return heap.budget().charge_text(self.text().size()) ? Value(count) : Value();
}

template <bool at_end>
Value has_affix(Heap& heap, const Value& self, const Bound& arguments) {
  const std::string_view text = part_of(heap, self, arguments, 1);
  const bool several = arguments.at(0).is(ObjectKind::kTuple);
  for (const Value& affix : several ? items_of(arguments.at(0)) : std::vector<Value>{arguments.at(0)}) {
    if (!affix.is_string()) {
      return heap.fail_type("a string or a tuple of strings is needed", affix);
    }
    if (at_end ? text.ends_with(affix.text()) : text.starts_with(affix.text())) {
      return Value(true);
    }
  }
  return Value(false);
}

template <bool at_end>
Value without_affix(Heap& heap, const Value& self, const Bound& arguments) {
  const std::string_view affix = arguments.text(heap, 0);
  std::string_view text = self.text();
  if (at_end ? text.ends_with(affix) : text.starts_with(affix)) {
    text = text.substr(at_end ? 0 : affix.size(), text.size() - affix.size());
  }
  return heap.string(std::string(text));
}

// Pieces of `self` as a list or tuple of strings.
Value string_list(Heap& heap, const Value& self, const std::vector<std::string_view>& pieces,
                  ObjectKind kind = ObjectKind::kList) {
  std::vector<Value> items;
  for (std::size_t i = 0; i < pieces.size() && !heap.budget().failed(); ++i) {
    items.push_back(heap.string(std::string(pieces[i]), self.string()->markup));
  }
  return heap.sequence(kind, std::move(items));
}

std::vector<std::string_view> split_whitespace(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> pieces;
  for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
    std::size_t end = text.size();
    if (limit < 0 || static_cast<std::int64_t>(pieces.size()) < limit) {
      for (std::size_t next = end = 0; next < text.size() && !is_space(next_code_point(text, &next));) {
        end = next;
      }
    }
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return pieces;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, std::int64_t limit) {
  std::vector<std::string_view> pieces;
  std::size_t start = 0;
  for (std::size_t found = 0; limit < 0 || static_cast<std::int64_t>(pieces.size()) < limit;) {
    found = find_text(text, separator, start);
    if (found == std::string_view::npos) {
      break;
    }
    pieces.push_back(text.substr(start, found - start));
    start = found + separator.size();
  }
  pieces.push_back(text.substr(start));
  return pieces;
}

// From the right: the text and the separator are read backwards, and the pieces turned round again.
std::vector<std::string_view> split_at_right(std::string_view text, std::string_view separator, std::int64_t limit) {
  const std::string reversed_text(text.rbegin(), text.rend());
  const std::string reversed_separator(separator.rbegin(), separator.rend());
  std::vector<std::string_view> pieces = split_at(reversed_text, reversed_separator, limit);
  for (std::string_view& piece : pieces) {
    const auto start = static_cast<std::size_t>(piece.data() - reversed_text.data());
    piece = text.substr(text.size() - start - piece.size(), piece.size());
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

template <bool from_right>
Value split_method(Heap& heap, const Value& self, const Bound& arguments) {
  const std::int64_t limit = arguments.integer(heap, 1, -1);
  if (!heap.budget().charge_text(2 * self.text().size())) {
    return Value();
  }
  if (arguments.is_none(0)) {
    return from_right && limit >= 0 ? heap.fail("rsplit() at blanks with a limit is not supported in chat templates")
                                    : string_list(heap, self, split_whitespace(self.text(), limit));
  }
  const std::string_view separator = arguments.text(heap, 0);
  if (separator.empty()) {
    return heap.fail("split() with an empty separator");
  }
  return string_list(
      heap, self, from_right ? split_at_right(self.text(), separator, limit) : split_at(self.text(), separator, limit));
}

Value split_lines_method(Heap& heap, const Value& self, const Bound& arguments) {
  return heap.budget().charge_text(self.text().size())
             ? string_list(heap, self, split_lines(self.text(), arguments.flag(0)))
             : Value();
}

template <bool from_right>
Value partition_method(Heap& heap, const Value& self, const Bound& arguments) {
  const std::string_view separator = arguments.text(heap, 0);
  if (separator.empty() || !heap.budget().charge_text(2 * self.text().size())) {
    return heap.fail("partition() with an empty separator");
  }
  const std::string_view text = self.text();
  const std::size_t found = from_right ? find_last_text(text, separator) : find_text(text, separator, 0);
  std::vector<std::string_view> pieces = {text, "", ""};
  if (found != std::string_view::npos) {
    pieces = {text.substr(0, found), separator, text.substr(found + separator.size())};
  } else if (from_right) {
    std::swap(pieces[0], pieces[2]);
  }
  return string_list(heap, self, pieces, ObjectKind::kTuple);
}

Value join_method(Heap& heap, const Value& self, const Bound& arguments) {
  std::string result;
  const std::vector<Value> items = collect(heap, arguments.at(0));
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      return heap.fail_type("join() needs strings", items[i]);
    }
    if (!heap.budget().charge_text(self.text().size() + items[i].text().size())) {
      break;
    }
    result.append(i > 0 ? self.text() : "").append(items[i].text());
  }
  return heap.string(std::move(result), self.string()->markup);
}

// True when the text is not empty and every character passes.
template <bool (*test)(std::uint32_t)>
Value all_are(Heap& heap, const Value& self, const Bound&) {
  const std::vector<std::uint32_t> codes = decode_utf8(self.text());
  return heap.budget().charge_text(self.text().size())
             ? Value(!codes.empty() && std::all_of(codes.begin(), codes.end(), test))
             : Value();
}

// ljust, rjust and center: an odd blank goes by the parity of the width.
template <char align>
Value justified(Heap& heap, const Value& self, const Bound& arguments) {
  const std::int64_t width = arguments.integer(heap, 0, 0);
  const std::int64_t missing = std::max<std::int64_t>(width - static_cast<std::int64_t>(self.string()->length), 0);
  const std::int64_t before = align == '<' ? 0 : align == '>' ? missing : missing / 2 + (missing & width & 1);
  return padded(heap, self, before, missing - before);
}

constexpr auto kFilters = std::to_array<Builtin>({
    {"upper", mapped<to_upper>},
    {"lower", mapped<to_lower>},
    {"capitalize", mapped<to_capitalized>},
    {"title", mapped<title_words>},
    {"string", string_filter},
    {"trim", stripped<true, true>, {"chars"}},
    {"replace", replace_filter, {"old", "new", "count"}, 2},
    {"indent", indent_filter, {"width", "first", "blank"}},
    {"format", format_filter, {kAnyArguments}},
    {"safe", safe_filter},
    {"escape", escape_filter},
    {"e", escape_filter},
    {"tojson", json_filter, {"ensure_ascii", "indent", "separators", "sort_keys"}},
});

constexpr auto kMethods = std::to_array<Builtin>({
    {"upper", mapped<to_upper>},
    {"lower", mapped<to_lower>},
    {"capitalize", mapped<to_capitalized>},
    {"title", mapped<to_title>},
    {"strip", stripped<true, true>, {"chars"}},
    {"lstrip", stripped<true, false>, {"chars"}},
    {"rstrip", stripped<false, true>, {"chars"}},
    {"startswith", has_affix<false>, {"prefix", "start", "end"}, 1},
    {"endswith", has_affix<true>, {"suffix", "start", "end"}, 1},
    {"removeprefix", without_affix<false>, {"prefix"}, 1},
    {"removesuffix", without_affix<true>, {"suffix"}, 1},
    {"find", find_method<false, false>, {"sub", "start", "end"}, 1},
    {"rfind", find_method<true, false>, {"sub", "start", "end"}, 1},
    {"index", find_method<false, true>, {"sub", "start", "end"}, 1},
    {"rindex", find_method<true, true>, {"sub", "start", "end"}, 1},
    {"count", count_method, {"sub"}, 1},
    {"replace", replace_method, {"old", "new", "count"}, 2},
    {"split", split_method<false>, {"sep", "maxsplit"}},
    {"rsplit", split_method<true>, {"sep", "maxsplit"}},
    {"splitlines", split_lines_method, {"keepends"}},
    {"partition", partition_method<false>, {"sep"}, 1},
    {"rpartition", partition_method<true>, {"sep"}, 1},
    {"join", join_method, {"iterable"}, 1},
    {"isdigit", all_are<is_digit>},
    {"isspace", all_are<is_space>},
    {"ljust", justified<'<'>, {"width"}, 1},
    {"rjust", justified<'>'>, {"width"}, 1},
    {"center", justified<'^'>, {"width"}, 1},
    {"format", format_braces, {kAnyArguments}},
});

}  // namespace

BuiltinTable text_filters() {
  return kFilters;
}

BuiltinTable text_methods() {
  return kMethods;
}

}  // namespace coppice::jinja
