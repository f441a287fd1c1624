// A walk over tags by hand, in the order of the bytes.
#include "server/grpc/message_check.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "text/utf8.h"

namespace coppice::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Owner: check_message.
class Walk {
 public:
  explicit Walk(std::size_t fields_max) : fields_max_(fields_max) {}

  // `path` names the message in its request: "sampling."; "" is the request.
  openai::MaybeError message(const Descriptor& type, std::string_view bytes, const std::string& path) {
    CodedInputStream input(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
    while (input.CurrentPosition() < static_cast<int>(bytes.size())) {
      const std::uint32_t tag = input.ReadTag();
      const FieldDescriptor* const field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
      const WireFormatLite::WireType wire = WireFormatLite::GetTagWireType(tag);
      const bool is_counted = field == nullptr || wire == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
      if (is_counted && ++fields_ > fields_max_) {
        return openai::bad_value("", fmt::format("the message has more than {} fields", fields_max_));
      }
      if (WireFormatLite::GetTagFieldNumber(tag) == 0) {  // no field has it; the end of broken bytes gives it too
        return broken(path);
      }
      if (wire == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
        int size = 0;
        if (!input.ReadVarintSizeAsInt(&size) || static_cast<std::size_t>(size) > left(input, bytes)) {
          return broken(path);
        }
        const std::string_view value =
            bytes.substr(static_cast<std::size_t>(input.CurrentPosition()), static_cast<std::size_t>(size));
        input.Skip(size);
        if (openai::MaybeError error = nested(field, value, path)) {
          return error;
        }
      } else if (!skip(input, wire)) {
        return broken(path);
      }
    }
    return std::nullopt;
  }

 private:
  static std::size_t left(const CodedInputStream& input, std::string_view bytes) {
    return bytes.size() - static_cast<std::size_t>(input.CurrentPosition());
  }

  static openai::ApiError broken(const std::string& path) {
    return openai::bad_value(
        "", path.empty() ? "the message is not the protobuf message of this method"
                         : fmt::format("'{}' is not a protobuf message of its type", path.substr(0, path.size() - 1)));
  }

  openai::MaybeError nested(const FieldDescriptor* field, std::string_view value, const std::string& path) {
    if (field == nullptr) {
      return std::nullopt;
    }
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      return message(*field->message_type(), value, path + field->name() + ".");
    }
    if (field->type() == FieldDescriptor::TYPE_STRING && !text::is_valid_utf8(value)) {
      return openai::bad_value(field->name(), fmt::format("'{}{}' is not valid UTF-8", path, field->name()));
    }
    return std::nullopt;
  }

  // Groups are older than this API; nothing in it has one.
  static bool skip(CodedInputStream& input, WireFormatLite::WireType wire) {
    std::uint64_t number = 0;
    switch (wire) {
      case WireFormatLite::WIRETYPE_VARINT:
        return input.ReadVarint64(&number);
      case WireFormatLite::WIRETYPE_FIXED64:
        return input.Skip(sizeof(std::uint64_t));
      case WireFormatLite::WIRETYPE_FIXED32:
        return input.Skip(sizeof(std::uint32_t));
      default:
        return false;
    }
  }

  const std::size_t fields_max_;
  std::size_t fields_ = 0;
};

}  // namespace

openai::MaybeError check_message(const Descriptor& type, std::string_view bytes, std::size_t fields_max) {
  return Walk(fields_max).message(type, bytes, "");
}

}  // namespace coppice::server
