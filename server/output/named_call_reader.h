// NamedCallReader: f[ARGS]{…}; the mark may be a special token.
#pragma once

#include <string>

#include "server/output/call_reader.h"
#include "server/output/json_scanner.h"

namespace coppice::server {

// Owner: a parser. Thread: its session's.
class NamedCallReader final : public CallReader {
 public:
  explicit NamedCallReader(const ToolSet& tools) : tools_(tools) {}

  Read push(char byte, std::string& arguments) override;
  Read push_mark(Terminal mark) override;

 private:
  enum class At : std::uint8_t { kName, kMark, kId, kArguments };

  Read read_mark(char byte);
  Read begin_arguments();

  const ToolSet& tools_;
  At at_ = At::kName;
  std::string name_;
  std::string mark_;  // as far as read
  JsonScanner scanner_;
};

}  // namespace coppice::server
