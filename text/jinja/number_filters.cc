// Filters that make numbers, and default.
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// `text` without blanks and a plus sign, as Python's int() and float() read it. ERRORS: digits that only Python reads.
std::string_view number_text(Heap& heap, std::string_view text) {
  text = strip_right(strip_left(text));
  const bool only_python = text.find('_') != std::string_view::npos || code_point_count(text) != text.size();
  if (only_python && text.find_first_of("0123456789") != std::string_view::npos) {
    heap.fail(fmt::format("reading '{}' as a number is not supported in chat templates", text));
  }
  return text.starts_with('+') && !text.starts_with("+-") ? text.substr(1) : text;
}

std::optional<double> parse_real(std::string_view text) {
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ptr != text.data() + text.size() || text.find('(') != std::string_view::npos ||
      parsed.ec == std::errc::invalid_argument) {
    return std::nullopt;
  }
  if (parsed.ec == std::errc::result_out_of_range) {
    const double bound =
        text.find("e-") == std::string_view::npos && text.find("E-") == std::string_view::npos ? HUGE_VAL : 0.0;
    value = text.starts_with('-') ? -bound : bound;
  }
  return value;
}

Value integer_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const Value otherwise = arguments.value(0, Value(std::int64_t{0}));
  if (input.is_integral() || input.is_unsigned()) {
    return input.is_unsigned() ? input : Value(input.integer());
  }
  std::optional<double> real;
  if (input.is_string()) {
    const std::string_view text = number_text(heap, input.text());
    std::int64_t integer = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), integer);
    if (!text.empty() && parsed.ptr == text.data() + text.size()) {
      return parsed.ec == std::errc() ? Value(integer) : heap.fail_overflow();
    }
    real = parse_real(text);
    real = real && std::isinf(*real) ? std::nullopt : real;
  } else if (input.is_real()) {
    real = input.as_real();
  } else if (input.is_undefined()) {
    return heap.fail(undefined_problem(input));
  }
  if (!real || std::isnan(*real)) {
    return otherwise;
  }
  return std::fabs(*real) < 0x1p63 ? Value(static_cast<std::int64_t>(*real)) : heap.fail_overflow();
}

Value real_filter(Heap& heap, const Value& input, const Bound& arguments) {
  if (input.is_number()) {
    return Value(input.as_real());
  }
  if (input.is_undefined()) {
    return heap.fail(undefined_problem(input));
  }
  const std::optional<double> real = input.is_string() ? parse_real(number_text(heap, input.text())) : std::nullopt;
  return real ? Value(*real) : arguments.value(0, Value(0.0));
}

Value round_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::int64_t precision = arguments.integer(heap, 0, 0);
  const std::string_view method = arguments.text(heap, 1, "common");
  if (!input.is_number() || input.is_unsigned()) {
    return heap.fail_type("round needs a number", input);
  }
  if (precision < 0 || precision > 300 || (method != "common" && method != "ceil" && method != "floor")) {
    return heap.fail("this precision or method of round is not supported in chat templates");
  }
  const double value = input.as_real();
  if (method == "common") {
    if (input.is_integral()) {
      return Value(input.integer());
    }
    return std::isfinite(value) ? Value(*parse_real(fmt::format("{:.{}f}", value, precision))) : input;
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value * scale;
  return std::isfinite(scaled) ? Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale + 0.0)
                               : heap.fail("round: the number is not finite");
}

Value absolute_filter(Heap& heap, const Value& input, const Bound&) {
  if (!input.is_number() || input.is_unsigned()) {
    return heap.fail_type("abs needs a number", input);
  }
  return input.is_real() ? Value(std::fabs(input.as_real())) : signed_value(heap, input, input.integer() < 0);
}

Value default_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const bool missing = input.is_undefined() || (arguments.flag(1) && !truthy(input));
  return !missing ? input : arguments.has(0) ? arguments.at(0) : heap.string("");
}

constexpr auto kFilters = std::to_array<Builtin>({
    {"int", integer_filter, {"default"}},
    {"float", real_filter, {"default"}},
    {"round", round_filter, {"precision", "method"}},
    {"abs", absolute_filter},
    {"default", default_filter, {"default_value", "boolean"}},
    {"d", default_filter, {"default_value", "boolean"}},
});

}  // namespace

BuiltinTable number_filters() {
  return kFilters;
}

}  // namespace coppice::jinja
