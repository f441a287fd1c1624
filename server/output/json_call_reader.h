// JsonCallReader: {"name": "f", "arguments": {…}}, with the keys in any order and others between them.
#pragma once

#include <string>

#include "server/output/call_reader.h"
#include "server/output/json_scanner.h"

namespace coppice::server {

// Owner: a parser. Thread: its session's.
class JsonCallReader final : public CallReader {
 public:
  // `needs_arguments`: a name alone is no call yet.
  JsonCallReader(const ToolSet& tools, bool needs_arguments) : tools_(tools), needs_arguments_(needs_arguments) {}

  Read push(char byte, std::string& arguments) override;
  void finish(std::string& arguments) override;

 private:
  enum class At : std::uint8_t { kOpen, kFirstKey, kKey, kColon, kValue, kNext };
  enum class Value : std::uint8_t { kName, kArguments, kText, kOther };

  Read read_key(char byte);
  Read read_value(char byte, std::string& arguments);
  Read end_value(std::string& arguments);
  Read read_next(char byte, std::string& arguments);
  // What a byte that does not fit means: a call whose arguments are complete is a call.
  Read failed() const { return tool() != nullptr && has_arguments_ ? Read::kDoneBefore : Read::kFailed; }
  Read read_text(char byte, std::string& arguments);
  void try_begin(std::string& arguments);

  const ToolSet& tools_;
  const bool needs_arguments_;
  At at_ = At::kOpen;
  Value value_ = Value::kOther;
  JsonScanner scanner_;
  std::string scanned_;  // the key, the name, or arguments before the name, as far as read
  std::string early_;    // arguments that came before the name
  const Tool* named_ = nullptr;
  bool has_arguments_ = false;  // complete
  bool has_text_ = false;       // kText: it is not empty
  std::string escape_;          // kText: an escape that is not complete
};

}  // namespace coppice::server
