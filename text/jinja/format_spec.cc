// Padding, signs, digits and grouping.
#include "text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

// Digits of `magnitude` in `base`, lower case.
std::string integer_digits(std::uint64_t magnitude, unsigned base) {
  std::string digits;
  do {
    digits += "0123456789abcdef"[magnitude % base];
    magnitude /= base;
  } while (magnitude > 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

// Separators every three (or four) digits before the point.
std::string group_digits(const std::string& digits, char separator, std::size_t size) {
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string result;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % size == 0) {
      result += separator;
    }
    result += digits[i];
  }
  return result + digits.substr(whole);
}

std::string upper_ascii(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return text;
}

// Sign, prefix and digits put together; zeros of the "=" alignment go between prefix and digits.
std::string assemble(const FormatSpec& spec, bool negative, const std::string& prefix, std::string digits,
                     std::size_t group_size) {
  if (spec.grouping != '\0') {
    digits = group_digits(digits, spec.grouping, group_size);
  }
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  if (spec.align != '=') {
    return pad(spec, sign + prefix + digits, '>');
  }
  FormatSpec inner = spec;
  inner.align = '>';
  inner.width = std::max<std::int64_t>(0, spec.width - static_cast<std::int64_t>(sign.size() + prefix.size()));
  return sign + prefix + pad(inner, std::move(digits), '>');
}

absl::StatusOr<std::string> format_integer(const FormatSpec& spec, const Value& value) {
  const bool negative = !value.is_unsigned() && value.integer() < 0;
  const std::uint64_t magnitude = value.is_unsigned() ? value.unsigned_integer()
                                  : negative          ? 0 - static_cast<std::uint64_t>(value.integer())
                                                      : static_cast<std::uint64_t>(value.integer());
  switch (spec.type) {
    case 'b':
      return assemble(spec, negative, spec.alternate ? "0b" : "", integer_digits(magnitude, 2), 4);
    case 'o':
      return assemble(spec, negative, spec.alternate ? "0o" : "", integer_digits(magnitude, 8), 4);
    case 'x':
      return assemble(spec, negative, spec.alternate ? "0x" : "", integer_digits(magnitude, 16), 4);
    case 'X':
      return assemble(spec, negative, spec.alternate ? "0X" : "", upper_ascii(integer_digits(magnitude, 16)), 4);
    default:
      break;
  }
  std::string digits = integer_digits(magnitude, 10);
  if (spec.precision && static_cast<std::size_t>(*spec.precision) > digits.size()) {  // "%.3d"
    digits.insert(0, static_cast<std::size_t>(*spec.precision) - digits.size(), '0');
  }
  return assemble(spec, negative, "", std::move(digits), 3);
}

// printf's digits of a number that is not negative.
std::string real_digits(double magnitude, char type, int precision, bool alternate) {
  std::string format = alternate ? "%#.*" : "%.*";
  format += type;
  std::string digits(static_cast<std::size_t>(precision) + 400, '\0');
  const int size = std::snprintf(digits.data(), digits.size(), format.c_str(), precision, magnitude);
  digits.resize(std::min(static_cast<std::size_t>(std::max(size, 0)), digits.size()));
  return digits;
}

// A format without a type but with a precision: as "g", but always with a point or an exponent, which comes one digit
// earlier (CPython's Py_DTSF_ADD_DOT_0).
std::string plain_digits(double magnitude, int precision, bool alternate) {
  precision = std::max(precision, 1);
  const std::string scientific = real_digits(magnitude, 'e', precision - 1, alternate);
  const std::size_t mark = scientific.find('e');
  const int exponent = std::atoi(scientific.c_str() + mark + 1);
  if (exponent < precision - 1) {
    const std::string digits = real_digits(magnitude, 'g', precision, alternate);
    const bool whole = digits.find_first_of(".e") == std::string::npos;
    return whole ? digits + ".0" : digits;
  }
  std::string mantissa = scientific.substr(0, mark);
  if (!alternate && mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    mantissa.erase(mantissa.find_last_not_of('.') + 1);
  }
  return mantissa + scientific.substr(mark);
}

absl::StatusOr<std::string> format_real(const FormatSpec& spec, double value) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  double magnitude = std::fabs(value);
  const char lower = static_cast<char>(spec.type | 0x20);
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  std::string digits;
  if (!std::isfinite(magnitude)) {
    digits = std::isnan(magnitude) ? "nan" : "inf";
  } else if (spec.type == '\0' && !spec.precision) {
    digits = real_to_text(magnitude);
  } else if (spec.type == '%') {
    magnitude *= 100.0;
    digits = real_digits(magnitude, 'f', static_cast<int>(spec.precision.value_or(6)), spec.alternate);
  } else if (spec.type == '\0') {
    digits = plain_digits(magnitude, static_cast<int>(*spec.precision), spec.alternate);
  } else {
    digits = real_digits(magnitude, lower == 'n' ? 'g' : lower, static_cast<int>(spec.precision.value_or(6)),
                         spec.alternate);
  }
  if (spec.type == '%') {
    digits += '%';
  }
  return assemble(spec, negative, "", upper ? upper_ascii(digits) : digits, 3);
}

}  // namespace

std::string pad(const FormatSpec& spec, std::string text, char default_align) {
  const auto length = static_cast<std::int64_t>(code_point_count(text));
  if (spec.width <= length) {
    return text;
  }
  const std::int64_t missing = spec.width - length;
  const char align = spec.align == '\0' ? default_align : spec.align;
  const std::int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string result;
  for (std::int64_t i = 0; i < left; ++i) {
    result += spec.fill;
  }
  result += text;
  for (std::int64_t i = left; i < missing; ++i) {
    result += spec.fill;
  }
  return result;
}

std::string format_text(const FormatSpec& spec, const std::string& text, char default_align) {
  if (!spec.precision) {
    return pad(spec, text, default_align);
  }
  return pad(spec, text.substr(0, byte_offset(text, static_cast<std::size_t>(*spec.precision))), default_align);
}

absl::StatusOr<std::string> format_number(const FormatSpec& spec, const Value& value) {
  const bool real_type = std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos && spec.type != '\0';
  if (value.is_real() || real_type) {
    if (!real_type && spec.type != '\0' && spec.type != 'n') {
      return template_error(fmt::format("the format '{}' does not fit a float", spec.type));
    }
    return format_real(spec, value.as_real());
  }
  if (spec.type == 'c') {
    if (value.is_unsigned() || value.integer() < 0 || value.integer() > 0x10FFFF ||
        (value.integer() >= 0xD800 && value.integer() < 0xE000)) {
      return template_error("a number that is no character is formatted with 'c'");
    }
    std::string character;
    append_code_point(&character, static_cast<std::uint32_t>(value.integer()));
    return pad(spec, std::move(character), '<');
  }
  if (spec.type != '\0' && std::string_view("dboxXn").find(spec.type) == std::string_view::npos) {
    return template_error(fmt::format("the format '{}' does not fit an int", spec.type));
  }
  return format_integer(spec, value);
}

}  // namespace coppice::text
