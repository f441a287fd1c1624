// PythonCallReader: f(a=1, b="x").
#pragma once

#include <string>

#include "server/output/call_reader.h"
#include "server/output/python_value.h"

namespace coppice::server {

// Owner: a parser. Thread: its session's.
class PythonCallReader final : public CallReader {
 public:
  explicit PythonCallReader(const ToolSet& tools) : tools_(tools) {}

  Read push(char byte, std::string& arguments) override;
  void finish(std::string& arguments) override;

 private:
  enum class At : std::uint8_t { kName, kFirst, kArgument, kKey, kEquals, kValue, kNext };

  Read push_byte(char byte, std::string& arguments);
  Read read_name(char byte, std::string& arguments);
  Read read_key(char byte, std::string& arguments);
  Read read_next(char byte, std::string& arguments);

  const ToolSet& tools_;
  At at_ = At::kName;
  std::string word_;  // the name or a key, as far as read
  PythonValue value_;
  bool has_arguments_ = false;
};

}  // namespace coppice::server
