// Conversions of the % operator.
#include "text/jinja/printf_format.h"

#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

class PrintfFormatter {
 public:
  PrintfFormatter(Heap& heap, std::string_view format, const Value& values)
      : heap_(heap), format_(format), values_(values) {}

  Result run() {
    while (position_ < format_.size()) {
      const std::size_t percent = std::min(format_.find('%', position_), format_.size());
      result_ += format_.substr(position_, percent - position_);
      position_ = percent + 1;
      if (percent < format_.size()) {
        COPPICE_RETURN_IF_ERROR(convert());
        COPPICE_RETURN_IF_ERROR(heap_.budget().charge(1));
      }
    }
    const bool single_left =
        !values_.is_tuple() && used_ == 0 && !values_.is_dict() && !values_.is_list() && !values_.is_undefined();
    if (single_left || (values_.is_tuple() && used_ < as_sequence(values_).items.size())) {
      return template_error("not all arguments of % are used by the format");
    }
    return heap_.string(std::move(result_));
  }

 private:
  char peek() const { return position_ < format_.size() ? format_[position_] : '\0'; }

  absl::StatusOr<Value> next_value() {
    if (mapped_) {
      Value value = *mapped_;
      return value;
    }
    if (values_.is_tuple()) {
      const auto& items = as_sequence(values_).items;
      if (used_ >= items.size()) {
        return template_error("not enough arguments for the format of %");
      }
      return items[used_++];
    }
    if (used_++ > 0) {
      return template_error("not enough arguments for the format of %");
    }
    return values_;
  }

  // %(name)s: the value comes from a dict.
  absl::Status key() {
    mapped_.reset();
    if (peek() != '(') {
      return absl::OkStatus();
    }
    const std::size_t end = format_.find(')', position_);
    if (end == std::string_view::npos || !values_.is_dict()) {
      return template_error("a %(name) format needs a name and a dict");
    }
    const std::string_view name = format_.substr(position_ + 1, end - position_ - 1);
    const Value* value = as_dict(values_).find(name);
    if (value == nullptr) {
      return template_error(fmt::format("the dict of % has no key '{}'", name));
    }
    mapped_ = *value;
    position_ = end + 1;
    return absl::OkStatus();
  }

  void flags(FormatSpec* spec, bool* zero) {
    for (;; ++position_) {
      switch (peek()) {
        case '-':
          spec->align = '<';
          break;
        case '+':
          spec->sign = '+';
          break;
        case ' ':
          spec->sign = spec->sign == '+' ? '+' : ' ';
          break;
        case '#':
          spec->alternate = true;
          break;
        case '0':
          *zero = true;
          break;
        default:
          return;
      }
    }
  }

  // A number in the format, or the next value for "*".
  absl::StatusOr<std::int64_t> size() {
    std::int64_t number = 0;
    if (peek() == '*') {
      ++position_;
      COPPICE_ASSIGN_OR_RETURN(Value value, next_value());
      if (!value.is_integral()) {
        return template_error("* in a format needs an int");
      }
      number = value.integer();
    }
    for (; peek() >= '0' && peek() <= '9' && number <= FormatSpec::kSizeMax; ++position_) {
      number = number * 10 + (peek() - '0');
    }
    if (number > FormatSpec::kSizeMax || number < -FormatSpec::kSizeMax) {
      return absl::ResourceExhaustedError("a width or precision in a format is too large");
    }
    return number;
  }

  absl::Status convert() {
    FormatSpec spec;
    bool zero = false;
    COPPICE_RETURN_IF_ERROR(key());
    flags(&spec, &zero);
    COPPICE_ASSIGN_OR_RETURN(spec.width, size());
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (peek() == '.') {
      ++position_;
      COPPICE_ASSIGN_OR_RETURN(std::int64_t precision, size());
      spec.precision = std::max<std::int64_t>(precision, 0);
    }
    if (peek() == 'h' || peek() == 'l' || peek() == 'L') {
      ++position_;
    }
    if (position_ >= format_.size()) {
      return template_error("incomplete format");
    }
    if (sequence_length(peek()) > 1) {
      return template_error("unsupported format character");
    }
    const char type = format_[position_++];
    if (type == '%') {
      result_ += '%';
      return absl::OkStatus();
    }
    COPPICE_ASSIGN_OR_RETURN(Value value, next_value());
    if (zero && spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    }
    COPPICE_ASSIGN_OR_RETURN(std::string text, convert_value(spec, type, value));
    result_ += text;
    return heap_.budget().charge_text(text.size());
  }

  absl::StatusOr<std::string> convert_value(FormatSpec spec, char type, const Value& value) {
    if (type == 's' || type == 'r' || type == 'a') {
      COPPICE_ASSIGN_OR_RETURN(std::string text, type == 's' ? to_text(heap_, value) : to_repr(heap_, value));
      spec.fill = " ";
      spec.align = spec.align == '=' ? '>' : spec.align;
      return format_text(spec, text, '>');
    }
    if (type == 'c' && value.is_string() && value.string()->length == 1) {
      spec.fill = " ";
      spec.align = spec.align == '=' ? '>' : spec.align;
      spec.precision.reset();
      return format_text(spec, value.text(), '>');
    }
    if (std::string_view("diuxXoeEfFgGc").find(type) == std::string_view::npos) {
      return template_error(fmt::format("unsupported format character '{}'", type));
    }
    const bool decimal = type == 'd' || type == 'i' || type == 'u';
    if (!value.is_number() || (value.is_real() && std::string_view("xXoc").find(type) != std::string_view::npos)) {
      return value.is_undefined() ? undefined_error(value)
                                  : template_error(fmt::format("%{} does not fit a '{}'", type, type_name(value)));
    }
    spec.type = decimal ? 'd' : type;
    if (type == 'c') {
      spec.align = spec.align == '\0' ? '>' : spec.align;
    }
    if (decimal && value.is_real()) {
      if (!(std::fabs(value.real()) < 9.2e18)) {
        return template_error("%d of a float that is no 64-bit integer");
      }
      return format_number(spec, Value(static_cast<std::int64_t>(value.real())));
    }
    return format_number(spec, value);
  }

  Heap& heap_;
  const std::string_view format_;
  const Value& values_;
  std::string result_;
  std::size_t position_ = 0;
  std::size_t used_ = 0;
  std::optional<Value> mapped_;
};

}  // namespace

Result format_printf(Heap& heap, const Value& format, const Value& values) {
  return PrintfFormatter(heap, format.text(), values).run();
}

}  // namespace coppice::text
