// A name, a mark, a value.
#include "server/output/named_call_reader.h"

namespace coppice::server {

Read NamedCallReader::push(char byte, std::string& arguments) {
  switch (at_) {
    case At::kArguments:
      return scanner_.push(byte, arguments);
    case At::kMark:
      return read_mark(byte);
    case At::kId:
      if (byte != kArgumentsMark.front()) {
        return is_name_part(byte) ? Read::kMore : Read::kFailed;
      }
      at_ = At::kMark;
      mark_ = byte;
      return Read::kMore;
    case At::kName:
      break;
  }
  if (is_name_part(byte)) {
    name_ += byte;
    return Read::kMore;
  }
  if (byte == kArgumentsMark.front()) {
    at_ = At::kMark;
    mark_ = byte;
    return Read::kMore;
  }
  if (byte != '{') {
    return is_space(byte) && name_.empty() ? Read::kMore : Read::kFailed;
  }
  // The mark was a special token of no use to the tokenizer, or was forgotten.
  return begin_arguments() == Read::kMore ? scanner_.push(byte, arguments) : Read::kFailed;
}

Read NamedCallReader::read_mark(char byte) {
  mark_ += byte;
  if (mark_ == kArgumentsMark) {
    return begin_arguments();
  }
  if (mark_ == kCallIdMark) {
    at_ = At::kId;
    return Read::kMore;
  }
  return kArgumentsMark.starts_with(mark_) || kCallIdMark.starts_with(mark_) ? Read::kMore : Read::kFailed;
}

Read NamedCallReader::push_mark(Terminal mark) {
  if (mark == Terminal::kCallId && at_ == At::kName) {
    at_ = At::kId;
    return Read::kMore;
  }
  if (mark != Terminal::kArguments) {
    return Read::kFailed;
  }
  return at_ == At::kName || at_ == At::kId ? begin_arguments() : Read::kFailed;
}

Read NamedCallReader::begin_arguments() {
  const Tool* const tool = tools_.find(name_);
  if (tool == nullptr) {
    return Read::kFailed;
  }
  begin(tool);
  at_ = At::kArguments;
  return Read::kMore;
}

}  // namespace coppice::server
