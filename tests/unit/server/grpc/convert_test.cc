// Errors over gRPC: codes, the schema's names, short messages.
#include "server/grpc/convert.h"

#include <catch2/catch.hpp>
#include <string>

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

TEST_CASE("half a character in a message does not reach the status") {
  CHECK(to_status(openai::bad_value("", "last read: '\xd0'")).error_message() == "last read: '\xef\xbf\xbd'");
}

}  // namespace
}  // namespace coppice::server
