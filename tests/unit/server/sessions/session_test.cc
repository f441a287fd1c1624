// Sessions over a scripted engine: what is submitted, what comes out, and that a client that leaves cancels.
#include "server/sessions/session.h"

#include <catch2/catch.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/server/sessions/session_world.h"

namespace coppice::server {
namespace {

using engine::FinishReason;

TEST_CASE("a completion from prompt to usage") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a b","max_tokens":3,"temperature":0})").has_value());
  REQUIRE(world.engine.requests.size() == 1);
  const engine::Request& request = world.engine.requests[0];
  CHECK(request.prompt == std::vector<TokenId>{0, 2, 5, 3});
  CHECK(request.sampling.max_tokens == 3);
  CHECK(request.sampling.temperature == 0);
  CHECK(request.choices == 1);
  world.engine.send_tokens(0, 0, {4});
  world.engine.send_tokens(0, 0, {5, 6}, FinishReason::kLength);
  CHECK(world.wakes == 1);
  world.hub.dispatch();
  CHECK(world.sink.deltas.empty());
  REQUIRE(world.sink.answer.has_value());
  const openai::Answer& answer = *world.sink.answer;
  REQUIRE(answer.choices.size() == 1);
  CHECK(text_of(answer.choices[0]).text == "c d");
  CHECK(finish_of(answer.choices[0]).reason == openai::FinishReason::kLength);
  CHECK(answer.usage.prompt_tokens == 4);
  CHECK(answer.usage.completion_tokens == 3);
  CHECK(answer.usage.cached_tokens == 1);
  CHECK(answer.usage.accepted_prediction_tokens == 0);
  CHECK(answer.usage.rejected_prediction_tokens == 0);
  CHECK(answer.speculation.drafted_tokens == 5);
  CHECK(answer.speculation.accepted_tokens == 2);
  CHECK(world.sink.flushes == 1);
  CHECK(world.sink.known.size() == 1);
  CHECK(world.sink.known[0].prompt_tokens == 4);
  CHECK(world.session->ended());
  CHECK(world.hub.size() == 0);
  world.session.reset();
  CHECK(world.engine.cancelled.empty());
}

TEST_CASE("the end token's text is not part of the answer, a stop token is named") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a","stop_token_ids":[6],"n":2,"return_token_ids":true})").has_value());
  world.engine.send_tokens(0, 0, {4, 6}, FinishReason::kStop);
  world.engine.send_tokens(0, 1, {4, 1}, FinishReason::kStop);
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  const auto& choices = world.sink.answer->choices;
  CHECK(text_of(choices[0]).text == "c");
  CHECK(finish_of(choices[0]).reason == openai::FinishReason::kStop);
  CHECK(std::get<TokenId>(finish_of(choices[0]).cause) == 6);
  CHECK(finish_of(choices[0]).end_token == 6);
  CHECK(choices[0].token_ids == std::vector<TokenId>{4, 6});
  CHECK(text_of(choices[1]).text == "c");
  CHECK(std::holds_alternative<std::monostate>(finish_of(choices[1]).cause));
  CHECK(world.sink.answer->usage.completion_tokens == 4);
  CHECK(world.sink.answer->usage.prompt_tokens == 2);
}

TEST_CASE("a stop string across tokens cancels its choice only; later tokens change nothing") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a","stop":"c d","n":2,"max_tokens":10})").has_value());
  world.engine.send_tokens(0, 0, {3, 4, 5});
  world.hub.dispatch();
  CHECK(world.engine.cancelled.empty());
  world.engine.send_tokens(0, 0, {6, 2});  // "d" completes the stop string; "a" was drawn in the same step
  world.hub.dispatch();
  const engine::RequestId id = world.engine.requests[0].id;
  REQUIRE(world.engine.cancelled == std::vector<std::pair<engine::RequestId, std::int32_t>>{{id, 0}});
  world.engine.send_tokens(0, 0, {3, 3});  // already under way
  world.engine.send_tokens(0, 0, {}, FinishReason::kCancelled);
  world.engine.send_tokens(0, 1, {4}, FinishReason::kLength);
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  const auto& choices = world.sink.answer->choices;
  CHECK(text_of(choices[0]).text == "b");
  CHECK(finish_of(choices[0]).reason == openai::FinishReason::kStop);
  CHECK(std::get<std::string>(finish_of(choices[0]).cause) == "c d");
  CHECK(text_of(choices[1]).text == "c");
  CHECK(world.sink.answer->usage.completion_tokens == 4 + 1);
  CHECK_THAT(world.metric("finished_reason=\"stop\""), Catch::EndsWith(" 1"));
}

TEST_CASE("a stream: deltas as they come, the end with its reason, usage last") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":["a","b"],"stream":true,"n":2,"max_tokens":4,"stop":"cc"})").has_value());
  REQUIRE(world.engine.requests.size() == 2);
  world.engine.send_tokens(0, 0, {2});
  world.engine.send_tokens(1, 1, {4});  // may be the beginning of "cc": held back
  world.hub.dispatch();
  REQUIRE(world.sink.deltas.size() == 1);
  CHECK(world.sink.deltas[0].index == 0);
  CHECK(text_of(world.sink.deltas[0]).text == "a");
  CHECK(world.sink.flushes == 1);
  world.engine.send_tokens(1, 1, {3}, FinishReason::kLength);
  world.hub.dispatch();
  CHECK(world.sink.text(3) == "cb");
  CHECK(finish_of(world.sink.deltas.back()).reason == openai::FinishReason::kLength);
  world.engine.send_tokens(0, 0, {2}, FinishReason::kLength);
  world.engine.send_tokens(0, 1, {2}, FinishReason::kLength);
  world.engine.send_tokens(1, 0, {2}, FinishReason::kLength);
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  CHECK(world.sink.answer->choices.empty());
  CHECK(world.sink.answer->usage.prompt_tokens == 4);
  CHECK(world.sink.answer->usage.completion_tokens == 6);
  CHECK(world.sink.text(0) == "aa");
}

TEST_CASE("echo repeats the prompt, with its logprobs when asked for") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a b","echo":true,"logprobs":0,"max_tokens":1})").has_value());
  CHECK(world.engine.requests[0].sampling.prompt_logprobs == 0);
  CHECK(world.engine.requests[0].sampling.top_logprobs == 0);
  engine::Event event;
  for (const TokenId token : {2, 5, 3}) {
    engine::TokenInfo info;
    info.token = token;
    info.logprob = -static_cast<float>(token);
    event.prompt.push_back(info);
  }
  engine::TokenInfo drawn;
  drawn.token = 4;
  drawn.logprob = -0.5F;
  event.tokens = {drawn};
  event.finish = FinishReason::kLength;
  world.engine.send(0, std::move(event));
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  const openai::TextDelta choice = text_of(world.sink.answer->choices[0]);
  CHECK(choice.text == "a bc");
  REQUIRE(choice.tokens.size() == 5);
  CHECK_FALSE(choice.tokens[0].logprob.has_value());
  CHECK(choice.tokens[3].logprob == -3.0F);
  CHECK(choice.tokens[4].logprob == -0.5F);
  CHECK(choice.tokens[4].text_offset == 3);
  CHECK(choice.tokens[3].text_offset == 2);
}

TEST_CASE("echo with nothing to generate: the engine scores the prompt and draws nothing") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"ab","echo":true,"max_tokens":0,"stream":true})").has_value());
  CHECK(world.engine.requests[0].sampling.max_tokens == 0);
  world.engine.send_tokens(0, 0, {}, FinishReason::kLength);
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  CHECK(world.sink.text(0) == "ab");
  CHECK(finish_of(world.sink.deltas.back()).reason == openai::FinishReason::kLength);
  CHECK(world.sink.answer->usage.completion_tokens == 0);
}

TEST_CASE("best_of gives the likeliest choices, best first") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a","best_of":3,"n":2,"max_tokens":2})").has_value());
  CHECK(world.engine.requests[0].choices == 3);
  CHECK(world.engine.requests[0].sampling.top_logprobs == 0);
  world.engine.send_tokens(0, 0, {6, 6}, FinishReason::kLength);  // -0.6
  world.engine.send_tokens(0, 1, {2, 3}, FinishReason::kLength);  // -0.25
  world.engine.send_tokens(0, 2, {4, 4}, FinishReason::kLength);  // -0.4
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  const auto& choices = world.sink.answer->choices;
  REQUIRE(choices.size() == 2);
  CHECK(text_of(choices[0]).text == "ab");
  CHECK(choices[0].index == 0);
  CHECK(text_of(choices[1]).text == "cc");
  CHECK(choices[1].index == 1);
  CHECK(world.sink.answer->usage.completion_tokens == 6);  // what was generated, not what was chosen
}

TEST_CASE("prompt logprobs come back one list a prompt") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":["a","b"],"prompt_logprobs":0,"max_tokens":1})").has_value());
  for (std::size_t i = 0; i < 2; ++i) {
    engine::Event event;
    engine::TokenInfo info;
    info.token = static_cast<TokenId>(2 + i);
    info.logprob = -0.5F;
    event.prompt = {info};
    event.tokens = {info};
    event.finish = FinishReason::kLength;
    world.engine.send(i, std::move(event));
  }
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  REQUIRE(world.sink.answer->prompt_scores.size() == 2);
  REQUIRE(world.sink.answer->prompt_scores[1].size() == 2);
  CHECK_FALSE(world.sink.answer->prompt_scores[1][0].logprob.has_value());
  CHECK(world.sink.answer->prompt_scores[1][1].token == 3);
}

TEST_CASE("refusals before anything is submitted") {
  World world;
  const auto refused = [&world](const std::string& body) {
    const openai::MaybeError error = world.start(body);
    REQUIRE(error.has_value());
    CHECK(world.engine.requests.empty());
    CHECK(world.hub.size() == 0);
    return *error;
  };
  CHECK(refused(R"({"prompt":"a","model":"other"})").status == 404);
  const openai::ApiError too_long = refused(R"({"prompt":"aaaaaaaaaaaaaaaaaaaaaaaaa"})");
  CHECK(too_long.code == "context_length_exceeded");
  CHECK(too_long.param == "prompt");
  CHECK_THAT(too_long.message, Catch::Contains("26 tokens") && Catch::Contains("20 tokens"));
  const openai::ApiError no_room = refused(R"({"prompt":"aaaaaaaaaa","max_tokens":10})");
  CHECK(no_room.param == "max_tokens");
  CHECK_THAT(no_room.message, Catch::Contains("you requested 21 tokens (11 in the prompt, 10 in the completion)"));
  CHECK(refused(R"({"prompt":"","add_special_tokens":false})").param == "prompt");
  CHECK(refused(R"({"prompt":["a","?"]})").param == "prompt");
  CHECK(world.engine.cancelled.empty());
}

TEST_CASE("the default length ends with the context") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"aaaaaaaaa"})").has_value());
  CHECK(world.engine.requests[0].sampling.max_tokens == 10);
}

TEST_CASE("a full queue refuses the whole request, also where it has room for a part of it") {
  World world;
  world.engine.accepts_max = 1;
  const openai::MaybeError error = world.start(R"({"prompt":["a","b"]})");
  REQUIRE(error.has_value());
  CHECK(error->status == 429);
  CHECK(error->retry_after_s > 0);
  CHECK(world.engine.requests.empty());
  CHECK(world.engine.cancelled.empty());
  CHECK(world.hub.size() == 0);
}

TEST_CASE("what is too much and for how long is told in words for programs, and counted") {
  using engine::OverloadReason;
  struct Row {
    OverloadReason reason;
    std::chrono::milliseconds lasts;
    const char* code;
    int retry_after_s;
  };
  for (const Row& row :
       {Row{OverloadReason::kQueue, std::chrono::milliseconds(0), "queue_full", 1},
        Row{OverloadReason::kQueue, std::chrono::milliseconds(2500), "queue_full", 3},
        Row{OverloadReason::kKv, std::chrono::milliseconds(7000), "kv_full", 7},
        Row{OverloadReason::kDeadline, std::chrono::milliseconds(3'600'000), "deadline_unreachable", 60}}) {
    INFO(row.code);
    World world;
    world.engine.overload = {row.reason, row.lasts};
    const openai::MaybeError error = world.start(R"({"prompt":"a"})");
    REQUIRE(error.has_value());
    CHECK(error->status == 429);
    CHECK(error->code == row.code);
    CHECK(error->retry_after_s == row.retry_after_s);
    const std::string line = "vllm:admission_rejections_total{engine=\"0\",model_name=\"m\",reason=\"";
    CHECK_THAT(world.metric(line + row.code), Catch::EndsWith(" 1"));
    CHECK(world.hub.size() == 0);
  }
}

TEST_CASE("a sequence that the KV memory cannot hold is an overload, not a bug") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a"})").has_value());
  engine::Event event;
  event.finish = FinishReason::kError;
  event.fault = engine::Fault::kMemory;
  event.error = "no room";
  world.engine.send(0, std::move(event));
  world.hub.dispatch();
  REQUIRE(world.sink.error.has_value());
  CHECK(world.sink.error->status == 429);
  CHECK(world.sink.error->code == "kv_full");
}

TEST_CASE("the sooner of the client's deadline and the server's counts") {
  for (const int server_ms : {0, 100, 10'000}) {
    World world;
    world.host.request_timeout = std::chrono::milliseconds(server_ms);
    const auto arrival = ModelHost::TimePoint(std::chrono::seconds(50));
    const auto of_client = arrival + std::chrono::milliseconds(500);
    CHECK(world.host.deadline(arrival, of_client) == arrival + std::chrono::milliseconds(server_ms == 100 ? 100 : 500));
    CHECK(world.host.deadline(arrival, std::nullopt).has_value() == (server_ms > 0));
  }
}

TEST_CASE("a session that is destroyed early cancels; later events are dropped") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":["a","b"],"stream":true})").has_value());
  world.engine.send_tokens(0, 0, {2}, FinishReason::kLength);
  world.hub.dispatch();
  world.session.reset();
  REQUIRE(world.engine.cancelled.size() == 1);
  CHECK(world.engine.cancelled[0].first == world.engine.requests[1].id);
  world.engine.send_tokens(1, 0, {2});
  world.hub.dispatch();
  CHECK(world.sink.deltas.size() == 1);
  CHECK_THAT(world.metric("finished_reason=\"abort\""), Catch::EndsWith(" 1"));
  CHECK_THAT(world.metric("finished_reason=\"length\""), Catch::EndsWith(" 1"));
}

TEST_CASE("tool calls: streamed and whole answers have the same items, ids are never given twice") {
  World world;
  world.host.tokenizer = std::make_unique<text::TestTokenizer>(
      std::vector<std::string>{"Hm. ", "<tool_call>", R"({"name":"f",)", R"("arguments":{}})", "</tool_call>"});
  text::TokenizerConfig config;
  config.chat_templates = {{"default", "Hm. "}};
  world.host.prompter = ChatPrompter::create(config, *world.host.tokenizer).value();
  world.host.output_rules =
      OutputRules(*find_tool_format("hermes"), *find_reasoning_format("none"), *world.host.tokenizer);
  std::vector<std::string> ids;
  for (const bool is_stream : {false, true}) {
    openai::GenerationRequest request;
    request.kind = openai::RequestKind::kChat;
    request.chat.messages =
        std::make_shared<const openai::Json>(openai::Json::parse(R"([{"role":"user","content":"hi"}])"));
    request.chat.tools =
        std::make_shared<const openai::Json>(openai::Json::parse(R"([{"type":"function","function":{"name":"f"}}])"));
    request.chat.has_tools = true;
    request.stream = is_stream;
    request.top_logprobs = 0;
    world.sink = {};
    world.session = std::make_unique<Session>(world.host, world.hub, world.sink);
    REQUIRE_FALSE(world.session->start(std::move(request), "").has_value());
    const std::size_t number = world.engine.requests.size() - 1;
    for (const TokenId token : {2, 3, 4, 5, 6}) {
      world.engine.send_tokens(number, 0, {token});
      world.hub.dispatch();
    }
    world.engine.send_tokens(number, 0, {1}, FinishReason::kStop);
    world.hub.dispatch();
    REQUIRE(world.sink.answer.has_value());
    // Text, name, arguments, the token of the end mark, the end.
    CHECK(world.sink.deltas.size() == (is_stream ? 5U : 0U));
    std::vector<openai::OutputItem> items;
    for (const auto& part : is_stream ? world.sink.deltas : world.sink.answer->choices) {
      for (const openai::OutputItem& item : part.items) {
        append_item(items, item);
      }
    }
    REQUIRE(items.size() == 4);
    CHECK(std::get<openai::TextDelta>(items[0]).text == "Hm. ");
    CHECK(std::get<openai::TextDelta>(items[0]).tokens.size() == 1);
    const auto& begin = std::get<openai::ToolCallBegin>(items[1]);
    CHECK(begin.name == "f");
    CHECK(begin.tokens.size() == 2);
    CHECK(std::get<openai::ToolArgumentsDelta>(items[2]).text == "{}");
    CHECK(std::get<openai::ToolArgumentsDelta>(items[2]).tokens.size() == 2);
    CHECK(std::get<openai::Finish>(items[3]).reason == openai::FinishReason::kToolCalls);
    ids.push_back(begin.id);
  }
  CHECK(ids[0] != ids[1]);
}

TEST_CASE("failures of the engine reach the client with the right status and end everything") {
  struct Row {
    FinishReason finish;
    engine::Fault fault;
    int status;
  };
  for (const Row& row :
       {Row{FinishReason::kError, engine::Fault::kEngine, 500}, Row{FinishReason::kError, engine::Fault::kRequest, 400},
        Row{FinishReason::kError, engine::Fault::kModel, 500},
        Row{FinishReason::kDeadline, engine::Fault::kEngine, 408},
        Row{FinishReason::kCancelled, engine::Fault::kEngine, 503}}) {
    World world;
    REQUIRE_FALSE(world.start(R"({"prompt":"a","n":2})").has_value());
    engine::Event event;
    event.finish = row.finish;
    event.fault = row.fault;
    event.error = "why";
    world.engine.send(0, std::move(event));
    world.engine.send_tokens(0, 1, {2});
    world.hub.dispatch();
    REQUIRE(world.sink.error.has_value());
    CHECK(world.sink.error->status == row.status);
    CHECK_FALSE(world.sink.answer.has_value());
    CHECK(world.sink.deltas.empty());
    CHECK(world.engine.cancelled.size() == 1);
    CHECK(world.hub.size() == 0);
  }
}

TEST_CASE("a shutdown ends every session with its error, once") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":["a","b"],"stream":true})").has_value());
  world.hub.abort_all(openai::unavailable("draining", "bye", 1));
  REQUIRE(world.sink.error.has_value());
  CHECK(world.sink.error->code == "draining");
  CHECK(world.sink.flushes == 1);
  CHECK(world.engine.cancelled.size() == 2);
  CHECK(world.hub.size() == 0);
}

TEST_CASE("fields map to the engine's") {
  World world;
  world.host.defaults.sampling.temperature = 0.6;
  world.host.defaults.sampling.top_p = 0.9;
  world.host.request_timeout = std::chrono::milliseconds(5000);
  const auto before = std::chrono::steady_clock::now();
  REQUIRE_FALSE(world
                    .start(R"({"prompt":[3,2],"top_p":0,"top_k":-1,"seed":7,"logit_bias":{"3":-1.5},"min_tokens":2,
                               "priority":-4,"cache_salt":"s","prediction":{"type":"content","content":"ab"},
                               "logprobs":2,"ignore_eos":true})",
                           "key3")
                    .has_value());
  const engine::Request& request = world.engine.requests[0];
  CHECK(request.prompt == std::vector<TokenId>{3, 2});
  CHECK(request.sampling.temperature == 0.6F);  // the model's default
  CHECK(request.sampling.top_p > 0);            // the request's, made usable
  CHECK(request.sampling.top_p < 1e-5);
  CHECK(request.sampling.top_k == 0);
  CHECK(request.sampling.seed == 7U);
  CHECK(request.sampling.logit_bias[0].bias == -1.5F);
  CHECK(request.sampling.min_tokens == 2);
  CHECK(request.sampling.top_logprobs == 2);
  CHECK(request.sampling.prompt_logprobs == -1);
  CHECK(request.sampling.ignore_eos);
  CHECK(request.priority == -4);
  CHECK(request.tenant == "key3|s");
  CHECK(request.prediction == std::vector<TokenId>{2, 3});
  REQUIRE(request.deadline.has_value());
  CHECK(*request.deadline >= before + std::chrono::seconds(5));
  CHECK(*request.deadline <= std::chrono::steady_clock::now() + std::chrono::seconds(5));
}

TEST_CASE("tenants: a salt never reaches over to another key's") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a"})", "key1").has_value());
  REQUIRE_FALSE(world.start(R"({"prompt":"a"})").has_value());
  REQUIRE_FALSE(world.start(R"({"prompt":"a","cache_salt":"key1"})").has_value());
  CHECK(world.engine.requests[0].tenant == "key1");
  CHECK(world.engine.requests[1].tenant.empty());
  CHECK(world.engine.requests[2].tenant == "|key1");
}

TEST_CASE("temperatures too small to divide by mean greedy") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a","temperature":1e-9})").has_value());
  CHECK(world.engine.requests[0].sampling.temperature == 0);
}

}  // namespace
}  // namespace coppice::server
