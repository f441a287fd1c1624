// XmlCallReader: <function=f>\n<parameter=k>\nvalue\n</parameter>\n</function>. A value is text, or what the tool's
// schema says it is.
#pragma once

#include <string>
#include <string_view>

#include "server/output/call_reader.h"

namespace coppice::server {

// Owner: a parser. Thread: its session's.
class XmlCallReader final : public CallReader {
 public:
  // `is_in_function`: "<function=" has been read.
  XmlCallReader(const ToolSet& tools, bool is_in_function)
      : tools_(tools), at_(is_in_function ? At::kName : At::kFunction) {}

  Read push(char byte, std::string& arguments) override;
  void finish(std::string& arguments) override;

 private:
  enum class At : std::uint8_t { kFunction, kName, kBody, kKey, kValue };

  Read read_body(char byte, std::string& arguments);
  Read begin_value(std::string& arguments);
  Read read_value(char byte, std::string& arguments);
  void give_text(std::size_t end, std::string& arguments);

  const ToolSet& tools_;
  At at_;
  std::string word_;       // a tag, a name or a key, as far as read; of a value what is not given yet
  std::size_t close_ = 0;  // bytes of the closing tag that `word_` ends with
  ParameterTypes types_ = kStringType;
  bool is_value_begun_ = false;  // its first byte came, which may be a line end that is not part of it
  bool has_parameters_ = false;
};

}  // namespace coppice::server
