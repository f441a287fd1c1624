// Looks at a protobuf message on the wire before it is decoded: whether it can be, and how much memory it would take.
// Two bytes on the wire become a string or a message of a hundred in memory, and protobuf's own refusal has no words.
#pragma once

#include <cstddef>
#include <string_view>

#include "google/protobuf/descriptor.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// Strings, messages and unknown fields of one request: twice what all bounds of RequestLimits together allow, or some
// ten MB once decoded. Numbers are not counted: they take little more memory than bytes on the wire.
inline constexpr std::size_t kMessageFieldsMax = 65536;

// Linear in the bytes; recursion is as deep as `type` nests, whatever the bytes say. ERRORS: 400 that names the field
// where it is known: bytes that are no message, text that is not UTF-8, more than `fields_max` fields.
openai::MaybeError check_message(const google::protobuf::Descriptor& type, std::string_view bytes,
                                 std::size_t fields_max = kMessageFieldsMax);

}  // namespace coppice::server
