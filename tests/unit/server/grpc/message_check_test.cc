// Bytes that are a message, and bytes that are not: what the check says is what protobuf does.
#include "server/grpc/message_check.h"

#include <catch2/catch.hpp>
#include <string>

#include "coppice/v1/inference.pb.h"
#include "server/grpc/message_bytes.h"

namespace coppice::server {
namespace {

const google::protobuf::Descriptor& generate() {
  return *v1::GenerateRequest::descriptor();
}

v1::GenerateRequest full_request() {
  v1::GenerateRequest request;
  request.set_model("m");
  request.mutable_token_ids()->add_ids(1);
  request.mutable_token_ids()->add_ids(300);
  request.set_priority(-1);
  request.set_echo(true);
  v1::SamplingParameters& sampling = *request.mutable_sampling();
  sampling.set_temperature(0.5F);
  sampling.set_seed(-1);
  sampling.add_stop("ä");
  sampling.add_stop_token_ids(7);
  (*sampling.mutable_logit_bias())[3] = 1;
  return request;
}

std::string message_of(const openai::MaybeError& error) {
  REQUIRE(error);
  CHECK(error->status == 400);
  return error->message;
}

TEST_CASE("a message passes, and comes back from its bytes") {
  const v1::GenerateRequest request = full_request();
  CHECK_FALSE(check_message(generate(), request.SerializeAsString()));
  CHECK_FALSE(check_message(generate(), ""));
  v1::GenerateRequest back;
  CHECK_FALSE(decode(encode(request), back));
  CHECK(back.SerializeAsString() == request.SerializeAsString());
}

TEST_CASE("every cut of a message is refused as protobuf refuses it") {
  const std::string bytes = full_request().SerializeAsString();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    v1::GenerateRequest request;
    CHECK(check_message(generate(), cut).has_value() == !request.ParseFromString(cut));
  }
}

TEST_CASE("text that is not UTF-8 is named by its path") {
  std::string bytes = full_request().SerializeAsString();
  bytes[bytes.find("\xc3\xa4") + 1] = 'x';
  CHECK(message_of(check_message(generate(), bytes)) == "'sampling.stop' is not valid UTF-8");
}

TEST_CASE("fields are counted before they take memory") {
  std::string bytes = "\x22\xc8\x01";  // sampling, 200 bytes
  for (int i = 0; i < 100; ++i) {
    bytes.append("\x52\x00", 2);  // stop: ""
  }
  CHECK_FALSE(check_message(generate(), bytes, 101));
  CHECK(message_of(check_message(generate(), bytes, 100)) == "the message has more than 100 fields");
  std::string unknown;
  for (int i = 0; i < 100; ++i) {
    unknown += "\xa0\x06\x01";
  }
  CHECK_FALSE(check_message(generate(), unknown, 100));
  CHECK(check_message(generate(), unknown, 99));
}

TEST_CASE("field number 0 is refused, as protobuf refuses it") {
  const std::string bytes("\x1a\x05\x05\x0a\xac\x34\x00", 7);  // inside a message: a fixed32 of no field
  v1::GenerateRequest request;
  CHECK_FALSE(request.ParseFromString(bytes));
  CHECK(check_message(generate(), bytes));
}

TEST_CASE("groups are refused, however many are open") {
  CHECK(check_message(generate(), std::string(1'000'000, '\x0b')));
  CHECK(check_message(generate(), "\x0b\x0c"));
}

}  // namespace
}  // namespace coppice::server
