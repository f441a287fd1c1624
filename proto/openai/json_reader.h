// Reading JSON that a stranger wrote: a bounded parser (size, depth, number of values, no duplicate keys) and a reader
// of one object's fields that remembers the first thing wrong, in words a client can act on.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/request.h"

namespace coppice::openai {

// Parses a whole document. Linear in its size whatever it holds. An integer beyond 64 bits keeps its digits, see
// is_large_integer(). `what` is what the text is, for messages. ERRORS: 400 saying at which byte and why.
Result<Json> parse_json(std::string_view text, const RequestLimits& limits, std::string_view what = "request body");

// Integers beyond 64 bits, which nlohmann would round, are binary values that hold the digits. No JSON text makes
// another binary value.
inline bool is_large_integer(const Json& value) {
  return value.is_binary();
}

// Any number; its value as a double.
bool is_number(const Json& value);
double as_double(const Json& value);  // REQUIRES: is_number(value)

// The text of a value: large integers as they came, bytes that are not UTF-8 replaced.
std::string write_json(const Json& value);

// null, "", an empty array, and an object without members that say something: what a client's library sends for a field
// that its user has not set.
bool is_empty(const Json& value);

// The text of a member's value, as it stands in the text of its object. REQUIRES: `object` is a JSON object with such a
// member, whose name needs no escapes.
std::string_view member_text(std::string_view object, std::string_view name);

// "an array", "the number 3.5", "the string \"ab…\"": what came, for messages; never longer than a line.
std::string describe(const Json& value);

// Reads fields of one object, whose names have static storage. A missing field and null leave the output as it is.
// After the first error every read does nothing. Owner and thread: a local variable; the object must outlive it.
class FieldReader {
 public:
  // `prefix` is put before names in messages: "stream_options.".
  explicit FieldReader(const Json& object, std::string prefix = "") : object_(object), prefix_(std::move(prefix)) {}

  void read(const char* name, bool& out);
  void read(const char* name, std::optional<bool>& out);
  void read(const char* name, std::string& out);
  void read(const char* name, std::optional<std::string>& out);
  void read(const char* name, std::int64_t& out);
  void read(const char* name, std::optional<std::int64_t>& out);
  void read(const char* name, std::optional<double>& out);

  // The field's value; nothing when it is missing, null, or an error came before.
  const Json* find(const char* name) const;
  bool has(const char* name) const { return find(name) != nullptr; }
  // Names of the object's fields, empty ones left out, that nothing has asked for.
  std::vector<std::string> unread() const;

  void fail(ApiError error);
  // "'name' must be WHAT; got ..."
  void fail_type(const std::string& name, std::string_view what, const Json& value);
  bool failed() const { return error_.has_value(); }
  const MaybeError& error() const { return error_; }
  std::string full_name(std::string_view name) const { return prefix_ + std::string(name); }

 private:
  const Json& object_;
  const std::string prefix_;
  MaybeError error_;
  mutable std::vector<std::string_view> asked_;  // names, which have static storage
};

// An integer that fits int64, whatever its spelling (3, 3.0); nothing for anything else.
std::optional<std::int64_t> as_integer(const Json& value);

}  // namespace coppice::openai
