// PythonValue: turns one Python literal into JSON, byte by byte.
#pragma once

#include <cstdint>
#include <string>

#include "server/output/call_reader.h"

namespace coppice::server {

// Numbers, strings of either quote, True, False, None (and JSON's words), lists, tuples, dictionaries with keys of
// text. A value. Thread: one at a time.
class PythonValue {
 public:
  // Appends to `out`. White space between tokens is dropped. REQUIRES: kMore so far.
  Read push(char byte, std::string& out);
  // The output ended inside: appends what was held back.
  void finish(std::string& out) {
    out += word_ + escape_;
    word_.clear();
    escape_.clear();
  }

 private:
  enum class At : std::uint8_t {
    kValue,
    kFirstItem,
    kItem,  // behind a comma
    kFirstKey,
    kKey,  // behind a comma
    kColon,
    kNext,
    kString,
    kEscape,
    kWord,  // a number or a name
  };

  Read read_value(char byte, std::string& out);
  Read read_string(char byte, std::string& out);
  Read read_escape(char byte, std::string& out);
  Read read_word(char byte, std::string& out);
  Read read_next(char byte, std::string& out);
  Read close(char byte, std::string& out);
  Read end_value();

  At at_ = At::kValue;
  std::string open_;  // brackets that are open
  bool is_key_ = false;
  char quote_ = 0;
  std::string escape_;  // from its backslash on
  std::string word_;
};

}  // namespace coppice::server
