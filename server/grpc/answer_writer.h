// The answer writer of the gRPC API: items to GenerateResponse messages. One message holds what is new of one choice;
// the last one of a stream holds the usage.
#pragma once

#include <string>
#include <string_view>

#include "coppice/v1/inference.pb.h"
#include "proto/openai/answer.h"

namespace coppice::server {

// Owner: a stream. Thread: its owner's. A value.
class GrpcAnswerWriter {
 public:
  // `has_logprobs`: token entries name the tokens. REQUIRES: else the deltas have token ids, and only else.
  // `has_usage`: every delta has the usage so far. `service_tier`: a literal; "" when the request did not ask.
  explicit GrpcAnswerWriter(bool has_logprobs, bool has_usage = false, std::string_view service_tier = "")
      : has_logprobs_(has_logprobs), has_usage_(has_usage), service_tier_(service_tier) {}

  v1::GenerateResponse delta(const openai::ChoiceDelta& delta) const;
  v1::GenerateResponse end(const openai::Answer& answer) const;

 private:
  bool has_logprobs_;
  bool has_usage_;
  std::string_view service_tier_;
};

// `bytes` with what is not UTF-8 replaced by U+FFFD: protobuf strings must be UTF-8, tokens may be parts of characters.
std::string utf8_only(const std::string& bytes);

}  // namespace coppice::server
