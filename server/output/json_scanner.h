// JsonScanner: checks one JSON value byte by byte and repeats it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/output/call_reader.h"

namespace coppice::server {

// Raw control characters inside strings, which models write and JSON forbids, are repeated as escapes: what comes out
// of a value that ends well is JSON. A value. Thread: one at a time.
class JsonScanner {
 public:
  // Appends to `out`. White space before the value is skipped, inside it is repeated. REQUIRES: kMore so far.
  Read push(char byte, std::string& out);

  // Whether the value has begun.
  bool has_begun() const { return at_ != At::kValue || !open_.empty(); }

 private:
  enum class At : std::uint8_t {
    kValue,
    kFirstItem,  // behind '['
    kFirstKey,   // behind '{'
    kKey,        // behind ',' of an object
    kColon,
    kNext,  // behind a value inside a container
    kString,
    kEscape,
    kHex,
    kWord,  // true, false, null
    kMinus,
    kZero,
    kDigits,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
  };

  Read read_value(char byte, std::string& out);
  Read read_string(char byte, std::string& out);
  Read read_number(char byte, std::string& out);
  Read read_next(char byte, std::string& out);
  Read close(char byte, std::string& out);
  Read end_value();

  At at_ = At::kValue;
  std::string open_;  // brackets that are open
  bool is_key_ = false;
  int hex_left_ = 0;
  std::string_view word_left_;
};

}  // namespace coppice::server
