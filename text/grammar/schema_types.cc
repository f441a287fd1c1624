// What the walk makes of strings, numbers and arrays.
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema_walk.h"

namespace coppice::text {
namespace {

constexpr double kExactMax = 9007199254740992.0;  // 2^53: integers up to it are exact as doubles

// A date that exists, RFC 3339; the year 0 is left out because many readers refuse it.
#define COPPICE_YEAR "(000[1-9]|00[1-9]\\d|0[1-9]\\d\\d|[1-9]\\d{3})"
#define COPPICE_LEAP_YEAR "(\\d\\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
#define COPPICE_DATE                                                                                     \
  "((" COPPICE_YEAR                                                                                      \
  "-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8])))|" \
  "(" COPPICE_LEAP_YEAR "-02-29))"
// Without leap seconds, which few readers take.
#define COPPICE_TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define COPPICE_BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
// At most 5 labels of 16 characters: a name may have more, but each costs a state with its own mask.
#define COPPICE_LABEL "[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?"
#define COPPICE_HOSTNAME COPPICE_LABEL "(\\." COPPICE_LABEL "){0,4}"
#define COPPICE_ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,16}"
#define COPPICE_HEX4 "[0-9a-fA-F]{1,4}"

struct Format {
  std::string_view name;
  const char* expression;
};

// Each matches only what the format's own standard allows, and not all of it.
constexpr std::array<Format, 9> kFormats = {{
    {"date", COPPICE_DATE},
    {"time", COPPICE_TIME},
    {"date-time", COPPICE_DATE "T" COPPICE_TIME},
    {"duration",
     "P((\\d+D|\\d+M(\\d+D)?|\\d+Y(\\d+M(\\d+D)?)?)(T(\\d+S|\\d+M(\\d+S)?|\\d+H(\\d+M(\\d+S)?)?))?|"
     "T(\\d+S|\\d+M(\\d+S)?|\\d+H(\\d+M(\\d+S)?)?)|\\d+W)"},
    {"ipv4", "(" COPPICE_BYTE "\\.){3}" COPPICE_BYTE},
    {"ipv6", "((" COPPICE_HEX4 ":){7}" COPPICE_HEX4 "|(" COPPICE_HEX4 ":){1,7}:|(" COPPICE_HEX4 ":){1,6}:" COPPICE_HEX4
             "|(" COPPICE_HEX4 ":){1,5}(:" COPPICE_HEX4 "){1,2}|(" COPPICE_HEX4 ":){1,4}(:" COPPICE_HEX4
             "){1,3}|(" COPPICE_HEX4 ":){1,3}(:" COPPICE_HEX4 "){1,4}|(" COPPICE_HEX4 ":){1,2}(:" COPPICE_HEX4
             "){1,5}|" COPPICE_HEX4 ":(:" COPPICE_HEX4 "){1,6}|:((:" COPPICE_HEX4 "){1,7}|:))"},
    {"hostname", COPPICE_HOSTNAME},
    {"email", COPPICE_ATOM "(\\." COPPICE_ATOM ")?@" COPPICE_HOSTNAME},
    {"uuid", "[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"},
}};

std::optional<double> number_of(const SchemaJson& in, const char* keyword) {
  return in.contains(keyword) && in[keyword].is_number() ? std::optional<double>(in[keyword].get<double>())
                                                         : std::nullopt;
}

absl::Status check_numbers(const SchemaJson& in, const SchemaPlace& place) {
  for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    if (in.contains(keyword) && !in[keyword].is_number()) {
      return schema_error(place, std::string("`") + keyword + "` must be a number");
    }
  }
  if (number_of(in, "multipleOf").value_or(1) <= 0) {
    return schema_error(place, "`multipleOf` must be more than 0");
  }
  return absl::OkStatus();
}

}  // namespace

const char* format_expression(std::string_view format) {
  for (const Format& row : kFormats) {
    if (row.name == format) {
      return row.expression;
    }
  }
  return nullptr;
}

absl::StatusOr<std::int64_t> SchemaWalk::count(const SchemaJson& in, const char* keyword, const SchemaPlace& place) {
  if (!in.contains(keyword)) {
    return -1;
  }
  const SchemaJson& value = in[keyword];
  if (!is_of_type(value, "integer") || value.get<double>() < 0) {
    return schema_error(place, std::string("`") + keyword + "` must be a whole number from 0 on");
  }
  if (value.get<double>() > static_cast<double>(limits_.repeat_max)) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) + ": `" + keyword + "` is more than " +
                                 std::to_string(limits_.repeat_max));
  }
  return static_cast<std::int64_t>(value.get<double>());
}

absl::Status SchemaWalk::check_expressions(const SchemaPlace& place) const {
  if (expression_size_ > limits_.expression_size_max) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) +
                                 ": patterns, formats and names beside additional properties are longer than " +
                                 std::to_string(limits_.expression_size_max) + " together");
  }
  return absl::OkStatus();
}

// Returns OutOfRange with the place for what passes a limit; other errors say what cannot be enforced.
absl::StatusOr<std::string> SchemaWalk::expression(const std::string& pattern, ExpressionMatch match,
                                                   const SchemaPlace& place, const char* keyword) {
  std::int64_t size = 0;
  absl::StatusOr<std::string> written = enforceable_expression(pattern, ExpressionUse::kJsonString, match, &size);
  if (absl::IsOutOfRange(written.status())) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) + ": `" + keyword +
                                 "`: " + std::string(written.status().message()));
  }
  expression_size_ += size;
  COPPICE_RETURN_IF_ERROR(check_expressions(place));
  return written;
}

absl::StatusOr<SchemaJson> SchemaWalk::string_of_pattern(const SchemaJson& in, const SchemaPlace& place) {
  if (!in["pattern"].is_string()) {
    return schema_error(place, "`pattern` must be a string");
  }
  const std::string pattern = in["pattern"].get<std::string>();
  if (const auto known = patterns_.find(pattern); known != patterns_.end()) {
    return SchemaJson{{"$ref", "#/$defs/" + known->second}};
  }
  const std::int64_t size_before = expression_size_;
  absl::StatusOr<std::string> written = expression(pattern, ExpressionMatch::kSearch, place, "pattern");
  if (absl::IsOutOfRange(written.status())) {
    return written.status();
  }
  if (!written.ok()) {
    not_enforced(place, "pattern", std::string(written.status().message()) + " is not supported");
    return SchemaJson{{"type", "string"}};
  }
  if (written->empty()) {
    return SchemaJson{{"enum", SchemaJson::array({""})}};
  }
  SchemaJson out = {{"type", "string"}, {"pattern", *std::move(written)}};
  constexpr std::int64_t kSharedSize = 50;  // takes some 40 ms to compile
  if (expression_size_ - size_before < kSharedSize) {
    return out;
  }
  // The engine compiles what is referred to once.
  const std::string name = "p" + std::to_string(patterns_.size());
  patterns_.emplace(pattern, name);
  definitions_json_[name] = std::move(out);
  return SchemaJson{{"$ref", "#/$defs/" + name}};
}

absl::StatusOr<SchemaJson> SchemaWalk::string(const SchemaJson& in, const SchemaPlace& place) {
  COPPICE_ASSIGN_OR_RETURN(std::int64_t min, count(in, "minLength", place));
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t max, count(in, "maxLength", place));
  min = std::max<std::int64_t>(min, 0);
  if (max >= 0 && min > max) {
    return schema_error(place, "`minLength` is more than `maxLength`");
  }
  const auto leave_out_lengths = [&](const char* beside) {
    for (const char* keyword : {"minLength", "maxLength"}) {
      if (in.contains(keyword) && !(keyword[1] == 'i' && min == 0)) {
        not_enforced(place, keyword, std::string("is not enforced beside `") + beside + "`");
      }
    }
  };
  const std::string format = in.contains("format") && in["format"].is_string() ? in["format"].get<std::string>() : "";
  const char* of_format = format_expression(format);
  if (in.contains("format") && of_format == nullptr) {
    not_enforced(place, "format", "the format is not one of those that are enforced");
  }
  if (of_format != nullptr) {
    leave_out_lengths("format");
    if (in.contains("pattern")) {
      not_enforced(place, "pattern", "is not enforced beside `format`");
    }
    COPPICE_ASSIGN_OR_RETURN(std::string written, expression(of_format, ExpressionMatch::kWhole, place, "format"));
    return SchemaJson{{"type", "string"}, {"pattern", std::move(written)}};
  }
  if (in.contains("pattern")) {
    leave_out_lengths("pattern");
    return string_of_pattern(in, place);
  }
  if (max == 0) {
    return SchemaJson{{"enum", SchemaJson::array({""})}};
  }
  SchemaJson out = {{"type", "string"}};
  if (min > 0) {
    out["minLength"] = min;
  }
  if (max > 0) {
    out["maxLength"] = max;
  }
  return out;
}

absl::StatusOr<SchemaJson> SchemaWalk::integer(const SchemaJson& in, const SchemaPlace& place) {
  COPPICE_RETURN_IF_ERROR(check_numbers(in, place));
  // The strictest bounds as whole numbers.
  std::optional<double> min;
  std::optional<double> max;
  const auto raise = [](std::optional<double>& bound, double value) { bound = std::max(bound.value_or(value), value); };
  const auto lower = [](std::optional<double>& bound, double value) { bound = std::min(bound.value_or(value), value); };
  if (const auto value = number_of(in, "minimum")) {
    raise(min, std::ceil(*value));
  }
  if (const auto value = number_of(in, "exclusiveMinimum")) {
    raise(min, std::floor(*value) + 1);
  }
  if (const auto value = number_of(in, "maximum")) {
    lower(max, std::floor(*value));
  }
  if (const auto value = number_of(in, "exclusiveMaximum")) {
    lower(max, std::ceil(*value) - 1);
  }
  if (min && max && *min > *max) {
    return schema_error(place, "no whole number lies between the bounds");
  }
  SchemaJson out = {{"type", "integer"}};
  for (const auto& [keyword, bound] : {std::pair("minimum", min), std::pair("maximum", max)}) {
    if (bound && std::abs(*bound) > kExactMax) {
      not_enforced(place, keyword, "the bound is beyond 2^53");
    } else if (bound) {
      out[keyword] = static_cast<std::int64_t>(*bound);
    }
  }
  constexpr double kMultipleMax = 1024;  // what the engine enforces: one state of an automaton for each remainder
  constexpr double kWidthMax = 10'000;   // and a list of the multiples in between
  const double multiple = number_of(in, "multipleOf").value_or(1);
  if (multiple != 1) {
    const bool is_bounded = min && max && *max - *min < kWidthMax;
    if (multiple == std::floor(multiple) && multiple <= kMultipleMax && (is_bounded || (!min && !max))) {
      out["multipleOf"] = static_cast<std::int64_t>(multiple);
    } else {
      not_enforced(place, "multipleOf", "only whole numbers up to 1024 without bounds, or with both and 10000 apart");
    }
  }
  return out;
}

absl::StatusOr<SchemaJson> SchemaWalk::number(const SchemaJson& in, const SchemaPlace& place) {
  COPPICE_RETURN_IF_ERROR(check_numbers(in, place));
  if (in.contains("multipleOf")) {
    if (in["multipleOf"] == 1) {
      return integer(in, place);
    }
    not_enforced(place, "multipleOf", "is not enforced for numbers that need not be whole");
  }
  SchemaJson out = {{"type", "number"}};
  for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
    const std::optional<double> bound = number_of(in, keyword);
    if (bound && std::abs(*bound) > kExactMax) {
      not_enforced(place, keyword, "the bound is beyond 2^53");
    } else if (bound) {
      out[keyword] = in[keyword];
    }
  }
  return out;
}

absl::StatusOr<SchemaJson> SchemaWalk::array(const SchemaJson& in, const SchemaPlace& place) {
  if (in.contains("uniqueItems") && in["uniqueItems"] != false) {
    not_enforced(place, "uniqueItems", "is not enforced");
  }
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t min, count(in, "minItems", place));
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t max, count(in, "maxItems", place));
  SchemaJson out = {{"type", "array"}};
  if (in.contains("prefixItems")) {
    if (!in["prefixItems"].is_array()) {
      return schema_error(place, "`prefixItems` must be a list");
    }
    SchemaJson items = SchemaJson::array();
    for (std::size_t index = 0; index < in["prefixItems"].size(); ++index) {
      const SchemaPlace item_place = place.at("prefixItems").at(index);
      COPPICE_ASSIGN_OR_RETURN(SchemaJson item, schema(in["prefixItems"][index], item_place));
      items.push_back(std::move(item));
    }
    if (!items.empty()) {
      out["prefixItems"] = std::move(items);
    }
  }
  const char* keyword = in.contains("items") ? "items" : in.contains("unevaluatedItems") ? "unevaluatedItems" : nullptr;
  out["items"] = SchemaJson::object();
  if (keyword != nullptr && in[keyword].is_array()) {
    not_enforced(place, keyword, "a list of schemas is `prefixItems` since draft 2020-12");
  } else if (keyword != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(out["items"], schema(in[keyword], place.at(keyword)));
  }
  if (min > 0) {
    out["minItems"] = min;
  }
  if (max >= 0) {
    out["maxItems"] = max;
  }
  return out;
}

}  // namespace coppice::text
