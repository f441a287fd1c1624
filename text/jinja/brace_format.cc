// str.format() and str.format_map(): replacement fields with attributes, indices, conversions and format specs.
#include <charconv>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/attributes.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/methods.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

bool digits_only(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

absl::StatusOr<std::int64_t> bounded_number(std::string_view digits) {
  std::int64_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.size() > 6 || number > FormatSpec::kSizeMax) {
    return absl::ResourceExhaustedError("a number in a format is too large");
  }
  return number;
}

// [[fill]align][sign][#][0][width][grouping][.precision][type]
absl::StatusOr<FormatSpec> parse_spec(std::string_view text, bool is_number) {
  FormatSpec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  const auto take_digits = [&text] {
    const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::string_view digits = text.substr(0, count);
    text.remove_prefix(count);
    return digits;
  };
  const std::size_t first = text.empty() ? 0 : sequence_length(text.front());
  const bool fill_given = first > 0 && first < text.size() && is_align(text[first]);
  if (fill_given) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && is_align(text.front())) {
    spec.align = text.front();
    text.remove_prefix(1);
  }
  if (text.starts_with('+') || text.starts_with('-') || text.starts_with(' ')) {
    spec.sign = text.front();
    text.remove_prefix(1);
  }
  if (text.starts_with('#')) {
    spec.alternate = true;
    text.remove_prefix(1);
  }
  if (!fill_given && text.starts_with('0')) {  // zeros; between sign and digits when a number has no alignment
    spec.fill = "0";
    spec.align = spec.align == '\0' && is_number ? '=' : spec.align;
    text.remove_prefix(1);
  }
  COPPICE_ASSIGN_OR_RETURN(spec.width, bounded_number(take_digits()));
  if (text.starts_with(',') || text.starts_with('_')) {
    spec.grouping = text.front();
    text.remove_prefix(1);
  }
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::string_view digits = take_digits();
    if (digits.empty()) {
      return template_error("a format has a '.' without a precision");
    }
    COPPICE_ASSIGN_OR_RETURN(spec.precision, bounded_number(digits));
  }
  if (text.size() > 1) {
    return template_error("invalid format specification");
  }
  spec.type = text.empty() ? '\0' : text.front();
  return spec;
}

// What str.format() refuses and the % operator does not.
absl::Status check_number_spec(const FormatSpec& spec, const Value& value) {
  const bool integer_type =
      spec.type == '\0' ? !value.is_real() : std::string_view("dboxXcn").find(spec.type) != std::string_view::npos;
  if (integer_type && spec.precision && !(spec.type == 'n' && value.is_real())) {
    return template_error("a format gives an int a precision");
  }
  if (spec.type == 'c' && (spec.sign != '-' || spec.alternate)) {
    return template_error("a format gives a character a sign");
  }
  const bool groups =
      std::string_view(spec.grouping == ',' ? "boxXcn" : "cn").find(spec.type) == std::string_view::npos;
  if (spec.grouping != '\0' && spec.type != '\0' && !groups) {
    return template_error("a format groups digits that it cannot group");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> format_value(Heap& heap, const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) {
    return to_text(heap, value);
  }
  COPPICE_ASSIGN_OR_RETURN(FormatSpec spec, parse_spec(spec_text, value.is_number()));
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(static_cast<std::size_t>(spec.width)));
  if (value.is_string()) {
    if ((spec.type != '\0' && spec.type != 's') || spec.align == '=' || spec.sign != '-' || spec.alternate ||
        spec.grouping != '\0') {
      return template_error("the format does not fit a string");
    }
    return format_text(spec, value.text(), '<');
  }
  if (value.is_number()) {
    COPPICE_RETURN_IF_ERROR(check_number_spec(spec, value));
    return format_number(spec, value);
  }
  return value.is_undefined() ? undefined_error(value)
                              : template_error(fmt::format("unsupported format for a '{}'", type_name(value)));
}

class BraceFormatter {
 public:
  BraceFormatter(Heap& heap, const Arguments& arguments, const Dictionary* mapping)
      : heap_(heap), arguments_(arguments), mapping_(mapping) {}

  absl::StatusOr<std::string> run(std::string_view format, int depth) {
    if (depth > 1) {
      return template_error("a format specification is nested too deep");
    }
    std::string result;
    for (std::size_t i = 0; i < format.size(); ++i) {
      const char c = format[i];
      const bool doubled = i + 1 < format.size() && format[i + 1] == c;
      if ((c == '{' || c == '}') && doubled && depth == 0) {
        result += c;
        ++i;
      } else if (c == '}') {
        return template_error("a single '}' in a format");
      } else if (c == '{') {
        const std::size_t end = field_end(format, i + 1);
        if (end == std::string_view::npos) {
          return template_error("a '{' in a format has no end");
        }
        COPPICE_ASSIGN_OR_RETURN(std::string text, field(format.substr(i + 1, end - i - 1), depth));
        COPPICE_RETURN_IF_ERROR(heap_.budget().charge_text(text.size()));
        result += text;
        i = end;
      } else {
        result += c;
      }
    }
    return result;
  }

 private:
  static std::size_t field_end(std::string_view format, std::size_t from) {
    int open = 1;
    for (std::size_t i = from; i < format.size(); ++i) {
      open += format[i] == '{' ? 1 : format[i] == '}' ? -1 : 0;
      if (open == 0) {
        return i;
      }
    }
    return std::string_view::npos;
  }

  // name[.attribute|[index]]*[!conversion][:spec]
  absl::StatusOr<std::string> field(std::string_view text, int depth) {
    const std::size_t name_end = std::min(text.find_first_of("!:["), text.size());
    std::size_t path_end = name_end;
    while (path_end < text.size() && text[path_end] != '!' && text[path_end] != ':') {
      path_end = text[path_end] == '[' ? std::min(text.find(']', path_end), text.size()) : path_end + 1;
    }
    COPPICE_ASSIGN_OR_RETURN(Value value, path(text.substr(0, path_end)));
    text.remove_prefix(path_end);
    if (text.starts_with('!')) {
      if (text.size() < 2 || (text[1] != 's' && text[1] != 'r')) {
        return template_error("a format has a conversion other than !s and !r");
      }
      COPPICE_ASSIGN_OR_RETURN(std::string converted, text[1] == 's' ? to_text(heap_, value) : to_repr(heap_, value));
      COPPICE_ASSIGN_OR_RETURN(value, heap_.string(std::move(converted)));
      text.remove_prefix(2);
    }
    if (text.empty()) {
      return format_value(heap_, value, "");
    }
    if (!text.starts_with(':')) {
      return template_error("':' expected after the conversion of a format");
    }
    COPPICE_ASSIGN_OR_RETURN(std::string spec, run(text.substr(1), depth + 1));
    return format_value(heap_, value, spec);
  }

  Result path(std::string_view text) {
    const std::size_t name_end = std::min(text.find_first_of(".["), text.size());
    COPPICE_ASSIGN_OR_RETURN(Value value, root(text.substr(0, name_end)));
    text.remove_prefix(name_end);
    while (!text.empty()) {
      const bool index = text.front() == '[';
      const std::size_t end = index ? text.find(']') : std::min(text.find_first_of(".[", 1), text.size());
      if (end == std::string_view::npos || end < 2) {
        return template_error("a format has an incomplete field name");
      }
      const std::string_view part = text.substr(1, end - 1);
      COPPICE_ASSIGN_OR_RETURN(value, step(value, part, index));
      text.remove_prefix(index ? end + 1 : end);
    }
    return value;
  }

  Result step(const Value& value, std::string_view part, bool index) {
    if (index && digits_only(part)) {
      COPPICE_ASSIGN_OR_RETURN(std::int64_t number, bounded_number(part));
      return get_item(heap_, value, Value(number));
    }
    COPPICE_ASSIGN_OR_RETURN(Value name, heap_.string(std::string(part)));
    return index ? get_item(heap_, value, name) : get_attribute(heap_, value, name.string());
  }

  Result root(std::string_view name) {
    if (name.empty() || digits_only(name)) {
      std::int64_t index = next_index_++;
      if (!name.empty()) {
        COPPICE_ASSIGN_OR_RETURN(index, bounded_number(name));
      }
      if (mapping_ != nullptr || static_cast<std::size_t>(index) >= arguments_.positional.size()) {
        return template_error("a format asks for more arguments than it gets");
      }
      return arguments_.positional[static_cast<std::size_t>(index)];
    }
    if (mapping_ != nullptr) {
      const Value* found = mapping_->find(name);
      return found != nullptr ? Result(*found) : missing(name);
    }
    for (const auto& [keyword, value] : arguments_.keywords) {
      if (keyword->text == name) {
        return value;
      }
    }
    return missing(name);
  }

  static Result missing(std::string_view name) {
    return template_error(fmt::format("a format asks for '{}', which it does not get", name));
  }

  Heap& heap_;
  const Arguments& arguments_;
  const Dictionary* mapping_;
  std::int64_t next_index_ = 0;
};

}  // namespace

Result format_method(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(std::string text, BraceFormatter(heap, arguments, nullptr).run(self.text(), 0));
  return heap.string(std::move(text));
}

Result format_map_method(Heap& heap, const Value& self, const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.keywords.empty() || !arguments.positional[0].is_dict()) {
    return template_error("format_map() takes one dict");
  }
  const Dictionary& mapping = as_dict(arguments.positional[0]);
  COPPICE_ASSIGN_OR_RETURN(std::string text, BraceFormatter(heap, arguments, &mapping).run(self.text(), 0));
  return heap.string(std::move(text));
}

}  // namespace coppice::text
