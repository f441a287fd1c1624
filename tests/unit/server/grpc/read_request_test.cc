// A protobuf request is the HTTP request of the same fields: same values, same refusals.
#include "server/grpc/read_request.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "proto/openai/parse_request.h"
#include "proto/openai/request_fields.h"

namespace coppice::server {
namespace {

openai::RequestLimits small_limits() {
  openai::RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  limits.stop_bytes_max = 10;
  limits.messages_max = 3;
  limits.tools_max = 1;
  limits.name_bytes_max = 20;
  return limits;
}

v1::GenerateRequest completion() {
  v1::GenerateRequest request;
  request.set_text("hi");
  return request;
}

v1::ChatRequest chat() {
  v1::ChatRequest request;
  v1::ChatMessage& message = *request.add_messages();
  message.set_role("user");
  message.set_content("hi");
  return request;
}

template <typename Request>
std::string refusal(const Request& request) {
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  REQUIRE_FALSE(read.ok());
  CHECK(read.error().status == 400);
  return read.error().message;
}

std::string http_refusal(const std::string& body, bool is_chat = false) {
  const auto parsed = is_chat ? openai::parse_chat_request(body, small_limits())
                              : openai::parse_completion_request(body, small_limits());
  REQUIRE_FALSE(parsed.ok());
  return parsed.error().message;
}

TEST_CASE("every field of the tables is a field of SamplingParameters") {
  const google::protobuf::Descriptor& message = *v1::SamplingParameters::descriptor();
  base::SamplingChoices choices;
  base::for_each_sampling_knob(
      [&](const base::SamplingKnob& knob, const auto&) { CHECK(message.FindFieldByName(knob.name) != nullptr); },
      choices);
  openai::GenerationRequest request;
  openai::for_each_request_field(request, [&](const openai::RequestField& field, const auto&) {
    CHECK(message.FindFieldByName(field.proto_name) != nullptr);
  });
}

TEST_CASE("all fields of a completion arrive") {
  v1::GenerateRequest request = completion();
  request.set_model("m");
  request.set_echo(true);
  request.set_priority(-3);
  request.set_cache_salt("salt");
  request.set_user("u");
  request.set_prediction("so it goes");
  request.set_parse_special(false);
  request.set_add_special_tokens(false);
  request.set_continuous_usage(true);
  v1::SamplingParameters& sampling = *request.mutable_sampling();
  sampling.set_temperature(0.25F);
  sampling.set_top_k(5);
  sampling.set_top_p(0.5F);
  sampling.set_min_p(0.125F);
  sampling.set_repetition_penalty(1.5F);
  sampling.set_presence_penalty(-1.0F);
  sampling.set_frequency_penalty(0.75F);
  sampling.set_seed(-2);
  (*sampling.mutable_logit_bias())[7] = -1.5F;
  sampling.add_stop("end");
  sampling.add_stop_token_ids(9);
  sampling.set_max_tokens(12);
  sampling.set_min_tokens(3);
  sampling.set_ignore_eos(true);
  sampling.set_n(2);
  sampling.set_best_of(2);
  sampling.set_logprobs(4);
  sampling.set_include_stop(true);
  sampling.set_skip_special_tokens(false);
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  REQUIRE(read.ok());
  const openai::GenerationRequest& got = read.value();
  CHECK(got.kind == openai::RequestKind::kCompletion);
  CHECK(std::get<std::string>(got.prompts.at(0)) == "hi");
  CHECK(got.model == "m");
  CHECK(got.echo);
  CHECK(got.priority == -3);
  CHECK(got.cache_salt == "salt");
  CHECK(got.user == "u");
  CHECK(got.prediction == "so it goes");
  CHECK_FALSE(got.parse_special);
  CHECK(got.add_special_tokens == false);
  CHECK(got.continuous_usage);
  CHECK(got.sampling.temperature == 0.25);
  CHECK(got.sampling.top_k == 5);
  CHECK(got.sampling.top_p == 0.5);
  CHECK(got.sampling.min_p == 0.125);
  CHECK(got.sampling.repetition_penalty == 1.5);
  CHECK(got.sampling.presence_penalty == -1.0);
  CHECK(got.sampling.frequency_penalty == 0.75);
  CHECK(got.sampling.seed == static_cast<std::uint64_t>(-2));
  CHECK(got.sampling.logit_bias == std::vector<std::pair<std::int64_t, double>>{{7, -1.5}});
  CHECK(got.stop == std::vector<std::string>{"end"});
  CHECK(got.sampling.stop_token_ids == std::vector<std::int64_t>{9});
  CHECK(got.sampling.max_tokens == 12);
  CHECK(got.sampling.min_tokens == 3);
  CHECK(got.sampling.ignore_eos);
  CHECK(got.n == 2);
  CHECK(got.best_of == 2);
  CHECK(got.top_logprobs == 4);
  CHECK(got.include_stop_str_in_output);
  CHECK_FALSE(got.skip_special_tokens);
  CHECK(got.stream);
}

TEST_CASE("how a request is served is read as over HTTP") {
  v1::ChatRequest request = chat();
  request.mutable_messages(0)->set_prompt_cache_breakpoint(true);
  v1::ServiceOptions& service = *request.mutable_service();
  service.set_service_tier("fast");
  service.set_prompt_cache_key("k");
  service.mutable_prompt_cache_options()->set_ttl("10m");
  service.set_safety_identifier("s");
  service.set_verbosity("low");
  service.set_store(true);
  (*service.mutable_metadata())["a"] = "b";
  request.set_user("u");
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  REQUIRE(read.ok());
  const auto parsed = openai::parse_chat_request(
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"hi",
          "prompt_cache_breakpoint":{"mode":"explicit"}}]}],
          "service_tier":"fast","prompt_cache_key":"k","prompt_cache_options":{"ttl":"10m"},"safety_identifier":"s",
          "verbosity":"low","store":true,"metadata":{"a":"b"},"user":"u"})",
      small_limits());
  REQUIRE(parsed.ok());
  CHECK(read.value().service_tier == openai::ServiceTier::kPriority);
  CHECK(read.value().cache_breakpoints == parsed.value().cache_breakpoints);
  CHECK(read.value().cache_breakpoints.size() == 1);
  CHECK(read.value().cache_control.keeps_prompt == std::chrono::minutes(10));
  CHECK(read.value().ignored.header() == parsed.value().ignored.header());
  CHECK(*read.value().chat.messages == *parsed.value().chat.messages);
}

TEST_CASE("wrong words about service are refused with HTTP's words") {
  using Change = void (*)(v1::ServiceOptions&);
  const std::vector<std::pair<Change, std::string>> rows = {
      {[](v1::ServiceOptions& s) { s.set_service_tier("gold"); }, R"("service_tier":"gold")"},
      {[](v1::ServiceOptions& s) { s.set_verbosity(""); }, R"("verbosity":"")"},
      {[](v1::ServiceOptions& s) { s.set_prompt_cache_retention("1h"); }, R"("prompt_cache_retention":"1h")"},
      {[](v1::ServiceOptions& s) { s.set_safety_identifier(std::string(129, 'x')); },
       fmt::format(R"("safety_identifier":"{:x>129}")", "")},
      {[](v1::ServiceOptions& s) { s.mutable_prompt_cache_options()->set_mode("auto"); },
       R"("prompt_cache_options":{"mode":"auto"})"},
      {[](v1::ServiceOptions& s) { s.mutable_prompt_cache_options()->set_ttl("25h"); },
       R"("prompt_cache_options":{"ttl":"25h"})"},
      {[](v1::ServiceOptions& s) { (*s.mutable_metadata())[""] = std::string("x"); }, R"("metadata":{"":"x"})"},
  };
  for (const auto& [change, fields] : rows) {
    v1::GenerateRequest request = completion();
    change(*request.mutable_service());
    CHECK(refusal(request) == http_refusal(fmt::format(R"({{"prompt":"hi",{}}})", fields)));
  }
}

TEST_CASE("fields that are not set are not there") {
  const v1::GenerateRequest request = completion();
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  REQUIRE(read.ok());
  const openai::GenerationRequest& got = read.value();
  CHECK_FALSE(got.sampling.temperature.has_value());
  CHECK_FALSE(got.sampling.top_p.has_value());
  CHECK_FALSE(got.sampling.max_tokens.has_value());
  CHECK_FALSE(got.sampling.seed.has_value());
  CHECK_FALSE(got.top_logprobs.has_value());
  CHECK_FALSE(got.best_of.has_value());
  CHECK_FALSE(got.prediction.has_value());
  CHECK(got.suffix.empty());
  CHECK(got.parse_special);
  CHECK_FALSE(got.add_special_tokens.has_value());
  CHECK_FALSE(got.continuous_usage);
  CHECK(got.n == 1);
  CHECK(got.skip_special_tokens);
}

TEST_CASE("numbers beyond their bounds are refused with the words of HTTP") {
  v1::GenerateRequest request = completion();
  request.mutable_sampling()->set_temperature(-0.5F);
  CHECK(refusal(request) == http_refusal(R"({"prompt":"hi","temperature":-0.5})"));
  request = completion();
  request.mutable_sampling()->set_top_k(101);
  CHECK(refusal(request) == http_refusal(R"({"prompt":"hi","top_k":101})"));
  request = completion();
  request.mutable_sampling()->set_max_tokens(0);
  CHECK(refusal(request) == http_refusal(R"({"prompt":"hi","max_tokens":0})"));
  request = completion();
  request.mutable_sampling()->set_logprobs(-1);
  CHECK(refusal(request) == http_refusal(R"({"prompt":"hi","logprobs":-1})"));
  request = completion();
  (*request.mutable_sampling()->mutable_logit_bias())[100] = 1;
  CHECK(refusal(request) == http_refusal(R"({"prompt":"hi","logit_bias":{"100":1}})"));
  request = completion();
  request.mutable_sampling()->add_stop("");
  CHECK(refusal(request) == http_refusal(R"({"prompt":"hi","stop":[""]})"));
  v1::ChatRequest conversation = chat();
  conversation.mutable_sampling()->set_max_tokens(0);
  CHECK(refusal(conversation) == http_refusal(R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":0})", true));
  conversation = chat();
  conversation.mutable_sampling()->set_logprobs(21);
  CHECK(refusal(conversation) ==
        http_refusal(R"({"messages":[{"role":"user","content":"hi"}],"logprobs":true,"top_logprobs":21})", true));
}

TEST_CASE("numbers that JSON cannot spell are refused, not ignored") {
  v1::GenerateRequest request = completion();
  request.mutable_sampling()->set_temperature(std::numeric_limits<float>::quiet_NaN());
  CHECK(refusal(request) == "'temperature' must be from 0 to 100; got nan");
  request = completion();
  request.mutable_sampling()->set_top_p(std::numeric_limits<float>::infinity());
  CHECK(refusal(request) == "'top_p' must be from 0 to 1; got inf");
  request = completion();
  (*request.mutable_sampling()->mutable_logit_bias())[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(refusal(request) == "'logit_bias' of token 7 must be from -100 to 100; got nan");
}

TEST_CASE("prompts are text or tokens, and something") {
  CHECK(refusal(v1::GenerateRequest()) == http_refusal("{}"));
  v1::GenerateRequest request;
  request.mutable_token_ids();
  CHECK(refusal(request) == http_refusal(R"({"prompt":[]})"));
  request.mutable_token_ids()->add_ids(3);
  request.mutable_token_ids()->add_ids(4);
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  REQUIRE(read.ok());
  CHECK(std::get<std::vector<TokenId>>(read.value().prompts.at(0)) == std::vector<TokenId>{3, 4});
  request.mutable_token_ids()->add_ids(100);
  CHECK(refusal(request) == http_refusal(R"({"prompt":[3,4,100]})"));
  request.mutable_token_ids()->set_ids(2, -1);
  CHECK(refusal(request) == http_refusal(R"({"prompt":[3,4,-1]})"));
}

TEST_CASE("a conversation is the one that HTTP reads") {
  v1::ChatRequest request = chat();
  v1::ChatMessage& call = *request.add_messages();
  call.set_role("assistant");
  call.set_tool_calls_json(R"([{"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}])");
  v1::ChatMessage& result = *request.add_messages();
  result.set_role("tool");
  result.set_content("2");
  result.set_tool_call_id("call_1");
  request.set_tools_json(R"([{"type":"function","function":{"name":"f"}}])");
  request.set_chat_template_arguments_json(R"({"thinking":true})");
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  REQUIRE(read.ok());
  const openai::ChatFields& got = read.value().chat;
  const auto http = openai::parse_chat_request(
      R"({"messages":[{"role":"user","content":"hi"},
                      {"role":"assistant","content":"","tool_calls":
                         [{"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
                      {"role":"tool","content":"2","tool_call_id":"call_1"}],
          "tools":[{"type":"function","function":{"name":"f"}}],"chat_template_kwargs":{"thinking":true}})",
      small_limits());
  REQUIRE(http.ok());
  CHECK(*got.messages == *http.value().chat.messages);
  CHECK(*got.tools == *http.value().chat.tools);
  CHECK(*got.template_kwargs == *http.value().chat.template_kwargs);
  CHECK(got.add_generation_prompt);
}

TEST_CASE("the text behind the answer, and what goes on where the last message ends") {
  v1::GenerateRequest between = completion();
  between.set_suffix("after");
  CHECK(from_proto(between, small_limits()).value().suffix == "after");
  between.set_echo(true);
  CHECK(refusal(between) == http_refusal(R"({"prompt":"hi","suffix":"after","echo":true})"));

  v1::ChatRequest request = chat();
  v1::ChatMessage& begun = *request.add_messages();
  begun.set_role("assistant");
  begun.set_content("so ");
  begun.set_reasoning("hm");
  request.set_add_generation_prompt(false);
  request.set_continue_final_message(true);
  request.set_chat_template("rag");
  const openai::Result<openai::GenerationRequest> read = from_proto(request, small_limits());
  const auto http = openai::parse_chat_request(
      R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"so ","reasoning":"hm"}],
          "add_generation_prompt":false,"continue_final_message":true,"chat_template":"rag"})",
      small_limits());
  REQUIRE(read.ok());
  REQUIRE(http.ok());
  CHECK(*read.value().chat.messages == *http.value().chat.messages);
  CHECK(read.value().chat.continue_final_message);
  CHECK_FALSE(read.value().chat.add_generation_prompt);
  CHECK(read.value().chat.template_name == http.value().chat.template_name);
  request.set_add_generation_prompt(true);
  CHECK(refusal(request) == http_refusal(R"({"messages":[{"role":"user","content":"hi"}],
                                             "add_generation_prompt":true,"continue_final_message":true})",
                                         true));
}

TEST_CASE("conversations are refused with the words of HTTP") {
  CHECK(refusal(v1::ChatRequest()) == http_refusal(R"({"messages":[]})", true));
  v1::ChatRequest request = chat();
  request.mutable_messages(0)->clear_role();
  CHECK(refusal(request) == http_refusal(R"({"messages":[{"role":"","content":"hi"}]})", true));
  request = chat();
  request.set_tools_json(R"([{"type":"function"}])");
  CHECK(refusal(request) == http_refusal(R"({"messages":[{"role":"user","content":"hi"}],"tools":[{}]})", true));
  request = chat();
  request.set_chat_template_arguments_json("3");
  CHECK(refusal(request) ==
        http_refusal(R"({"messages":[{"role":"user","content":"hi"}],"chat_template_kwargs":3})", true));
}

TEST_CASE("fields of JSON text hold JSON, and no deeper than a body may") {
  v1::ChatRequest request = chat();
  request.set_tools_json("[{");
  CHECK_THAT(refusal(request), Catch::StartsWith("'tools_json' is not valid JSON: byte "));
  request.set_tools_json("");
  request.mutable_messages(0)->set_tool_calls_json("no");
  CHECK_THAT(refusal(request), Catch::StartsWith("'tool_calls_json' is not valid JSON: byte "));
  // So deep that a parser or writer that recurses would leave its stack.
  constexpr std::size_t kDepth = 1'000'000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  request.mutable_messages(0)->set_tool_calls_json(deep);
  CHECK_THAT(refusal(request), Catch::Contains("nested deeper"));
  request.mutable_messages(0)->clear_tool_calls_json();
  request.set_tools_json(deep);
  CHECK_THAT(refusal(request), Catch::Contains("'tools_json' refused") && Catch::Contains("nested deeper"));
}

TEST_CASE("the JSON texts of a request together have the bounds of one body") {
  openai::RequestLimits limits = small_limits();
  limits.json_values_max = 50;
  v1::ChatRequest request = chat();
  request.set_chat_template_arguments_json(R"({"a":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]})");
  CHECK(from_proto(request, limits).ok());
  for (int i = 0; i < 2; ++i) {
    v1::ChatMessage& call = *request.add_messages();
    call.set_role("assistant");
    call.set_tool_calls_json(R"([{"type":"function","function":{"name":"f","arguments":"{}"}},
                                 {"type":"function","function":{"name":"f","arguments":"{}"}},
                                 {"type":"function","function":{"name":"f","arguments":"{}"}}])");
  }
  const openai::Result<openai::GenerationRequest> read = from_proto(request, limits);
  REQUIRE_FALSE(read.ok());
  CHECK_THAT(read.error().message, Catch::Contains("JSON values"));
}

TEST_CASE("what a stream can say about its prompt is allowed, what it cannot is refused") {
  v1::GenerateRequest request = completion();
  request.mutable_sampling()->set_prompt_logprobs(2);
  CHECK(from_proto(request, small_limits()).ok());
  request.mutable_sampling()->set_best_of(2);
  CHECK_THAT(refusal(request), Catch::StartsWith("'best_of' must not be larger than 'n': answers over gRPC"));
}

}  // namespace
}  // namespace coppice::server
