// JSON from outside, bounded: text is measured before it is parsed, exceptions of the parser stay here, and fields are
// read through one class that checks type and range and words every complaint in the same way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace coppice::models {

struct JsonLimits {
  std::size_t bytes = std::size_t{1} << 20;
  int depth = 16;                     // nested arrays and objects
  bool allow_duplicate_names = true;  // false: a name given twice in one object is an error; true: the last one counts
  // Not null: NaN and Infinity, which Python writes, are read as null, and counted here. Null: they are errors.
  std::size_t* python_numbers = nullptr;
};

// Parses `text`. `what` names the text in messages ("config.json").
// ERRORS: InvalidArgument: too long, too deep, not JSON, a duplicate name.
absl::StatusOr<nlohmann::json> parse_json(std::string_view text, std::string_view what, const JsonLimits& limits);

// Reads the fields of one JSON object. The first complaint is kept and later ones are dropped, so that a reader asks
// for everything it wants and looks at status() once. Absent and null fields give the default.
// Owner: a parsing function's stack; the object must outlive it. One thread.
class JsonFields {
 public:
  // REQUIRES: `object` is a JSON object. `where` opens every message: "config.json: rope_scaling".
  JsonFields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}

  bool has(const char* name) const;      // present and not null
  bool is_null(const char* name) const;  // present and null
  const nlohmann::json* find(const char* name) const;

  std::int64_t integer(const char* name, std::int64_t fallback, std::int64_t least, std::int64_t most);
  double number(const char* name, double fallback, double least, double most);
  bool boolean(const char* name, bool fallback);
  std::string text(const char* name, const std::string& fallback);

  // Keeps `problem` ("NAME must be …") as the status if it is the first.
  void complain(const std::string& problem);
  void fail(absl::Status status);
  const absl::Status& status() const { return status_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& object_;
  std::string where_;
  absl::Status status_;
};

// `value` as JSON text, cut to a length that fits a message.
std::string json_excerpt(const nlohmann::json& value);

}  // namespace coppice::models
