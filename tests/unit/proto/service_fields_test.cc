// How a request is served: what each field may be, what it means, and which have no effect and are named.
#include "proto/openai/service_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "proto/openai/parse_request.h"

namespace coppice::openai {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

RequestLimits small_limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  return limits;
}

Result<GenerationRequest> completion(const std::string& fields) {
  return parse_completion_request(R"({"prompt":"hi")" + (fields.empty() ? "" : "," + fields) + "}", small_limits());
}

Result<GenerationRequest> chat(const std::string& messages, const std::string& fields = "") {
  return parse_chat_request(R"({"messages":)" + messages + (fields.empty() ? "" : "," + fields) + "}", small_limits());
}

std::string refused(const std::string& fields) {
  const Result<GenerationRequest> request = completion(fields);
  REQUIRE_FALSE(request.ok());
  CHECK(request.error().status == 400);
  return request.error().param;
}

TEST_CASE("service tiers") {
  for (const auto& [name, tier, said] : {std::tuple("auto", ServiceTier::kDefault, "default"),
                                         {"default", ServiceTier::kDefault, "default"},
                                         {"scale", ServiceTier::kDefault, "default"},
                                         {"flex", ServiceTier::kFlex, "flex"},
                                         {"priority", ServiceTier::kPriority, "priority"},
                                         {"fast", ServiceTier::kPriority, "priority"}}) {
    const auto request = completion(R"("service_tier":")" + std::string(name) + '"');
    REQUIRE(request.ok());
    CHECK(request.value().service_tier == tier);
    CHECK(service_tier_name(tier) == said);
    CHECK(request.value().ignored.empty());
  }
  CHECK(completion("").value().service_tier == ServiceTier::kUnset);
  CHECK(service_tier_name(ServiceTier::kUnset).empty());
  CHECK(refused(R"("service_tier":"ultrafast")") == "service_tier");
  CHECK(refused(R"("service_tier":1)") == "service_tier");
}

TEST_CASE("how long a prompt is kept") {
  const auto kept = [](const std::string& fields) {
    const auto request = completion(fields);
    REQUIRE(request.ok());
    return request.value().cache_control.keeps_prompt;
  };
  CHECK(kept("") == seconds(0));
  CHECK(kept(R"("prompt_cache_options":{})") == minutes(30));
  CHECK(kept(R"("prompt_cache_options":{"mode":"implicit","ttl":"90s"})") == seconds(90));
  CHECK(kept(R"("prompt_cache_options":{"ttl":"24h"})") == hours(24));
  CHECK(kept(R"("prompt_cache_options":{"mode":"explicit","ttl":"5m"})") == seconds(0));
  CHECK(kept(R"("prompt_cache_retention":"in_memory")") == seconds(0));
  CHECK(kept(R"("prompt_cache_retention":"24h")") == hours(24));
  CHECK(kept(R"("prompt_cache_retention":"24h","prompt_cache_options":{"ttl":"5m"})") == minutes(5));
  CHECK(kept(R"("prompt_cache_options":null,"prompt_cache_retention":null)") == seconds(0));
  for (const char* const ttl :
       {"", "m", "0m", "-5m", "5", "2d", "5 m", "5mm", "25h", "1441m", "86401s", "99999999999999999999s", "1.5h"}) {
    CHECK(refused(R"("prompt_cache_options":{"ttl":")" + std::string(ttl) + "\"}") == "prompt_cache_options.ttl");
  }
  CHECK(refused(R"("prompt_cache_options":"30m")") == "prompt_cache_options");
  CHECK(refused(R"("prompt_cache_options":{"mode":"auto"})") == "prompt_cache_options.mode");
  CHECK(refused(R"("prompt_cache_options":{"ttl":30})") == "prompt_cache_options.ttl");
  CHECK(refused(R"("prompt_cache_retention":"1h")") == "prompt_cache_retention");
}

TEST_CASE("breakpoints stand where the parts end, the last ones count") {
  const std::string mark = R"("prompt_cache_breakpoint":{"mode":"explicit"})";
  const auto part = [&](const std::string& text, bool marked) {
    return R"({"type":"text","text":")" + text + '"' + (marked ? "," + mark : "") + "}";
  };
  const std::string messages = R"([{"role":"system","content":[)" + part("abc", true) + "," + part("de", true) +
                               R"(]},{"role":"user","content":[)" + part("f", false) + "]}," +
                               R"({"role":"assistant","content":"g"},{"role":"user","content":[)" + part("h", true) +
                               "," + part("i", false) + "]}]";
  const auto request = chat(messages, R"("prompt_cache_options":{"mode":"explicit","ttl":"1h"})");
  REQUIRE(request.ok());
  CHECK((*request.value().chat.messages)[0]["content"] == "abc\nde");
  CHECK(request.value().cache_breakpoints ==
        CacheBreakpoints{{1, 3, hours(1)}, {1, CacheBreakpoint::kWholeMessage, hours(1)}, {4, 1, hours(1)}});
  CHECK(request.value().cache_control.is_explicit);
  CHECK(request.value().ignored.empty());

  std::string many = "[";
  for (int i = 0; i < 6; ++i) {
    many += fmt::format(R"({}{{"role":"user","content":[{}]}})", i == 0 ? "" : ",", part("x", true));
  }
  many += "]";
  const auto four = chat(many);
  REQUIRE(four.ok());
  REQUIRE(four.value().cache_breakpoints.size() == 4);
  CHECK(four.value().cache_breakpoints[0].messages == 3);
  CHECK(four.value().cache_breakpoints[0].time_to_live == minutes(30));
  CHECK(four.value().cache_control.keeps_prompt == seconds(0));
  const auto three = chat(many, R"("prompt_cache_options":{})");
  REQUIRE(three.value().cache_breakpoints.size() == 3);
  CHECK(three.value().cache_breakpoints[0].messages == 4);
  CHECK(three.value().cache_control.keeps_prompt == minutes(30));

  for (const char* const wrong : {R"("explicit")", R"({"mode":"implicit"})", "[]", "true"}) {
    const auto bad = chat(R"([{"role":"user","content":[{"type":"text","text":"x","prompt_cache_breakpoint":)" +
                          std::string(wrong) + "}]}]");
    REQUIRE_FALSE(bad.ok());
    CHECK(bad.error().param == "messages[0].content.prompt_cache_breakpoint");
  }
}

TEST_CASE("bounds of what has no effect") {
  CHECK(refused(R"("safety_identifier":")" + std::string(129, 'x') + '"') == "safety_identifier");
  CHECK(completion(R"("safety_identifier":")" + std::string(128, 'x') + '"').ok());
  CHECK(refused(R"("prompt_cache_key":")" + std::string(513, 'x') + '"') == "prompt_cache_key");
  CHECK(refused(R"("verbosity":"loud")") == "verbosity");
  CHECK(refused(R"("store":"yes")") == "store");
  CHECK(refused(R"("metadata":[])") == "metadata");
  CHECK(refused(R"("metadata":{"a":1})") == "metadata");
  CHECK(refused(R"("metadata":{"":"x"})") == "metadata");
  CHECK(refused(R"("metadata":{")" + std::string(65, 'k') + R"(":"x"})") == "metadata");
  CHECK(refused(R"("metadata":{"k":")" + std::string(513, 'v') + R"("})") == "metadata");
  std::string umlauts;
  for (int i = 0; i < 512; ++i) {
    umlauts += "ä";
  }
  CHECK(completion(R"("metadata":{"k":")" + umlauts + R"("})").ok());  // characters, not bytes
  Json pairs = Json::object();
  for (int i = 0; i < 16; ++i) {
    pairs[std::to_string(i)] = "x";
  }
  CHECK(completion(R"("metadata":)" + pairs.dump()).ok());
  pairs["16"] = "x";
  CHECK(refused(R"("metadata":)" + pairs.dump()) == "metadata");
}

TEST_CASE("every field of the table has its effect or is named") {
  const std::vector<std::pair<std::string, std::string>> values = {{"priority", "1"},
                                                                   {"service_tier", R"("flex")"},
                                                                   {"cache_salt", R"("s")"},
                                                                   {"prompt_cache_options", R"({"ttl":"5m"})"},
                                                                   {"prompt_cache_retention", R"("24h")"},
                                                                   {"prompt_cache_key", R"("k")"},
                                                                   {"safety_identifier", R"("s")"},
                                                                   {"user", R"("u")"},
                                                                   {"metadata", R"({"a":"b"})"},
                                                                   {"verbosity", R"("low")"},
                                                                   {"store", "true"}};
  std::set<std::string> tried;
  for (const auto& [name, value] : values) {
    for (const bool is_chat : {false, true}) {
      const std::string field = '"' + name + "\":" + value;
      const auto request = is_chat ? chat(R"([{"role":"user","content":"x"}])", field) : completion(field);
      REQUIRE(request.ok());
      const auto row = std::find_if(std::begin(kServiceFields), std::end(kServiceFields),
                                    [&name = name](const ApiField& field_row) { return field_row.name == name; });
      REQUIRE(row != std::end(kServiceFields));
      CHECK(request.value().ignored.header() == (row->use == FieldUse::kIgnored ? name : ""));
    }
    tried.insert(name);
  }
  for (const ApiField& row : kServiceFields) {
    CHECK((tried.contains(row.name) || std::string(row.name) == "prompt_cache_breakpoint"));
  }
  CHECK(completion(R"("store":false,"metadata":{},"user":null,"verbosity":null)").value().ignored.empty());
}

TEST_CASE("fields that this server does not know are named") {
  const auto request = completion(R"("parallel_tool_calls":true,"frobnicate":1,"nothing":null,"x y":2,"best_of":1,
      "echo":false,"max_completion_tokens":3)");
  REQUIRE(request.ok());
  CHECK(request.value().ignored.header() == "frobnicate, max_completion_tokens");
  const auto talk = chat(R"([{"role":"user","content":"x"}])",
                         R"("parallel_tool_calls":false,"tools":[],"tool_choice":"auto","chat_template_kwargs":{},
      "max_completion_tokens":3,"modalities":["text"],"suffix":"")");
  INFO((talk.ok() ? "" : talk.error().message));
  REQUIRE(talk.ok());
  CHECK(talk.value().ignored.empty());
}

}  // namespace
}  // namespace coppice::openai
