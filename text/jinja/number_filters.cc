// Filters that make numbers, and default.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

constexpr double kInt64Bound = 9223372036854775808.0;

absl::Status overflow() {
  return absl::ResourceExhaustedError("an integer leaves the 64-bit range");
}

// Without single underscores between digits, which Python allows; nothing when they stand elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      result += text[i];
      continue;
    }
    const auto alphanumeric = [&](std::size_t k) {
      return k < text.size() && std::isalnum(static_cast<unsigned char>(text[k])) != 0;
    };
    if (i == 0 || !alphanumeric(i - 1) || !alphanumeric(i + 1)) {
      return std::nullopt;
    }
  }
  return result;
}

// Python's int(text, base); nothing when the text is no such number.
absl::StatusOr<std::optional<std::int64_t>> parse_integer(std::string_view text, std::int64_t base) {
  auto digits = without_underscores(strip_right(strip_left(text)));
  if (!digits || base < 0 || base == 1 || base > 36) {
    return std::nullopt;
  }
  std::string_view rest = *digits;
  const bool negative = rest.starts_with('-');
  rest.remove_prefix(negative || rest.starts_with('+') ? 1 : 0);
  if (rest.size() > 2 && rest[0] == '0') {
    const char mark = static_cast<char>(rest[1] | 0x20);
    const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == 0 || base == marked)) {
      base = marked;
      rest.remove_prefix(2);
    }
  }
  const std::string number = (negative ? "-" : "") + std::string(rest);
  std::int64_t value = 0;
  const auto parsed =
      std::from_chars(number.data(), number.data() + number.size(), value, base == 0 ? 10 : static_cast<int>(base));
  if (rest.empty() || rest.front() == '-' || parsed.ptr != number.data() + number.size()) {
    return std::nullopt;
  }
  if (parsed.ec == std::errc::result_out_of_range) {
    return overflow();
  }
  return value;
}

// Python's float(text).
std::optional<double> parse_real(std::string_view text) {
  auto digits = without_underscores(strip_right(strip_left(text)));
  if (!digits || digits->empty() || digits->find('(') != std::string::npos) {
    return std::nullopt;
  }
  std::string_view rest = *digits;
  const bool negative = rest.front() == '-';
  rest.remove_prefix(negative || rest.front() == '+' ? 1 : 0);
  double value = 0;
  const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (rest.empty() || rest.front() == '-' || parsed.ptr != rest.data() + rest.size()) {
    return std::nullopt;
  }
  if (parsed.ec == std::errc::result_out_of_range) {
    value = rest.find("e-") == std::string_view::npos && rest.find("E-") == std::string_view::npos ? HUGE_VAL : 0.0;
  } else if (parsed.ec != std::errc()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

Result integer_filter(Heap&, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("int", arguments, {"default", "base"}));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t base, bound.integer(1, 10));
  const Value otherwise = bound.has(0) ? bound.at(0) : Value(std::int64_t{0});
  if (input.is_integral()) {
    return Value(input.integer());
  }
  if (input.is_unsigned()) {
    return input;
  }
  if (input.is_undefined()) {
    return undefined_error(input);
  }
  std::optional<double> real;
  if (input.is_real()) {
    real = input.real();
  } else if (input.is_string()) {
    COPPICE_ASSIGN_OR_RETURN(std::optional<std::int64_t> integer, parse_integer(input.text(), base));
    if (integer) {
      return Value(*integer);
    }
    real = parse_real(input.text());
  }
  if (!real || std::isnan(*real) || (input.is_string() && std::isinf(*real))) {
    return otherwise;
  }
  if (std::isinf(*real)) {
    return template_error("int of an infinite number");
  }
  if (*real >= kInt64Bound || *real < -kInt64Bound) {
    return overflow();
  }
  return Value(static_cast<std::int64_t>(*real));
}

Result real_filter(Heap&, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("float", arguments, {"default"}));
  if (input.is_number()) {
    return Value(input.as_real());
  }
  if (input.is_undefined()) {
    return undefined_error(input);
  }
  const std::optional<double> real = input.is_string() ? parse_real(input.text()) : std::nullopt;
  if (real) {
    return Value(*real);
  }
  return bound.has(0) ? bound.at(0) : Value(0.0);
}

// Python's round(value, digits): the nearest decimal, ties to even.
double round_real(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) {
    return value;
  }
  if (digits >= 0) {
    const std::string text = fmt::format("{:.{}f}", value, digits);
    double rounded = 0;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return rounded;
  }
  if (digits < -308) {
    return std::copysign(0.0, value);
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Result round_integer(std::int64_t value, std::int64_t digits) {
  if (digits >= 0) {
    return Value(value);
  }
  if (digits < -18) {
    return Value(std::int64_t{0});
  }
  std::int64_t scale = 1;
  for (std::int64_t i = digits; i < 0; ++i) {
    scale *= 10;
  }
  std::int64_t quotient = value / scale;
  const std::int64_t rest = std::abs(value % scale);
  if (rest > scale / 2 || (rest == scale / 2 && quotient % 2 != 0)) {
    quotient += value < 0 ? -1 : 1;
  }
  std::int64_t result = 0;
  return __builtin_mul_overflow(quotient, scale, &result) ? Result(overflow()) : Result(Value(result));
}

Result round_filter(Heap&, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("round", arguments, {"precision", "method"}));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t precision, bound.integer(0, 0));
  COPPICE_ASSIGN_OR_RETURN(std::string_view method, bound.text(1, "common"));
  if (!input.is_number() || input.is_unsigned()) {
    return input.is_undefined() ? undefined_error(input)
                                : template_error(fmt::format("round needs a number, not '{}'", type_name(input)));
  }
  if (method == "common") {
    return input.is_real() ? Result(Value(round_real(input.real(), precision)))
                           : round_integer(input.integer(), precision);
  }
  if (method != "ceil" && method != "floor") {
    return template_error("round: the method must be common, ceil or floor");
  }
  if (precision > 300 || precision < -300) {
    return template_error("round: the precision is out of range");
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.as_real() * scale;
  if (!std::isfinite(scaled)) {
    return template_error("round: the number is not finite");
  }
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale + 0.0);
}

Result absolute_filter(Heap&, const Value& input, const Arguments&) {
  if (input.is_integral()) {
    return input.integer() < 0 ? unary_minus(input) : Result(Value(input.integer()));
  }
  if (input.is_real()) {
    return Value(std::fabs(input.real()));
  }
  return template_error(fmt::format("abs needs a number, not '{}'", type_name(input)));
}

Result default_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("default", arguments, {"default_value", "boolean"}));
  if (!input.is_undefined() && (!bound.flag(1, false) || truthy(input))) {
    return input;
  }
  return bound.has(0) ? Result(bound.at(0)) : heap.string("");
}

constexpr auto kFilters = std::to_array<FilterName>({
    {"int", integer_filter},
    {"float", real_filter},
    {"round", round_filter},
    {"abs", absolute_filter},
    {"default", default_filter},
    {"d", default_filter},
});

}  // namespace

std::span<const FilterName> number_filters() {
  return kFilters;
}

}  // namespace coppice::text
