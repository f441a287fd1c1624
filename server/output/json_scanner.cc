// RFC 8259, one byte at a time.
#include "server/output/json_scanner.h"

#include "server/output/tool_set.h"

namespace coppice::server {
namespace {

constexpr int kHexDigits = 4;  // of an escape \uXXXX

}  // namespace

Read JsonScanner::push(char byte, std::string& out) {
  switch (at_) {
    case At::kString:
    case At::kEscape:
    case At::kHex:
      return read_string(byte, out);
    case At::kWord:
      if (byte != word_left_.front()) {
        return Read::kFailed;
      }
      out += byte;
      word_left_.remove_prefix(1);
      return word_left_.empty() ? end_value() : Read::kMore;
    case At::kMinus:
    case At::kZero:
    case At::kDigits:
    case At::kPoint:
    case At::kFraction:
    case At::kExponent:
    case At::kExponentSign:
    case At::kExponentDigits:
      return read_number(byte, out);
    default:
      break;
  }
  if (is_space(byte)) {
    if (has_begun()) {
      out += byte;
    }
    return Read::kMore;
  }
  return at_ == At::kNext || at_ == At::kColon ? read_next(byte, out) : read_value(byte, out);
}

// A value, a key or the end of an empty container.
Read JsonScanner::read_value(char byte, std::string& out) {
  const bool wants_key = at_ == At::kFirstKey || at_ == At::kKey;
  if ((at_ == At::kFirstItem && byte == ']') || (at_ == At::kFirstKey && byte == '}')) {
    return close(byte, out);
  }
  if (wants_key && byte != '"') {
    return Read::kFailed;
  }
  if (byte == '"') {
    is_key_ = wants_key;
    at_ = At::kString;
  } else if (byte == '{' || byte == '[') {
    open_ += byte;
    at_ = byte == '{' ? At::kFirstKey : At::kFirstItem;
  } else if (byte == 't' || byte == 'f' || byte == 'n') {
    word_left_ = byte == 't' ? "rue" : byte == 'f' ? "alse" : "ull";
    at_ = At::kWord;
  } else if (byte == '-') {
    at_ = At::kMinus;
  } else if (is_digit(byte)) {
    at_ = byte == '0' ? At::kZero : At::kDigits;
  } else {
    return Read::kFailed;
  }
  out += byte;
  return Read::kMore;
}

Read JsonScanner::read_string(char byte, std::string& out) {
  if (at_ == At::kEscape) {
    if (byte == 'u') {
      hex_left_ = kHexDigits;
      at_ = At::kHex;
    } else if (std::string_view("\"\\/bfnrt").find(byte) != std::string_view::npos) {
      at_ = At::kString;
    } else {
      return Read::kFailed;
    }
    out += byte;
    return Read::kMore;
  }
  if (at_ == At::kHex) {
    if (!is_hex(byte)) {
      return Read::kFailed;
    }
    out += byte;
    at_ = --hex_left_ == 0 ? At::kString : At::kHex;
    return Read::kMore;
  }
  if (byte == '\\') {
    at_ = At::kEscape;
    out += byte;
    return Read::kMore;
  }
  if (byte != '"') {
    append_json_text({&byte, 1}, out);
    return Read::kMore;
  }
  out += byte;
  if (is_key_) {
    at_ = At::kColon;
    return Read::kMore;
  }
  return end_value();
}

Read JsonScanner::read_number(char byte, std::string& out) {
  At next = At::kValue;  // the number is over
  if (is_digit(byte)) {
    switch (at_) {
      case At::kMinus:
        next = byte == '0' ? At::kZero : At::kDigits;
        break;
      case At::kDigits:
        next = At::kDigits;
        break;
      case At::kPoint:
      case At::kFraction:
        next = At::kFraction;
        break;
      case At::kExponent:
      case At::kExponentSign:
      case At::kExponentDigits:
        next = At::kExponentDigits;
        break;
      default:
        return Read::kFailed;
    }
  } else if (byte == '.' && (at_ == At::kZero || at_ == At::kDigits)) {
    next = At::kPoint;
  } else if ((byte == 'e' || byte == 'E') && (at_ == At::kZero || at_ == At::kDigits || at_ == At::kFraction)) {
    next = At::kExponent;
  } else if ((byte == '+' || byte == '-') && at_ == At::kExponent) {
    next = At::kExponentSign;
  }
  if (next != At::kValue) {
    at_ = next;
    out += byte;
    return Read::kMore;
  }
  if (at_ == At::kMinus || at_ == At::kPoint || at_ == At::kExponent || at_ == At::kExponentSign) {
    return Read::kFailed;
  }
  if (end_value() == Read::kDone) {
    return Read::kDoneBefore;
  }
  if (is_space(byte)) {
    out += byte;
    return Read::kMore;
  }
  return read_next(byte, out);
}

// What comes behind a key or a value.
Read JsonScanner::read_next(char byte, std::string& out) {
  if (at_ == At::kColon) {
    if (byte != ':') {
      return Read::kFailed;
    }
    at_ = At::kValue;
  } else if (byte == ',') {
    at_ = open_.back() == '{' ? At::kKey : At::kValue;
  } else {
    return close(byte, out);
  }
  out += byte;
  return Read::kMore;
}

Read JsonScanner::close(char byte, std::string& out) {
  if (byte != (open_.back() == '{' ? '}' : ']')) {
    return Read::kFailed;
  }
  out += byte;
  open_.pop_back();
  return end_value();
}

Read JsonScanner::end_value() {
  at_ = At::kNext;
  return open_.empty() ? Read::kDone : Read::kMore;
}

}  // namespace coppice::server
