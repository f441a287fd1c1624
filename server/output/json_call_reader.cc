// The object around a call's name and arguments.
#include "server/output/json_call_reader.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

namespace coppice::server {
namespace {

constexpr std::size_t kEscapeBytes = 6;  // of \uXXXX

// The text of a JSON string; nothing for an unpaired half of a character.
std::optional<std::string> text_of(const std::string& json) {
  const nlohmann::json value = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

bool is_high_surrogate(const std::string& escape) {
  return escape.size() >= kEscapeBytes && escape[1] == 'u' && (escape[2] == 'd' || escape[2] == 'D') &&
         std::string_view("89aAbB").find(escape[3]) != std::string_view::npos;
}

// Whether more of the escape may follow.
bool is_open(const std::string& escape) {
  if (escape.size() == 1) {
    return true;
  }
  if (escape[1] != 'u') {
    return false;
  }
  if (escape.size() <= kEscapeBytes) {
    return escape.size() < kEscapeBytes || is_high_surrogate(escape);
  }
  return escape.size() < 2 * kEscapeBytes;
}

}  // namespace

Read JsonCallReader::push(char byte, std::string& arguments) {
  if (at_ == At::kValue) {
    return read_value(byte, arguments);
  }
  if ((at_ == At::kFirstKey || at_ == At::kKey) && !(is_space(byte) && scanned_.empty())) {
    return byte == '}' && at_ == At::kFirstKey && scanned_.empty() ? Read::kFailed : read_key(byte);
  }
  if (is_space(byte)) {
    return Read::kMore;
  }
  if (at_ == At::kOpen) {
    at_ = At::kFirstKey;
    return byte == '{' ? Read::kMore : Read::kFailed;
  }
  if (at_ == At::kColon) {
    at_ = At::kValue;
    return byte == ':' ? Read::kMore : failed();
  }
  return read_next(byte, arguments);
}

Read JsonCallReader::read_key(char byte) {
  if (scanned_.empty() && byte != '"') {
    return failed();
  }
  const Read read = scanner_.push(byte, scanned_);
  if (read == Read::kMore) {
    return Read::kMore;
  }
  if (read != Read::kDone) {
    return failed();
  }
  const std::string key = text_of(scanned_).value_or("");
  scanner_ = {};
  scanned_.clear();
  value_ = Value::kOther;
  if (key == "name" && named_ == nullptr) {
    value_ = Value::kName;
  } else if ((key == "arguments" || key == "parameters") && !has_arguments_) {
    value_ = Value::kArguments;
  }
  at_ = At::kColon;
  return Read::kMore;
}

Read JsonCallReader::read_value(char byte, std::string& arguments) {
  if (value_ == Value::kText) {
    return read_text(byte, arguments);
  }
  if (value_ == Value::kArguments && !scanner_.has_begun() && !is_space(byte)) {
    try_begin(arguments);
    if (byte == '"') {
      value_ = Value::kText;  // the object as a text, as OpenAI's API has it
      return Read::kMore;
    }
  }
  if (value_ == Value::kName && !scanner_.has_begun() && !is_space(byte) && byte != '"') {
    return Read::kFailed;
  }
  std::string other;
  const bool is_early = value_ == Value::kArguments && tool() == nullptr;
  std::string& out = value_ == Value::kOther ? other : value_ == Value::kName || is_early ? scanned_ : arguments;
  const Read read = scanner_.push(byte, out);
  if (read == Read::kMore) {
    return Read::kMore;
  }
  if (read == Read::kFailed) {
    return failed();
  }
  const Read end = end_value(arguments);
  return end == Read::kMore && read == Read::kDoneBefore ? push(byte, arguments) : end;
}

Read JsonCallReader::end_value(std::string& arguments) {
  at_ = At::kNext;
  scanner_ = {};
  if (value_ == Value::kName) {
    const std::optional<std::string> name = text_of(scanned_);
    scanned_.clear();
    named_ = name ? tools_.find(*name) : nullptr;
    if (named_ == nullptr) {
      return Read::kFailed;
    }
    if (has_arguments_ || !needs_arguments_) {
      try_begin(arguments);
    }
  } else if (value_ != Value::kOther) {
    has_arguments_ = true;
    if (tool() == nullptr) {
      early_ = std::exchange(scanned_, {});
    }
  }
  return Read::kMore;
}

// Begins the call if its name is known, with what came before it.
void JsonCallReader::try_begin(std::string& arguments) {
  if (named_ != nullptr && tool() == nullptr) {
    begin(named_);
    arguments += std::exchange(early_, {});
  }
}

// Arguments inside a string.
Read JsonCallReader::read_text(char byte, std::string& arguments) {
  std::string& out = tool() == nullptr ? scanned_ : arguments;
  if (escape_.empty() && byte != '\\') {
    if (byte == '"') {
      out += has_text_ ? "" : "{}";
      return end_value(arguments);
    }
    has_text_ = true;
    out += byte;
    return Read::kMore;
  }
  has_text_ = true;
  if (escape_.size() == kEscapeBytes && byte != '\\') {
    out += std::exchange(escape_, {});  // half a character
    return Read::kFailed;
  }
  escape_ += byte;
  if (is_open(escape_)) {
    return Read::kMore;
  }
  const std::optional<std::string> text = text_of("\"" + escape_ + "\"");
  if (!text) {
    escape_.pop_back();
    out += std::exchange(escape_, {});
    return Read::kFailed;
  }
  escape_.clear();
  out += *text;
  return Read::kMore;
}

void JsonCallReader::finish(std::string& arguments) {
  if (tool() != nullptr) {
    arguments += escape_;
  }
}

Read JsonCallReader::read_next(char byte, std::string& arguments) {
  if (byte == ',') {
    at_ = At::kKey;
    return Read::kMore;
  }
  if (byte != '}') {
    return failed();
  }
  if (tool() == nullptr) {
    return Read::kFailed;
  }
  if (!has_arguments_) {
    arguments += "{}";
  }
  return Read::kDone;
}

}  // namespace coppice::server
