// Tags and, between them, values of which exactly one line end at each end is not part.
#include "server/output/xml_call_reader.h"

namespace coppice::server {
namespace {

constexpr std::string_view kFunction = "<function=";
constexpr std::string_view kParameter = "<parameter=";
constexpr std::string_view kEndParameter = "</parameter>";
constexpr std::string_view kEndFunction = "</function>";

// In names of functions and parameters.
bool is_name(char byte) {
  return byte != '<' && byte != '>' && byte != '\n' && byte != '\r';
}

}  // namespace

Read XmlCallReader::push(char byte, std::string& arguments) {
  if (at_ == At::kValue) {
    return read_value(byte, arguments);
  }
  if (at_ == At::kFunction || at_ == At::kBody) {
    return read_body(byte, arguments);
  }
  if (is_name(byte)) {
    word_ += byte;
    return Read::kMore;
  }
  if (byte != '>') {
    finish(arguments);
    return Read::kFailed;
  }
  if (at_ == At::kKey) {
    return begin_value(arguments);
  }
  const Tool* const tool = tools_.find(word_);
  word_.clear();
  if (tool == nullptr) {
    return Read::kFailed;
  }
  begin(tool);
  arguments += '{';
  at_ = At::kBody;
  return Read::kMore;
}

// A tag, with white space before it.
Read XmlCallReader::read_body(char byte, std::string& arguments) {
  if (word_.empty() && is_space(byte)) {
    return Read::kMore;
  }
  word_ += byte;
  if (at_ == At::kFunction) {
    if (word_ == kFunction) {
      at_ = At::kName;
      word_.clear();
      return Read::kMore;
    }
    return kFunction.starts_with(word_) ? Read::kMore : Read::kFailed;
  }
  if (word_ == kEndFunction) {
    arguments += '}';
    word_.clear();
    return Read::kDone;
  }
  if (word_ == kParameter) {
    at_ = At::kKey;
    word_.clear();
    return Read::kMore;
  }
  if (kParameter.starts_with(word_) || kEndFunction.starts_with(word_)) {
    return Read::kMore;
  }
  word_.pop_back();
  finish(arguments);
  return Read::kFailed;
}

Read XmlCallReader::begin_value(std::string& arguments) {
  types_ = tool()->types_of(word_);
  arguments += has_parameters_ ? ", \"" : "\"";
  append_json_text(word_, arguments);
  arguments += "\": ";
  arguments += types_ == kStringType ? "\"" : "";
  has_parameters_ = true;
  is_value_begun_ = false;
  word_.clear();
  close_ = 0;
  at_ = At::kValue;
  return Read::kMore;
}

Read XmlCallReader::read_value(char byte, std::string& arguments) {
  if (!is_value_begun_) {
    is_value_begun_ = true;
    if (byte == '\n') {
      return Read::kMore;
    }
  }
  word_ += byte;
  close_ = byte == kEndParameter[close_] ? close_ + 1 : byte == kEndParameter.front() ? 1 : 0;
  if (close_ < kEndParameter.size()) {
    if (types_ == kStringType) {
      const std::size_t end = word_.size() - close_;
      give_text(end > 0 && word_[end - 1] == '\n' ? end - 1 : end, arguments);
    }
    return Read::kMore;
  }
  word_.erase(word_.size() - kEndParameter.size());
  if (word_.ends_with('\n')) {
    word_.pop_back();
  }
  if (types_ == kStringType) {
    give_text(word_.size(), arguments);
    arguments += '"';
  } else {
    arguments += typed_value(word_, types_);
  }
  word_.clear();
  at_ = At::kBody;
  return Read::kMore;
}

// Gives the first `end` bytes of the value that are held.
void XmlCallReader::give_text(std::size_t end, std::string& arguments) {
  append_json_text(std::string_view(word_).substr(0, end), arguments);
  word_.erase(0, end);
}

void XmlCallReader::finish(std::string& arguments) {
  if (tool() == nullptr) {
    return;
  }
  if (at_ == At::kValue && types_ == kStringType) {
    give_text(word_.size(), arguments);
  } else {
    arguments += word_;
    word_.clear();
  }
}

}  // namespace coppice::server
