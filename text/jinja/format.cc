// "text %5.2f" % value and "text {:5.2f}".format(value): the plain conversions, done by fmt, whose rules for numbers
// are Python's. What fmt would write differently, or chat templates do not use, is refused.
#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// One conversion: flags, width, precision and type.
struct Spec {
  char align = '\0';  // < > ^, or none
  char sign = '\0';   // + or a blank, or none
  bool zeros = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;  // none
};

std::string refuse(Heap& heap, std::string_view format, const Value& value) {
  heap.fail(value.is_undefined() ? undefined_problem(value)
                                 : fmt::format("the format '{}' of a '{}' is not supported in chat templates", format,
                                               type_name(value)));
  return "";
}

// A number at the start of `text`, which is taken; 0 when there is none.
std::int64_t take_number(Heap& heap, std::string_view* text) {
  const std::string_view digits = text->substr(0, text->find_first_not_of("0123456789"));
  std::int64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  text->remove_prefix(digits.size());
  if (parsed.ec == std::errc::result_out_of_range || number > kWidthMax) {
    heap.budget().fail_exhausted("a width or precision in a format is too large");
    return 0;
  }
  return number;
}

// Flags, width and precision at the start of `text`, which are taken.
Spec take_spec(Heap& heap, std::string_view* text, std::string_view flags) {
  Spec spec;
  for (; !text->empty() && flags.find(text->front()) != std::string_view::npos; text->remove_prefix(1)) {
    const char flag = text->front();
    spec.zeros |= flag == '0';
    spec.sign = flag == '+' || (flag == ' ' && spec.sign != '+') ? flag : spec.sign;
    spec.align = flag == '-' ? '<' : flag == '<' || flag == '>' || flag == '^' ? flag : spec.align;
  }
  spec.width = take_number(heap, text);
  if (text->starts_with('.')) {
    text->remove_prefix(1);
    spec.precision = take_number(heap, text);
  }
  return spec;
}

std::string format_number(Heap& heap, const Spec& spec, char type, const Value& value) {
  const bool as_real = std::string_view("eEfFgG").find(type) != std::string_view::npos;
  const bool as_integer = std::string_view("dxXo").find(type) != std::string_view::npos;
  if (!value.is_number() || value.is_unsigned() || !std::isfinite(value.as_real()) ||
      !(as_real || (as_integer && value.is_integral() && spec.precision < 0))) {
    return refuse(heap, std::string_view(&type, 1), value);
  }
  std::string pattern = "{:";
  const auto add = [&pattern](bool wanted, const auto& part) { pattern += wanted ? fmt::format("{}", part) : ""; };
  add(spec.align != '\0', spec.align);
  add(spec.sign != '\0', spec.sign);
  add(spec.zeros, '0');
  add(spec.width > 0, spec.width);
  add(spec.precision >= 0, fmt::format(".{}", spec.precision));
  add(true, type);
  pattern += '}';
  return as_real ? fmt::format(fmt::runtime(pattern), value.as_real())
                 : fmt::format(fmt::runtime(pattern), value.integer());
}

std::string format_text(Heap& heap, const Spec& spec, std::string_view text, char default_align) {
  text = spec.precision < 0 ? text : text.substr(0, byte_offset(text, static_cast<std::size_t>(spec.precision)));
  const std::int64_t missing =
      std::max<std::int64_t>(spec.width - static_cast<std::int64_t>(code_point_count(text)), 0);
  const char align = spec.align == '\0' ? default_align : spec.align;
  const std::int64_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const Value result = padded(heap, heap.string(std::string(text)), before, missing - before);
  return result.is_string() ? result.text() : "";
}

// The values of the % operator, taken one after the other or by name.
class PercentValues {
 public:
  PercentValues(Heap& heap, const Value& values)
      : heap_(heap), values_(values), is_tuple_(values.is(ObjectKind::kTuple)) {}

  // The value of the conversion at the start of `rest`; a "(name)" there is taken.
  Value next(std::string_view* rest) {
    if (rest->starts_with('(')) {
      const std::size_t end = rest->find(')');
      const std::string_view name = rest->substr(1, end - 1);
      const Value* const value = values_.is_dict() ? as_dict(values_).find(name) : nullptr;
      if (value == nullptr || end == std::string_view::npos) {
        return heap_.fail(fmt::format("% has no dict with the key '{}'", name));
      }
      rest->remove_prefix(end + 1);
      return *value;
    }
    if (used_ >= (is_tuple_ ? items_of(values_).size() : 1)) {
      return heap_.fail("not enough arguments for the format of %");
    }
    ++used_;
    return is_tuple_ ? items_of(values_)[used_ - 1] : values_;
  }

  void check_all_used() {
    const bool may_be_unused = values_.is_dict() || values_.is(ObjectKind::kList) || values_.is_undefined();
    if (is_tuple_ ? used_ < items_of(values_).size() : used_ == 0 && !may_be_unused) {
      heap_.fail("not all arguments of % are used by the format");
    }
  }

 private:
  Heap& heap_;
  const Value& values_;
  const bool is_tuple_;
  std::size_t used_ = 0;
};

// The conversion at the start of `rest` (after its "%"), which is taken.
std::string convert(Heap& heap, std::string_view* rest, PercentValues* values) {
  if (rest->starts_with('%')) {
    rest->remove_prefix(1);
    return "%";
  }
  Value value = values->next(rest);
  const Spec spec = take_spec(heap, rest, "-+ 0");
  if (rest->empty() || sequence_length(rest->front()) > 1) {
    heap.fail(rest->empty() ? "incomplete format" : "unsupported format character");
    return "";
  }
  const char type = rest->front() == 'i' ? 'd' : rest->front();
  rest->remove_prefix(1);
  if (type == 's' || type == 'r') {
    return format_text(heap, spec, type == 's' ? to_text(heap, value) : to_repr(heap, value), '>');
  }
  if (type == 'd' && value.is_real() && std::fabs(value.as_real()) < 0x1p63) {
    value = Value(static_cast<std::int64_t>(value.as_real()));
  }
  return format_number(heap, spec, type, value);
}

// The value of a field: the next argument, argument number n, or the one of that name.
Value field_value(Heap& heap, const Arguments& arguments, std::string_view name, std::size_t* next) {
  const auto keyword = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                    [name](const auto& argument) { return argument.first->text == name; });
  if (keyword != arguments.keywords.end()) {
    return keyword->second;
  }
  std::size_t index = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), index);
  const bool is_index = name.empty() || (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size());
  index = name.empty() ? (*next)++ : index;
  return is_index && index < arguments.positional.size()
             ? arguments.positional[index]
             : heap.fail(fmt::format("format() has no argument for the field '{}'", name));
}

// name[:spec]
std::string format_field(Heap& heap, std::string_view field, const Arguments& arguments, std::size_t* next) {
  const std::size_t name_end = std::min(field.find_first_of("!:"), field.size());
  const Value value = field_value(heap, arguments, field.substr(0, name_end), next);
  if (name_end + 1 >= field.size()) {
    return name_end == field.size() || field.back() == ':' ? to_text(heap, value) : refuse(heap, field, value);
  }
  std::string_view rest = field.substr(name_end + 1);
  const bool aligned = rest[0] == '<' || rest[0] == '>' || rest[0] == '^';
  const Spec spec = take_spec(heap, &rest, aligned ? "<>^+ 0" : "+ 0");
  const char type = !rest.empty() ? rest.front() : value.is_integral() ? 'd' : 's';
  const bool plain_text = value.is_string() && spec.sign == '\0' && !spec.zeros;
  if (field[name_end] == '!' || rest.size() > 1 || (type == 's' && !plain_text)) {
    return refuse(heap, field.substr(name_end), value);
  }
  return type == 's' ? format_text(heap, spec, value.text(), '<') : format_number(heap, spec, type, value);
}

}  // namespace

Value format_percent(Heap& heap, const Value& format, const Value& values) {
  std::string result;
  std::string_view rest = format.text();
  PercentValues remaining(heap, values);
  for (std::size_t percent = rest.find('%'); percent != std::string_view::npos; percent = rest.find('%')) {
    result += rest.substr(0, percent);
    rest.remove_prefix(percent + 1);
    result += convert(heap, &rest, &remaining);
    if (!heap.budget().charge(1)) {
      return Value();
    }
  }
  remaining.check_all_used();
  return heap.string(result + std::string(rest));
}

Value format_braces(Heap& heap, const Value& self, const Bound& arguments) {
  std::string result;
  std::size_t next = 0;
  const std::string& format = self.text();
  for (std::size_t i = 0; i < format.size() && !heap.budget().failed(); ++i) {
    const char c = format[i];
    const bool doubled = i + 1 < format.size() && format[i + 1] == c;
    if ((c != '{' && c != '}') || doubled) {
      result += c;
      i += c == '{' || c == '}' ? 1 : 0;
      continue;
    }
    const std::size_t end = format.find_first_of("{}", i + 1);
    if (c == '}' || end == std::string::npos || format[end] == '{') {
      return heap.fail("a format has a single '{' or '}', or a field within a field");
    }
    result += format_field(heap, std::string_view(format).substr(i + 1, end - i - 1), arguments.arguments(), &next);
    i = heap.budget().charge(1) ? end : format.size();
  }
  return heap.string(std::move(result));
}

Value padded(Heap& heap, const Value& text, std::int64_t before, std::int64_t after) {
  if (before > kWidthMax || after > kWidthMax) {
    heap.budget().fail_exhausted("a string is padded too much");
  }
  if (heap.budget().failed()) {
    return Value();
  }
  const auto blanks = [](std::int64_t count) {
    return std::string(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)), ' ');
  };
  return heap.string(blanks(before) + text.text() + blanks(after), text.string()->markup);
}

std::string indentation(Heap& heap, const Bound& arguments, std::size_t i) {
  if (arguments.has(i) && arguments.at(i).is_string()) {
    return arguments.at(i).text();
  }
  const std::int64_t width = arguments.integer(heap, i, 4);
  if (width > kWidthMax) {
    heap.budget().fail_exhausted("an indentation is too wide");
  }
  return std::string(width > 0 && width <= kWidthMax ? static_cast<std::size_t>(width) : 0, ' ');
}

}  // namespace coppice::jinja
