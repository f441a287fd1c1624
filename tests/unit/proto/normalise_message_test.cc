// Messages as clients and their libraries send them, and as chat templates want them.
#include "proto/openai/normalise_message.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "proto/openai/parse_request.h"

namespace coppice::openai {
namespace {

RequestLimits small_limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  return limits;
}

Json message_of(const std::string& fields, const std::string& role = "assistant") {
  const std::string body = R"({"messages":[{"role":")" + role + R"(",)" + fields + "}]}";
  const auto parsed = parse_chat_request(body, small_limits());
  INFO(body);
  REQUIRE(parsed.ok());
  return (*parsed.value().chat.messages)[0];
}

Json arguments_of(const std::string& json) {
  return tool_arguments(parse_json(json, {}).value(), small_limits());
}

TEST_CASE("optional keys of a message that say nothing are absent") {
  CHECK(message_of(R"("content":"a","tool_calls":[],"function_call":null,"audio":{"id":null},"name":"","refusal":null,
                      "annotations":[],"reasoning":"","tool_call_id":null)") ==
        Json{{"role", "assistant"}, {"content", "a"}});
  CHECK(message_of(R"("content":null,"tool_calls":null)") == Json{{"role", "assistant"}, {"content", nullptr}});
  CHECK(message_of(R"("content":[])", "user") == Json{{"role", "user"}, {"content", ""}});
  CHECK(message_of(R"("tool_calls":[{"id":null,"index":null,"function":{"name":"f"}}])")["tool_calls"][0] ==
        Json{{"function", {{"name", "f"}}}});
  CHECK(message_of(R"("tool_calls":[{"id":"","function":{"name":""}}])")["tool_calls"][0] ==
        Json{{"function", {{"name", ""}}}});  // the call itself stays whatever it is called
}

TEST_CASE("a refusal is what an assistant said") {
  CHECK(message_of(R"("content":null,"refusal":"no")")["content"] == "no");
  CHECK(message_of(R"("content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"no"}])")["content"] ==
        "a\nno");
}

TEST_CASE("reasoning has the names that templates read, as in transformers") {
  for (const char* const key : {"reasoning", "reasoning_content", "thinking"}) {
    const Json message = message_of(fmt::format(R"("content":"a","{}":"r")", key));
    CHECK(message["reasoning_content"] == "r");
    CHECK(message["thinking"] == "r");
  }
  CHECK(message_of(R"("content":"a","reasoning":"x","reasoning_content":"y")")["reasoning_content"] == "y");
  CHECK_FALSE(message_of(R"("content":"a","reasoning":null)").contains("reasoning_content"));
}

TEST_CASE("tool arguments become what they spell; nothing is an object without members") {
  for (const char* const none : {R"("")", R"("  \n")", "null", R"("null")", R"("{}")", "{}"}) {
    INFO(none);
    CHECK(arguments_of(none) == Json::object());
  }
  CHECK(arguments_of(R"("{\"a\":[1]}")") == Json{{"a", {1}}});
  CHECK(arguments_of(R"("[1,2]")") == Json{1, 2});
  CHECK(arguments_of("[1,2]") == Json{1, 2});
  CHECK(arguments_of(R"("not json")") == "not json");
  CHECK(arguments_of(R"("\"text\"")") == "\"text\"");
}

TEST_CASE("integers of any size keep their digits") {
  for (const char* const digits : {"18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"}) {
    for (const std::string& json : {fmt::format(R"({{"n":{}}})", digits), fmt::format(R"("{{\"n\":{}}}")", digits)}) {
      const Json number = arguments_of(json)["n"];
      REQUIRE(is_large_integer(number));
      const Json::binary_t& kept = number.get_binary();
      CHECK(std::string(kept.begin(), kept.end()) == digits);
    }
  }
  CHECK(arguments_of(R"("{\"n\":18446744073709551615}")")["n"] == 18446744073709551615ULL);
}

TEST_CASE("null keys of a tool are absent; its schema is as it came") {
  const auto parsed = parse_chat_request(
      R"({"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f","description":null,"strict":null,
                                   "parameters":{"default":null}}}]})",
      small_limits());
  REQUIRE(parsed.ok());
  CHECK((*parsed.value().chat.tools)[0]["function"] == Json{{"name", "f"}, {"parameters", {{"default", nullptr}}}});
}

}  // namespace
}  // namespace coppice::openai
