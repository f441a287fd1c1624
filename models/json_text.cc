// Bounded JSON parsing and checked field access (json_text.h).
#include "models/json_text.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/python_json.h"

namespace coppice::models {
namespace {

constexpr double kWholeMost = 9007199254740992.0;  // 2^53: below, a double holds every integer
constexpr std::size_t kExcerptBytes = 60;          // of a value in a message: the message stays one line

// Nesting depth of `text` if it were JSON: counted before parsing, so that depth never costs memory or stack.
int nesting_depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

// Listens to a parser for a name that stands twice in one object. (The parser that keeps values and calls back searches
// a whole object for discarded values whenever something in it ends, so its time grows with the square of the names.)
class NameWatch final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_array(std::size_t /*count*/) override { return true; }
  bool end_array() override { return true; }
  bool start_object(std::size_t /*count*/) override {
    names_.emplace_back();
    return true;
  }
  bool end_object() override {
    names_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (names_.back().insert(name).second) {
      return true;
    }
    duplicate_ = name;
    return false;
  }
  // The parser of values words it.
  bool parse_error(std::size_t /*at*/, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return false;
  }
  const std::optional<std::string>& duplicate() const { return duplicate_; }

 private:
  std::vector<std::set<std::string>> names_;  // of the objects that are open
  std::optional<std::string> duplicate_;
};

}  // namespace

std::string json_excerpt(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kExcerptBytes) {
    text.resize(kExcerptBytes);
    text += "…";
  }
  return text;
}

absl::StatusOr<nlohmann::json> parse_json(std::string_view text, std::string_view what, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} bytes of JSON, at most {} are read", what, text.size(), limits.bytes));
  }
  if (nesting_depth(text) > limits.depth) {
    return absl::InvalidArgumentError(
        fmt::format("{}: JSON nested deeper than the {} levels that are read", what, limits.depth));
  }
  std::string plain;
  if (limits.python_numbers != nullptr) {
    plain = base::without_python_numbers(text, *limits.python_numbers);
    text = plain;
  }
  try {
    nlohmann::json value = nlohmann::json::parse(text.begin(), text.end());
    NameWatch watch;
    if (!limits.allow_duplicate_names && !nlohmann::json::sax_parse(text.begin(), text.end(), &watch)) {
      return absl::InvalidArgumentError(fmt::format("{}: the name {} stands twice in one object", what,
                                                    json_excerpt(nlohmann::json(watch.duplicate().value_or("")))));
    }
    return value;
  } catch (const nlohmann::json::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}: not JSON: byte {}", what, error.byte));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(fmt::format("{}: not readable as JSON: error {}", what, error.id));
  }
}

const nlohmann::json* JsonFields::find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() ? nullptr : &*found;
}

bool JsonFields::has(const char* name) const {
  const nlohmann::json* value = find(name);
  return value != nullptr && !value->is_null();
}

bool JsonFields::is_null(const char* name) const {
  const nlohmann::json* value = find(name);
  return value != nullptr && value->is_null();
}

std::int64_t JsonFields::integer(const char* name, std::int64_t fallback, std::int64_t least, std::int64_t most) {
  if (!has(name)) {
    return fallback;
  }
  const nlohmann::json& value = *find(name);
  bool good = value.is_number_integer();
  if (value.is_number_unsigned()) {
    good = most >= 0 && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
  } else if (value.is_number_float()) {  // 512.0
    const auto number = value.get<double>();
    good = std::abs(number) <= kWholeMost && std::trunc(number) == number;
  }
  if (good && value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most) {
    return value.get<std::int64_t>();
  }
  complain(fmt::format("{} must be an integer from {} to {}, got {}", name, least, most, json_excerpt(value)));
  return fallback;
}

double JsonFields::number(const char* name, double fallback, double least, double most) {
  if (!has(name)) {
    return fallback;
  }
  const nlohmann::json& value = *find(name);
  if (value.is_number()) {
    const auto number = value.get<double>();
    if (std::isfinite(number) && number >= least && number <= most) {
      return number;
    }
  }
  complain(fmt::format("{} must be a number from {} to {}, got {}", name, least, most, json_excerpt(value)));
  return fallback;
}

bool JsonFields::boolean(const char* name, bool fallback) {
  if (!has(name)) {
    return fallback;
  }
  const nlohmann::json& value = *find(name);
  if (value.is_boolean()) {
    return value.get<bool>();
  }
  complain(fmt::format("{} must be true or false, got {}", name, json_excerpt(value)));
  return fallback;
}

std::string JsonFields::text(const char* name, const std::string& fallback) {
  if (!has(name)) {
    return fallback;
  }
  const nlohmann::json& value = *find(name);
  if (value.is_string()) {
    return value.get<std::string>();
  }
  complain(fmt::format("{} must be a string, got {}", name, json_excerpt(value)));
  return fallback;
}

void JsonFields::complain(const std::string& problem) {
  fail(absl::InvalidArgumentError(fmt::format("{}: {}", where_, problem)));
}

void JsonFields::fail(absl::Status status) {
  if (status_.ok()) {
    status_ = std::move(status);
  }
}

}  // namespace coppice::models
