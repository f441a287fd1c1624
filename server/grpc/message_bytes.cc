// A request is one piece of memory or copied into one; an answer is written in place.
#include "server/grpc/message_bytes.h"

#include <cstdint>
#include <string_view>
#include <vector>

#include "grpc/slice.h"
#include "grpcpp/support/slice.h"
#include "server/grpc/message_check.h"

namespace coppice::server {
namespace {

std::string joined(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string all;
  if (bytes.Dump(&slices).ok()) {
    all.reserve(bytes.Length());
    for (const grpc::Slice& slice : slices) {
      all.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
  }
  return all;
}

}  // namespace

openai::MaybeError decode(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  const std::string text = joined(bytes);
  if (openai::MaybeError error = check_message(*message.GetDescriptor(), text)) {
    return error;
  }
  if (!message.ParseFromArray(text.data(), static_cast<int>(text.size()))) {
    return openai::bad_value("", "the message is not the protobuf message of this method");
  }
  return std::nullopt;
}

grpc::ByteBuffer encode(const google::protobuf::Message& message) {
  const std::size_t size = message.ByteSizeLong();
  grpc_slice slice = grpc_slice_malloc(size);
  message.SerializeWithCachedSizesToArray(GRPC_SLICE_START_PTR(slice));
  const grpc::Slice owner(slice, grpc::Slice::STEAL_REF);
  return {&owner, 1};
}

}  // namespace coppice::server
