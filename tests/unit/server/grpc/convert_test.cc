// Errors over gRPC: codes, the schema's names, short messages.
#include "server/grpc/convert.h"

#include <catch2/catch.hpp>
#include <string>

#include "coppice/v1/error_details.pb.h"

namespace coppice::server {
namespace {

std::string words(std::string message) {
  return to_status(openai::bad_value("", std::move(message))).error_message();
}

TEST_CASE("fields have the names of the schema") {
  CHECK(words("'top_logprobs' and 'top_logprobs'") == "'logprobs' and 'logprobs'");
  CHECK(words("'tools[0].function' is missing; 'tools'") == "'tools_json[0].function' is missing; 'tools_json'");
  CHECK(words("'tools_json' stays") == "'tools_json' stays");
  CHECK(words("'chat_template_kwargs' must be") == "'chat_template_arguments_json' must be");
}

TEST_CASE("a message is cut between two characters") {
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    text += "ä";
  }
  const std::string cut = words(text);
  CHECK(cut.size() < 2100);
  CHECK(cut.substr(cut.size() - 5) == "ä...");
}

TEST_CASE("codes") {
  CHECK(to_status(openai::overloaded("", 1)).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(to_status(openai::too_large("")).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(to_status(openai::unavailable("", "", 1)).error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(to_status(openai::internal_error("")).error_code() == grpc::StatusCode::INTERNAL);
}

TEST_CASE("an error that may pass says why and for how long, as google.rpc has it") {
  const grpc::Status status = to_status(openai::overloaded("too much", 7, "deadline_unreachable"));
  v1::StatusDetails details;
  REQUIRE(details.ParseFromString(status.error_details()));
  CHECK(details.code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(details.message() == "too much");
  REQUIRE(details.details_size() == 2);
  CHECK(details.details(0).type_url() == "type.googleapis.com/google.rpc.ErrorInfo");
  v1::ErrorInfo info;
  REQUIRE(info.ParseFromString(details.details(0).value()));
  CHECK(info.reason() == "DEADLINE_UNREACHABLE");
  CHECK(info.domain() == "coppice");
  CHECK(details.details(1).type_url() == "type.googleapis.com/google.rpc.RetryInfo");
  v1::RetryInfo retry;
  REQUIRE(retry.ParseFromString(details.details(1).value()));
  CHECK(retry.retry_delay().seconds() == 7);
  CHECK_FALSE(to_status(openai::unavailable("draining", "", 5)).error_details().empty());
  CHECK(to_status(openai::bad_value("", "no")).error_details().empty());
  CHECK(to_status(openai::deadline_exceeded("late")).error_details().empty());
}

TEST_CASE("half a character in a message does not reach the status") {
  CHECK(to_status(openai::bad_value("", "last read: '\xd0'")).error_message() == "last read: '\xef\xbf\xbd'");
}

}  // namespace
}  // namespace coppice::server
