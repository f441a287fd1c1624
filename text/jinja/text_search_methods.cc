// Methods of str that search, split, join and replace.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/text_search.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = i;
    const std::uint32_t code = next_code_point(text, &i);
    if (!is_line_break(code)) {
      continue;
    }
    i += code == '\r' && i < text.size() && text[i] == '\n' ? 1 : 0;
    lines.push_back(text.substr(start, (keep_ends ? i : end) - start));
    start = i;
  }
  if (start < text.size()) {
    lines.push_back(text.substr(start));
  }
  return lines;
}

namespace {

// The bytes of text[start:stop], with Python's clamping. `empty` when start lies beyond the end or the stop.
struct Range {
  std::size_t begin = 0, end = 0;
  bool empty = false;
};

absl::StatusOr<Range> search_range(const StringRef& text, const BoundArguments& bound, std::size_t first) {
  const auto length = static_cast<std::int64_t>(text->length);
  const auto limit = [&](std::size_t i, std::int64_t otherwise) -> absl::StatusOr<std::int64_t> {
    if (bound.is_none(i)) {
      return otherwise;
    }
    COPPICE_ASSIGN_OR_RETURN(std::int64_t value, bound.integer(i, otherwise));
    return value < 0 ? std::max<std::int64_t>(0, value + length) : value;
  };
  COPPICE_ASSIGN_OR_RETURN(std::int64_t start, limit(first, 0));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t stop, limit(first + 1, length));
  stop = std::min(stop, length);
  Range range;
  range.empty = start > stop;
  if (!range.empty) {
    range.begin = byte_offset(text->text, static_cast<std::size_t>(start));
    range.end = byte_offset(text->text, static_cast<std::size_t>(stop));
  }
  return range;
}

template <bool last, bool must_find>
Result find_method_body(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("find", arguments, {"/sub", "/start", "/end"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::string_view needle, bound.text(0));
  COPPICE_ASSIGN_OR_RETURN(Range range, search_range(self.string(), bound, 1));
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size()));
  const std::string_view text = std::string_view(self.text()).substr(range.begin, range.end - range.begin);
  const std::size_t found = range.empty ? std::string_view::npos
                            : last      ? find_last_text(text, needle)
                                        : find_text(text, needle, 0);
  if (found == std::string_view::npos) {
    return must_find ? Result(template_error("substring not found")) : Result(Value(std::int64_t{-1}));
  }
  return Value(
      static_cast<std::int64_t>(code_point_count(std::string_view(self.text()).substr(0, range.begin + found))));
}

Result count_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("count", arguments, {"/sub", "/start", "/end"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::string_view needle, bound.text(0));
  COPPICE_ASSIGN_OR_RETURN(Range range, search_range(self.string(), bound, 1));
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size()));
  if (range.empty) {
    return Value(std::int64_t{0});
  }
  const std::string_view text = std::string_view(self.text()).substr(range.begin, range.end - range.begin);
  if (needle.empty()) {
    return Value(static_cast<std::int64_t>(code_point_count(text)) + 1);
  }
  std::int64_t count = 0;
  for (std::size_t at = find_text(text, needle, 0); at != std::string_view::npos;
       at = find_text(text, needle, at + needle.size())) {
    ++count;
  }
  return Value(count);
}

template <bool at_end>
Result affix_test(Heap&, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("startswith", arguments, {"/affix", "/start", "/end"}, 1));
  COPPICE_ASSIGN_OR_RETURN(Range range, search_range(self.string(), bound, 1));
  const std::string_view text = std::string_view(self.text()).substr(range.begin, range.end - range.begin);
  std::vector<Value> affixes = {bound.at(0)};
  if (bound.at(0).is_tuple()) {
    affixes = as_sequence(bound.at(0)).items;
  }
  for (const Value& affix : affixes) {
    if (!affix.is_string()) {
      return affix.is_undefined()
                 ? undefined_error(affix)
                 : template_error(fmt::format("a string or a tuple of strings is needed, not '{}'", type_name(affix)));
    }
    if (!range.empty && (at_end ? text.ends_with(affix.text()) : text.starts_with(affix.text()))) {
      return Value(true);
    }
  }
  return Value(false);
}

template <bool at_end>
Result affix_removed(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("removeprefix", arguments, {"/affix"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::string_view affix, bound.text(0));
  std::string_view text = self.text();
  if (!at_end && text.starts_with(affix)) {
    text.remove_prefix(affix.size());
  } else if (at_end && text.ends_with(affix)) {
    text.remove_suffix(affix.size());
  }
  return heap.string(std::string(text));
}

Result replace_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("replace", arguments, {"/old", "/new", "/count"}, 2));
  COPPICE_ASSIGN_OR_RETURN(std::string_view old_text, bound.text(0));
  COPPICE_ASSIGN_OR_RETURN(std::string_view new_text, bound.text(1));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t count, bound.integer(2, -1));
  COPPICE_ASSIGN_OR_RETURN(std::string result, replace_text(heap, self.text(), old_text, new_text, count));
  return heap.string(std::move(result), self.string()->markup);
}

// Pieces as a list of strings.
Result string_list(Heap& heap, const std::vector<std::string_view>& pieces, bool markup) {
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (const std::string_view piece : pieces) {
    COPPICE_ASSIGN_OR_RETURN(Value item, heap.string(std::string(piece), markup));
    items.push_back(std::move(item));
  }
  return heap.list(std::move(items));
}

std::vector<std::string_view> split_whitespace(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> pieces;
  text = strip_left(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(pieces.size()) == limit) {
      pieces.push_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t next = end;
      if (is_space(next_code_point(text, &next))) {
        break;
      }
      end = next;
    }
    pieces.push_back(text.substr(0, end));
    text = strip_left(text.substr(end));
  }
  return pieces;
}

std::vector<std::string_view> split_whitespace_right(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> pieces;
  text = strip_right(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(pieces.size()) == limit) {
      pieces.push_back(text);
      break;
    }
    std::size_t start = text.size();
    while (start > 0) {
      const std::size_t previous = previous_start(text, start);
      std::size_t next = previous;
      if (is_space(next_code_point(text, &next))) {
        break;
      }
      start = previous;
    }
    pieces.push_back(text.substr(start));
    text = strip_right(text.substr(0, start));
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, std::int64_t limit) {
  std::vector<std::string_view> pieces;
  std::size_t start = 0;
  while (limit < 0 || static_cast<std::int64_t>(pieces.size()) < limit) {
    const std::size_t found = find_text(text, separator, start);
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
  std::vector<std::string_view> pieces;
  for (const std::string_view piece : split_at(reversed_text, reversed_separator, limit)) {
    const auto start = static_cast<std::size_t>(piece.data() - reversed_text.data());
    pieces.push_back(text.substr(text.size() - start - piece.size(), piece.size()));
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

template <bool from_right>
Result split_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("split", arguments, {"sep", "maxsplit"}));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t limit, bound.integer(1, -1));
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(2 * self.text().size()));
  const bool markup = self.string()->markup;
  if (bound.is_none(0)) {
    return string_list(
        heap, from_right ? split_whitespace_right(self.text(), limit) : split_whitespace(self.text(), limit), markup);
  }
  COPPICE_ASSIGN_OR_RETURN(std::string_view separator, bound.text(0));
  if (separator.empty()) {
    return template_error("split() with an empty separator");
  }
  return string_list(
      heap, from_right ? split_at_right(self.text(), separator, limit) : split_at(self.text(), separator, limit),
      markup);
}

Result split_lines_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("splitlines", arguments, {"keepends"}));
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size()));
  return string_list(heap, split_lines(self.text(), bound.flag(0, false)), self.string()->markup);
}

template <bool from_right>
Result partition_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("partition", arguments, {"/sep"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::string_view separator, bound.text(0));
  if (separator.empty()) {
    return template_error("partition() with an empty separator");
  }
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(2 * self.text().size()));
  const std::string_view text = self.text();
  std::vector<std::string_view> pieces = {text, "", ""};
  const std::size_t found = from_right ? find_last_text(text, separator) : find_text(text, separator, 0);
  if (found != std::string_view::npos) {
    pieces = {text.substr(0, found), separator, text.substr(found + separator.size())};
  } else if (from_right) {
    std::swap(pieces[0], pieces[2]);
  }
  COPPICE_ASSIGN_OR_RETURN(Value list, string_list(heap, pieces, self.string()->markup));
  return heap.tuple(as_sequence(list).items);
}

Result join_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("join", arguments, {"/iterable"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, bound.at(0)));
  std::string result;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      return template_error(fmt::format("join() needs strings, item {} is a '{}'", i, type_name(items[i])));
    }
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size() + items[i].text().size()));
    result += i > 0 ? self.text() : "";
    result += items[i].text();
  }
  return heap.string(std::move(result), self.string()->markup);
}

constexpr auto kMethods = std::to_array<MethodName>({
    {"find", find_method_body<false, false>},
    {"rfind", find_method_body<true, false>},
    {"index", find_method_body<false, true>},
    {"rindex", find_method_body<true, true>},
    {"count", count_method},
    {"startswith", affix_test<false>},
    {"endswith", affix_test<true>},
    {"removeprefix", affix_removed<false>},
    {"removesuffix", affix_removed<true>},
    {"replace", replace_method},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", split_lines_method},
    {"partition", partition_method<false>},
    {"rpartition", partition_method<true>},
    {"join", join_method},
});

}  // namespace

Method find_text_search_method(std::string_view name) {
  for (const MethodName& entry : kMethods) {
    if (entry.name == name) {
      return entry.method;
    }
  }
  return nullptr;
}

}  // namespace coppice::text
