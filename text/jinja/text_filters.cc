// Filters that make text of text.
#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/printf_format.h"
#include "text/jinja/text_form.h"
#include "text/jinja/text_search.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

// jinja2's soft_str: a string as it is, anything else by str().
Result soft_string(Heap& heap, const Value& value) {
  if (value.is_string()) {
    return value;
  }
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, value));
  return heap.string(std::move(text));
}

template <std::string (*map)(std::string_view), bool keeps_markup = true>
Result mapped(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("filter", arguments, {}).status());
  COPPICE_ASSIGN_OR_RETURN(Value text, soft_string(heap, input));
  return heap.string(map(text.text()), keeps_markup && text.string()->markup);
}

// jinja2's title: words begin after blanks, "-", and opening brackets.
std::string title_words(std::string_view text) {
  std::string result;
  std::size_t start = 0;
  bool in_word = false;
  for (std::size_t i = 0; i <= text.size();) {
    std::size_t next = i;
    const std::uint32_t code = i < text.size() ? next_code_point(text, &next) : ' ';
    const bool separator = is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
    if (separator == in_word || i == text.size()) {
      const std::string_view run = text.substr(start, i - start);
      if (in_word && !run.empty()) {
        const std::size_t first = sequence_length(run.front());
        result += to_upper(run.substr(0, first)) + to_lower(run.substr(first));
      } else {
        result += run;
      }
      start = i;
      in_word = !separator;
    }
    i = i < text.size() ? next : i + 1;
  }
  return result;
}

Result string_filter(Heap& heap, const Value& input, const Arguments&) {
  return soft_string(heap, input);
}

Result trim_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("trim", arguments, {"chars"}));
  COPPICE_ASSIGN_OR_RETURN(Value text, soft_string(heap, input));
  if (bound.is_none(0)) {
    return heap.string(std::string(strip(text.text(), nullptr, true, true)), text.string()->markup);
  }
  COPPICE_ASSIGN_OR_RETURN(std::string_view characters, bound.text(0));
  return heap.string(std::string(strip(text.text(), &characters, true, true)), text.string()->markup);
}

Result replace_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("replace", arguments, {"old", "new", "count"}, 2));
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, input));
  COPPICE_ASSIGN_OR_RETURN(std::string old_text, to_text(heap, bound.at(0)));
  COPPICE_ASSIGN_OR_RETURN(std::string new_text, to_text(heap, bound.at(1)));
  std::int64_t count = -1;
  if (!bound.is_none(2)) {
    COPPICE_ASSIGN_OR_RETURN(count, bound.integer(2, -1));
  }
  COPPICE_ASSIGN_OR_RETURN(std::string result, replace_text(heap, text, old_text, new_text, count));
  return heap.string(std::move(result));
}

// The indentation: blanks, or a string as it is.
absl::StatusOr<std::string> indentation(const BoundArguments& bound, std::size_t i) {
  if (bound.has(i) && bound.at(i).is_string()) {
    return bound.at(i).text();
  }
  COPPICE_ASSIGN_OR_RETURN(std::int64_t width, bound.integer(i, 4));
  if (width > FormatSpec::kSizeMax) {
    return absl::ResourceExhaustedError("an indentation is too wide");
  }
  return std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
}

Result indent_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("indent", arguments, {"width", "first", "blank"}));
  COPPICE_ASSIGN_OR_RETURN(std::string indent, indentation(bound, 0));
  if (!input.is_string()) {
    return input.is_undefined() ? undefined_error(input)
                                : template_error(fmt::format("indent needs a string, not '{}'", type_name(input)));
  }
  const bool blank = bound.flag(2, false);
  std::string result = bound.flag(1, false) ? indent : "";
  const std::string text = input.text() + "\n";
  const std::vector<std::string_view> lines = split_lines(text, false);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(indent.size() + lines[i].size()));
    if (i > 0) {
      result += '\n';
      result += blank || !lines[i].empty() ? indent : "";
    }
    result += lines[i];
  }
  return heap.string(std::move(result), input.string()->markup);
}

Result center_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("center", arguments, {"width"}));
  COPPICE_ASSIGN_OR_RETURN(Value text, soft_string(heap, input));
  Arguments width;
  width.positional.push_back(bound.has(0) ? bound.at(0) : Value(std::int64_t{80}));
  return find_text_method("center")(heap, text, width);
}

Result truncate_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t length, bound.integer(0, 255));
  COPPICE_ASSIGN_OR_RETURN(std::string_view end, bound.text(2, "..."));
  std::int64_t leeway = 5;
  if (!bound.is_none(3)) {
    COPPICE_ASSIGN_OR_RETURN(leeway, bound.integer(3, 5));
  }
  const auto end_length = static_cast<std::int64_t>(code_point_count(end));
  if (length < end_length || leeway < 0) {
    return template_error("truncate: the length or the leeway is too small");
  }
  const auto size = length_of(input);
  if (size && *size - leeway <= length) {
    return input;
  }
  if (!input.is_string()) {
    return template_error(fmt::format("truncate cannot cut a '{}'", type_name(input)));
  }
  std::string_view kept = input.text();
  kept = kept.substr(0, byte_offset(kept, static_cast<std::size_t>(length - end_length)));
  if (!bound.flag(1, false)) {
    kept = kept.substr(0, kept.rfind(' '));
  }
  return heap.string(std::string(kept) + std::string(end));
}

Result format_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(Value text, soft_string(heap, input));
  if (!arguments.positional.empty() && !arguments.keywords.empty()) {
    return template_error("format takes positions or names, not both");
  }
  if (arguments.keywords.empty()) {
    COPPICE_ASSIGN_OR_RETURN(Value values, heap.tuple(arguments.positional));
    return format_printf(heap, text, values);
  }
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : arguments.keywords) {
    entries.emplace_back(Value(name), value);
  }
  COPPICE_ASSIGN_OR_RETURN(Value values, heap.dict(std::move(entries)));
  return format_printf(heap, text, values);
}

Result safe_filter(Heap& heap, const Value& input, const Arguments&) {
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, input));
  return heap.string(std::move(text), true);
}

template <bool force>
Result escape_filter(Heap& heap, const Value& input, const Arguments&) {
  if (!force && input.is_string() && input.string()->markup) {
    return input;
  }
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, input));
  return heap.string(escape_html(text), true);
}

Result word_count_filter(Heap& heap, const Value& input, const Arguments&) {
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, input));
  std::int64_t count = 0;
  bool in_word = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::uint32_t code = next_code_point(text, &i);
    const bool word = is_alpha(code) || is_numeric(code) || is_digit(code) || code == '_';
    count += word && !in_word ? 1 : 0;
    in_word = word;
  }
  return Value(count);
}

// tojson as transformers defines it: json.dumps with its options, nothing escaped for HTML.
absl::StatusOr<JsonStyle> json_style(const BoundArguments& bound) {
  JsonStyle style;
  style.ensure_ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (!bound.is_none(1)) {
    COPPICE_ASSIGN_OR_RETURN(style.indent, indentation(bound, 1));
    style.item_separator = ",";
  }
  if (!bound.is_none(2)) {
    if (!bound.at(2).is_tuple() && !bound.at(2).is_list()) {
      return template_error("tojson: separators must be a pair of strings");
    }
    const auto& pair = as_sequence(bound.at(2)).items;
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return template_error("tojson: separators must be a pair of strings");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  return style;
}

Result json_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound,
                           bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  COPPICE_ASSIGN_OR_RETURN(JsonStyle style, json_style(bound));
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_json(heap, input, style));
  return heap.string(std::move(text));
}

constexpr auto kFilters = std::to_array<FilterName>({
    {"upper", mapped<to_upper>},
    {"lower", mapped<to_lower>},
    {"capitalize", mapped<to_capitalized>},
    {"title", mapped<title_words, false>},
    {"string", string_filter},
    {"trim", trim_filter},
    {"replace", replace_filter},
    {"indent", indent_filter},
    {"center", center_filter},
    {"truncate", truncate_filter},
    {"format", format_filter},
    {"safe", safe_filter},
    {"escape", escape_filter<false>},
    {"e", escape_filter<false>},
    {"forceescape", escape_filter<true>},
    {"wordcount", word_count_filter},
    {"tojson", json_filter},
});

}  // namespace

std::span<const FilterName> text_filters() {
  return kFilters;
}

}  // namespace coppice::text
