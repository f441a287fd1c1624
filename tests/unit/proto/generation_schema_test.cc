// Documents and readers agree: whatever a schema of a body rules out, its reader refuses, and the other way round
// except for what a schema cannot say.
#include "proto/openai/generation_schema.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "proto/openai/corpus.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/object_schema.h"
#include "proto/openai/parse_request.h"

namespace coppice::openai {
namespace {

RequestLimits small_limits() {
  RequestLimits limits;
  limits.vocab = 50;
  limits.model_tokens_max = 40;
  limits.detokenize_tokens_max = 30;
  limits.messages_max = 3;
  limits.tools_max = 2;
  limits.prompts_max = 3;
  limits.stop_max = 2;
  limits.stop_bytes_max = 5;
  limits.stop_tokens_max = 2;
  limits.name_bytes_max = 6;
  limits.corpus_sequences_max = 3;
  return limits;
}

// Values of every type, as JSON, between spaces.
constexpr const char* kValues = R"(
null true false 0.5 0.01 0.001 1e30 -1e30 9223372036854775808 18446744073709551615 18446744073709551616
-9223372036854775809 {} {"a":1} {"a":""} {"1":50,"2":-100} {"1":101} {"1":"x"} {"type":"text"}
{"type":"json_object"} {"type":5} {"type":"content","content":"x"} {"type":"content","content":5}
{"content":[{"type":"text","text":"x"}]} {"content":[{"type":"image_url","text":"x"}]} {"content":null}
{"include_usage":true} {"include_usage":1} {"continuous_usage_stats":"yes"} [] [[]] [null] [true] [{}] [[1,2]]
[[1,50]] [[1],"a"] ["a",[1]] ["a",5] [1,"a"] [""] [{"role":"user","content":"a"}] [{"role":"user"}]
[{"role":"","content":"a"}] [{"role":5,"content":"a"}] [{"role":"assistant"}]
[{"role":"user","content":[{"type":"text","text":"a"}]}] [{"role":"user","content":[{"type":"text"}]}]
[{"role":"user","content":[{"type":"audio","text":"a"}]}] [{"role":"user","content":["a"]}]
[{"role":"user","content":{}}] [{"role":"user","content":"a","name":5}]
[{"role":"user","content":"a","name":[],"thinking":{},"refusal":""}]
[{"role":"user","content":"a","reasoning":[1]}] [{"role":"assistant","tool_calls":[]}]
[{"role":"assistant","tool_calls":""}] [{"role":"assistant","tool_calls":"x"}]
[{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]}]
[{"role":"assistant","tool_calls":[{"id":5,"function":{"name":"f"}}]}]
[{"role":"assistant","tool_calls":[{"function":{"name":5}}]}] [{"role":"assistant","tool_calls":[{}]}]
[{"function":{"name":"f"}}] [{"function":{"name":5}}] [{"function":5}] "auto" "none" "required")";

// Those, and values near every bound of small_limits().
std::vector<std::string> candidates() {
  std::istringstream values(kValues);
  std::vector<std::string> all(std::istream_iterator<std::string>{values}, std::istream_iterator<std::string>{});
  for (const std::int64_t number : {-101, -3, -2, -1, 0, 1, 2, 3, 20, 21, 39, 40, 41, 49, 50, 51, 100, 101, 128, 129}) {
    all.push_back(std::to_string(number));
    all.push_back(std::to_string(number) + ".0");
    all.push_back(fmt::format("[{}]", number));
  }
  constexpr std::size_t kLengths[] = {0, 1, 5, 6, 7};
  for (const std::size_t length : kLengths) {
    all.push_back(fmt::format("\"{}\"", std::string(length, 'x')));
    all.push_back(fmt::format("[\"{}\"]", std::string(length, 'x')));
  }
  constexpr std::size_t kCounts[] = {2, 3, 4, 30, 31, 40, 41};
  for (const std::size_t count : kCounts) {
    std::string numbers = "[1";
    std::string texts = "[\"a\"";
    std::string messages = R"([{"role":"user","content":"a"})";
    std::string tools = R"([{"function":{"name":"f"}})";
    for (std::size_t i = 1; i < count; ++i) {
      numbers += ",1";
      texts += ",\"a\"";
      messages += R"(,{"role":"user","content":"a"})";
      tools += R"(,{"function":{"name":"f"}})";
    }
    for (const std::string& list : {numbers, texts, messages, tools}) {
      all.push_back(list + "]");
    }
  }
  return all;
}

struct Api {
  const char* name;
  Schema schema;
  std::string body;  // that both accept
  std::function<MaybeError(const std::string& body)> read;
  // Members whose values depend on others, or on more than a schema can say: these the reader may refuse alone.
  std::set<std::string> more_checked;
};

std::vector<Api> apis(const RequestLimits& limits) {
  const auto error_of = [](const auto& result) { return result.ok() ? MaybeError() : MaybeError(result.error()); };
  return {
      {"completion",
       completion_schema(limits),
       R"({"prompt":"a"})",
       [=](const std::string& body) { return error_of(parse_completion_request(body, limits)); },
       // max_tokens: 0 needs `echo`; logit_bias: keys are token ids; stream_options: only in streams
       {"max_tokens", "logit_bias", "stream_options"}},
      {"chat",
       chat_schema(limits),
       R"({"messages":[{"role":"user","content":"a"}]})",
       [=](const std::string& body) { return error_of(parse_chat_request(body, limits)); },
       // messages: only an assistant's content may be missing; top_logprobs needs logprobs
       {"max_tokens", "max_completion_tokens", "logit_bias", "stream_options", "thinking_budget",
        "thinking_token_budget", "tool_choice", "tools", "top_logprobs", "messages"}},
      {"detokenize",
       detokenize_schema(limits),
       R"({"tokens":[1]})",
       [=](const std::string& body) { return error_of(parse_detokenize_request(body, limits)); },
       {}},
      {"corpus",
       corpus_request_schema(limits),
       R"({"name":"a","texts":["a"]})",
       [=](const std::string& body) { return error_of(parse_corpus_request(body, limits)); },
       {"tokens"}},  // or texts
  };
}

TEST_CASE("readers refuse what the schemas of their bodies rule out, and no more") {
  const RequestLimits limits = small_limits();
  const std::vector<std::string> values = candidates();
  for (const Api& api : apis(limits)) {
    REQUIRE_FALSE(api.read(api.body).has_value());
    REQUIRE_FALSE(api.schema.check(Json::parse(api.body), "").has_value());
    const std::vector<std::string> names = api.schema.member_names();
    REQUIRE(names.size() >= 3);
    std::set<std::string> stricter;
    for (const std::string& name : names) {
      std::size_t refused = 0;
      for (const std::string& value : values) {
        // The body's own text, so that numbers keep their digits.
        Json body = Json::parse(api.body);
        body.erase(name);
        const std::string rest = body.dump().substr(1);
        const std::string text = "{\"" + name + "\":" + value + (rest == "}" ? "" : ",") + rest;
        INFO(api.name << " " << text);
        const Result<Json> parsed = parse_json(text, limits);
        REQUIRE(parsed.ok());
        const MaybeError ruled_out = api.schema.check(parsed.value(), "");
        const MaybeError error = api.read(text);
        INFO((ruled_out ? ruled_out->message : "schema: allowed"));
        INFO((error ? error->message : "reader: allowed"));
        refused += ruled_out ? 1 : 0;
        if (ruled_out) {
          CHECK(error.has_value());
        } else if (error) {
          stricter.insert(name);
          CHECK(api.more_checked.count(name) == 1);
        }
      }
      const bool is_tested = refused > 0 || api.more_checked.count(name) == 1;
      CHECK(is_tested);
    }
    INFO(api.name);
    CHECK(stricter == api.more_checked);
  }
}

TEST_CASE("a body to be counted is a text or a conversation") {
  const RequestLimits limits = small_limits();
  JsonWriter out;
  tokenize_schema(limits).write(out, /*in_full=*/true);
  const Json written = Json::parse(out.take());
  REQUIRE(written["anyOf"].size() == 3);
  CHECK(written["anyOf"][0]["required"] == Json({"messages"}));
  CHECK(written["anyOf"][1]["required"] == Json({"prompt"}));
  CHECK(written["anyOf"][2]["required"] == Json({"content"}));
}

}  // namespace
}  // namespace coppice::openai
