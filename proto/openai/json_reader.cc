// A SAX handler that builds the tree itself, so that every bound holds while parsing and not after; nlohmann's own
// builder looks for each key among all earlier ones, which a hostile body makes quadratic.
#include "proto/openai/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace coppice::openai {
namespace {

// Objects with more keys than this look for duplicates by hash.
constexpr std::size_t kLinearKeysMax = 16;

// Memory of a tree's parts, in bytes, with what the allocator adds: a value in its container, which has room for up to
// twice as many; a string's and a container's own block; a member's key.
constexpr std::size_t kValueBytes = 32;
constexpr std::size_t kStringBytes = 64;
constexpr std::size_t kContainerBytes = 64;
constexpr std::size_t kMemberBytes = 64;

// What nlohmann::sax_parse calls. Local to one parse.
class TreeBuilder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  TreeBuilder(const RequestLimits& limits, std::string_view what) : limits_(limits), what_(what) {}

  bool null() { return add(Json(nullptr)) != nullptr; }
  bool boolean(bool value) { return add(Json(value)) != nullptr; }
  bool number_integer(number_integer_t value) { return add(Json(value)) != nullptr; }
  bool number_unsigned(number_unsigned_t value) { return add(Json(value)) != nullptr; }
  bool number_float(number_float_t value, const string_t& text) {
    if (text.find_first_of(".eE") != string_t::npos) {
      return add(Json(value)) != nullptr;
    }
    return count_bytes(kStringBytes + text.size()) &&
           add(Json::binary(binary_t::container_type(text.begin(), text.end()))) != nullptr;
  }
  bool string(string_t& value) {
    return count_bytes(kStringBytes + value.size()) && add(Json(std::move(value))) != nullptr;
  }
  bool binary(binary_t& /*value*/) { return refuse("binary values are not JSON"); }
  bool start_object(std::size_t /*size*/) { return open(Json::object()); }
  bool start_array(std::size_t /*size*/) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    Level& level = levels_.back();
    auto& members = level.value->get_ref<Json::object_t&>();
    if (members.size() >= limits_.object_keys_max) {
      return refuse(fmt::format("an object of more than {} keys", limits_.object_keys_max));
    }
    if (name.size() > limits_.key_bytes_max) {
      return refuse(fmt::format("a key of {} bytes; at most {} are allowed", name.size(), limits_.key_bytes_max));
    }
    if (!count_bytes(kMemberBytes + name.size())) {
      return false;
    }
    if (is_duplicate(level, members, name)) {
      return refuse(fmt::format("the key \"{}\" comes twice in one object", shorten(name)));
    }
    members.emplace_back(std::move(name), Json());
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*token*/, const nlohmann::detail::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ...": keep the end.
    const std::string_view text = error.what();
    const std::size_t colon = text.find(": ");
    message_ = fmt::format("{} is not valid JSON: byte {}: {}", what_, position,
                           colon == std::string_view::npos ? text : text.substr(colon + 2));
    return false;
  }

  const std::string& message() const { return message_; }
  Json take() { return std::move(root_); }

 private:
  struct Level {
    Json* value = nullptr;
    absl::flat_hash_set<std::string> keys;  // used beyond kLinearKeysMax
  };

  static std::string shorten(const std::string& name) { return name.size() <= 40 ? name : name.substr(0, 40) + "..."; }

  template <typename Members>
  static bool is_duplicate(Level& level, const Members& members, const std::string& name) {
    if (members.size() <= kLinearKeysMax) {
      for (const auto& member : members) {
        if (member.first == name) {
          return true;
        }
      }
      return false;
    }
    if (level.keys.empty()) {
      for (const auto& member : members) {
        level.keys.insert(member.first);
      }
    }
    return !level.keys.insert(name).second;
  }

  bool refuse(std::string_view why) {
    message_ = fmt::format("{} refused: {}", what_, why);
    return false;
  }

  bool count_bytes(std::size_t bytes) {
    tree_bytes_ += bytes;
    return tree_bytes_ <= limits_.json_tree_bytes_max ||
           refuse(fmt::format("as JSON it needs more than {} bytes of memory", limits_.json_tree_bytes_max));
  }

  Json* add(Json&& value) {
    if (!count_bytes(kValueBytes)) {
      return nullptr;
    }
    if (++values_ > limits_.json_values_max) {
      refuse(fmt::format("more than {} JSON values", limits_.json_values_max));
      return nullptr;
    }
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *levels_.back().value;
    if (parent.is_array()) {
      auto& items = parent.get_ref<Json::array_t&>();
      items.push_back(std::move(value));
      return &items.back();
    }
    auto& members = parent.get_ref<Json::object_t&>();
    members.back().second = std::move(value);
    return &members.back().second;
  }

  bool open(Json&& empty) {
    if (levels_.size() >= limits_.json_depth_max) {
      return refuse(fmt::format("JSON nested deeper than {} levels", limits_.json_depth_max));
    }
    Json* const added = count_bytes(kContainerBytes) ? add(std::move(empty)) : nullptr;
    if (added == nullptr) {
      return false;
    }
    levels_.push_back(Level{added, {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  const RequestLimits& limits_;
  const std::string_view what_;
  Json root_;
  std::vector<Level> levels_;  // pointers stay valid: a container grows only while it is the innermost
  std::size_t values_ = 0;
  std::size_t tree_bytes_ = 0;
  std::string message_;
};

bool has_large_integer(const Json& value) {
  return is_large_integer(value) ||
         (value.is_structured() && std::any_of(value.begin(), value.end(), has_large_integer));
}

// The place behind the value at `at`, of an array, object, string or word. REQUIRES: valid JSON.
std::size_t skip_value(std::string_view text, std::size_t at) {
  int depth = 0;
  bool in_string = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      at += c == '\\' ? 1 : 0;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (depth == 0 && (c == ',' || c == '}' || c == ']' || c == ':')) {
      return at;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return at;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

}  // namespace

std::string_view member_text(std::string_view object, std::string_view name) {
  std::size_t at = object.find('{') + 1;
  while (at < object.size()) {
    const std::size_t colon = skip_value(object, at);
    const std::size_t end = skip_value(object, colon + 1);
    const std::string_view key = trimmed(object.substr(at, colon - at));
    if (key.size() == name.size() + 2 && key.substr(1, name.size()) == name) {
      return trimmed(object.substr(colon + 1, end - colon - 1));
    }
    at = end + 1;
  }
  return {};
}

Result<Json> parse_json(std::string_view text, const RequestLimits& limits, std::string_view what) {
  if (text.size() > limits.body_bytes_max) {
    return too_large(fmt::format("{} of {} bytes is larger than {}", what, text.size(), limits.body_bytes_max));
  }
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {  // for the lexer it would be the end
    ApiError error = bad_value("", fmt::format("{} is not valid JSON: byte {}: a zero byte", what, zero + 1));
    error.code = "invalid_json";
    return error;
  }
  TreeBuilder builder(limits, what);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    ApiError error = bad_value("", builder.message());
    error.code = "invalid_json";
    return error;
  }
  return builder.take();
}

bool is_number(const Json& value) {
  return value.is_number() || is_large_integer(value);
}

double as_double(const Json& value) {
  if (!is_large_integer(value)) {
    return value.get<double>();
  }
  const Json::binary_t& digits = value.get_binary();
  return std::strtod(std::string(digits.begin(), digits.end()).c_str(), nullptr);
}

// nlohmann's own is faster, and cannot write large integers as numbers.
std::string write_json(const Json& value) {
  const auto write_plain = [](const Json& plain) { return plain.dump(-1, ' ', false, Json::error_handler_t::replace); };
  if (is_large_integer(value)) {
    const Json::binary_t& digits = value.get_binary();
    return {digits.begin(), digits.end()};
  }
  if (!has_large_integer(value)) {
    return write_plain(value);
  }
  std::string text;
  if (value.is_array()) {
    for (const Json& item : value) {  // depth is bounded by the parser
      text += text.empty() ? "[" : ",";
      text += write_json(item);
    }
    return text + "]";
  }
  for (const auto& [name, item] : value.items()) {
    text += text.empty() ? "{" : ",";
    text += write_plain(name);
    text += ':';
    text += write_json(item);
  }
  return text + "}";
}

bool is_empty(const Json& value) {
  if (value.is_string()) {
    return value.get_ref<const std::string&>().empty();
  }
  if (value.is_object()) {
    return std::all_of(value.begin(), value.end(),
                       [](const Json& member) { return is_empty(member) || member == false; });
  }
  return value.is_null() || (value.is_array() && value.empty());
}

std::string describe(const Json& value) {
  constexpr std::size_t kShownBytes = 40;  // of a string: a message stays on a line
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return value.empty() ? "an empty array" : fmt::format("an array of {}", value.size());
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      if (text.size() <= kShownBytes) {
        return fmt::format("the string \"{}\"", text);
      }
      std::size_t cut = kShownBytes;  // never inside a character
      while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) {
        --cut;
      }
      return fmt::format("the string \"{}...\" of {} bytes", text.substr(0, cut), text.size());
    }
    case Json::value_t::binary: {
      const Json::binary_t& digits = value.get_binary();
      const std::size_t shown = std::min(kShownBytes, digits.size());
      return "the number " + std::string(digits.begin(), digits.begin() + static_cast<std::ptrdiff_t>(shown)) +
             (shown < digits.size() ? "..." : "");
    }
    default:
      return "the number " + value.dump();
  }
}

std::optional<std::int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return static_cast<std::int64_t>(number);
    }
    return std::nullopt;
  }
  if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    constexpr double kExactMax = 9007199254740992.0;  // 2^53
    if (std::abs(number) <= kExactMax && std::trunc(number) == number) {
      return static_cast<std::int64_t>(number);
    }
  }
  return std::nullopt;
}

const Json* FieldReader::find(const char* name) const {
  asked_.emplace_back(name);
  if (failed() || !object_.is_object()) {
    return nullptr;
  }
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::vector<std::string> FieldReader::unread() const {
  std::vector<std::string> names;
  if (object_.is_object()) {
    for (const auto& [name, value] : object_.items()) {
      if (!is_empty(value) && std::find(asked_.begin(), asked_.end(), name) == asked_.end()) {
        names.push_back(name);
      }
    }
  }
  return names;
}

void FieldReader::fail(ApiError error) {
  if (!failed()) {
    error_ = std::move(error);
  }
}

void FieldReader::fail_type(const std::string& name, std::string_view what, const Json& value) {
  const std::string full = full_name(name);
  fail(bad_value(full, fmt::format("'{}' must be {}; got {}", full, what, describe(value))));
}

void FieldReader::read(const char* name, std::optional<bool>& out) {
  if (const Json* value = find(name); value != nullptr) {
    if (!value->is_boolean()) {
      fail_type(name, "true or false", *value);
      return;
    }
    out = value->get<bool>();
  }
}

void FieldReader::read(const char* name, bool& out) {
  std::optional<bool> value;
  read(name, value);
  out = value.value_or(out);
}

void FieldReader::read(const char* name, std::optional<std::string>& out) {
  if (const Json* value = find(name); value != nullptr) {
    if (!value->is_string()) {
      fail_type(name, "a string", *value);
      return;
    }
    out = value->get_ref<const std::string&>();
  }
}

void FieldReader::read(const char* name, std::string& out) {
  std::optional<std::string> value;
  read(name, value);
  if (value.has_value()) {
    out = std::move(*value);
  }
}

void FieldReader::read(const char* name, std::optional<std::int64_t>& out) {
  if (const Json* value = find(name); value != nullptr) {
    const std::optional<std::int64_t> number = as_integer(*value);
    if (!number.has_value()) {
      fail_type(name, "an integer", *value);
      return;
    }
    out = number;
  }
}

void FieldReader::read(const char* name, std::int64_t& out) {
  std::optional<std::int64_t> value;
  read(name, value);
  out = value.value_or(out);
}

void FieldReader::read(const char* name, std::optional<double>& out) {
  if (const Json* value = find(name); value != nullptr) {
    if (!is_number(*value)) {
      fail_type(name, "a number", *value);
      return;
    }
    out = as_double(*value);
  }
}

}  // namespace coppice::openai
