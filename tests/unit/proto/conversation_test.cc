// Pieces of other APIs' conversations as chat messages, and the places of cache breakpoints in them.
#include "proto/openai/conversation.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "proto/openai/cache_control.h"

namespace coppice::openai {
namespace {

using std::chrono::minutes;

TEST_CASE("an assistant's reasoning, text and calls that follow each other are one message") {
  Conversation conversation;
  conversation.add_message("user", "q");
  conversation.add_reasoning("r1");
  conversation.add_reasoning("r2");
  conversation.add_message("assistant", "a");
  conversation.add_call("c1", "f", Json::object());
  conversation.add_call("c2", "g", "{}");
  conversation.add_result("c1", "x");
  conversation.add_message("assistant", "b");
  conversation.add_reasoning("r3");
  CHECK(conversation.size() == 5);
  CHECK(conversation.take().dump() == R"([{"role":"user","content":"q"},)"
                                      R"({"role":"assistant","content":"a","reasoning_content":"r1\nr2","tool_calls":[)"
                                      R"({"id":"c1","type":"function","function":{"name":"f","arguments":{}}},)"
                                      R"({"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},)"
                                      R"({"role":"tool","tool_call_id":"c1","content":"x"},)"
                                      R"({"role":"assistant","content":"b"},)"
                                      R"({"role":"assistant","content":null,"reasoning_content":"r3"}])");
}

TEST_CASE("instructions take in the system message that stands first, and no later one") {
  for (const char* const role : {"system", "developer"}) {
    Conversation conversation;
    conversation.add_instructions("i");
    conversation.add_message(role, "s");
    conversation.add_message("user", "u");
    conversation.add_message(role, "t");
    CHECK(conversation.take().dump() == std::string(R"([{"role":"system","content":"i\n\ns"},)") +
                                            R"({"role":"user","content":"u"},{"role":")" + role +
                                            R"(","content":"t"}])");
  }
  Conversation plain;
  plain.add_message("system", "s");
  plain.add_message("system", "t");
  CHECK(plain.size() == 2);
}

TEST_CASE("messages of one role can be joined") {
  Conversation conversation;
  conversation.join_message("user", "a");
  conversation.join_message("user", "b");
  CHECK(conversation.last_bytes() == 3);
  conversation.add_call("c", "f", Json::object());
  conversation.join_message("assistant", "x");
  conversation.join_message("assistant", "y");
  CHECK(conversation.last_role() == "assistant");
  const Json messages = conversation.take();
  CHECK(messages[0]["content"] == "a\nb");
  CHECK(messages[1]["content"] == "x\ny");
  CHECK(messages.size() == 2);
}

TEST_CASE("breakpoints are put in order, places stand once with their longest time, the last four stay") {
  const Json messages = Json::parse(R"([{"role":"system","content":"abcd"},{"role":"user","content":"ef"}])");
  constexpr std::size_t kWhole = CacheBreakpoint::kWholeMessage;
  const CacheBreakpoints arranged = arrange_breakpoints(
      {{2, 2, minutes(5)}, {1, 4, minutes(5)}, {1, 2, minutes(5)}, {1, kWhole, minutes(60)}, {0, 7, minutes(5)}},
      messages);
  CHECK(
      arranged ==
      CacheBreakpoints{{0, kWhole, minutes(5)}, {1, 2, minutes(5)}, {1, kWhole, minutes(60)}, {2, kWhole, minutes(5)}});
  const CacheBreakpoints many = arrange_breakpoints(
      {{1, 1, minutes(5)}, {1, 2, minutes(5)}, {1, 3, minutes(5)}, {2, 1, minutes(5)}, {2, 2, minutes(5)}}, messages);
  REQUIRE(many.size() == kCacheBreakpointsMax);
  CHECK(many.front().content_bytes == 2);
  CHECK(many.back() == CacheBreakpoint{2, kWhole, minutes(5)});
}

}  // namespace
}  // namespace coppice::openai
