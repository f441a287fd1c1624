// Keyword arguments become the members of an object.
#include "server/output/python_call_reader.h"

namespace coppice::server {
Read PythonCallReader::push(char byte, std::string& arguments) {
  const Read read = push_byte(byte, arguments);
  if (read == Read::kFailed) {
    finish(arguments);
  }
  return read;
}

Read PythonCallReader::push_byte(char byte, std::string& arguments) {
  if (at_ == At::kName) {
    return read_name(byte, arguments);
  }
  if (at_ == At::kValue) {
    const Read read = value_.push(byte, arguments);
    if (read == Read::kMore || read == Read::kFailed) {
      return read;
    }
    value_ = {};
    at_ = At::kNext;
    return read == Read::kDone ? Read::kMore : push_byte(byte, arguments);
  }
  if (at_ == At::kKey) {
    return read_key(byte, arguments);
  }
  if (is_space(byte)) {
    return Read::kMore;
  }
  if (at_ == At::kEquals) {
    return read_key(byte, arguments);
  }
  if ((at_ == At::kFirst || at_ == At::kArgument) && is_name_part(byte)) {
    word_ = byte;
    at_ = At::kKey;
    return Read::kMore;
  }
  return read_next(byte, arguments);
}

Read PythonCallReader::read_name(char byte, std::string& arguments) {
  if (is_name_part(byte)) {
    word_ += byte;
    return Read::kMore;
  }
  const Tool* const tool = byte == '(' ? tools_.find(word_) : nullptr;
  if (tool == nullptr) {
    return Read::kFailed;
  }
  begin(tool);
  word_.clear();
  arguments += '{';
  at_ = At::kFirst;
  return Read::kMore;
}

Read PythonCallReader::read_key(char byte, std::string& arguments) {
  if (at_ == At::kKey && is_name_part(byte)) {
    word_ += byte;
    return Read::kMore;
  }
  if (is_space(byte)) {
    at_ = At::kEquals;
    return Read::kMore;
  }
  if (byte != '=') {
    return Read::kFailed;
  }
  arguments += has_arguments_ ? ", \"" : "\"";
  append_json_text(word_, arguments);
  arguments += "\": ";
  word_.clear();
  has_arguments_ = true;
  at_ = At::kValue;
  return Read::kMore;
}

Read PythonCallReader::read_next(char byte, std::string& arguments) {
  if (byte == ')') {
    arguments += '}';
    return Read::kDone;
  }
  if (byte != ',' || at_ != At::kNext) {
    return Read::kFailed;
  }
  at_ = At::kArgument;
  return Read::kMore;
}

void PythonCallReader::finish(std::string& arguments) {
  if (tool() != nullptr) {
    value_.finish(arguments);
    arguments += word_;
    word_.clear();
  }
}

}  // namespace coppice::server
