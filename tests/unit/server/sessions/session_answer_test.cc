// What an answer says of itself: usage, lengths, the text at its seam with the prompt, its numbers in the metrics.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/server/sessions/session_world.h"

namespace coppice::server {
namespace {

using engine::FinishReason;

TEST_CASE("usage counts the request's own prediction; speculation has figures of its own") {
  World world;
  REQUIRE_FALSE(world
                    .start(R"({"prompt":"a","max_tokens":4,"n":2,
                              "prediction":{"type":"content","content":"bcd"}})")
                    .has_value());
  world.engine.send_tokens(0, 0, {3, 4, 2, 2}, FinishReason::kLength);  // "bc" of "bcd"
  world.engine.send_tokens(0, 1, {2, 4, 6, 2}, FinishReason::kLength);  // "cd"
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  CHECK(world.sink.answer->usage.accepted_prediction_tokens == 4);
  CHECK(world.sink.answer->usage.rejected_prediction_tokens == 2);
  CHECK(world.sink.answer->speculation.drafted_tokens == 10);
  CHECK(world.sink.answer->speculation.accepted_tokens == 4);
}

TEST_CASE("the model's recommended length: a chat's default, the most of a completion's") {
  World world;
  world.host.request_limits.model_tokens_max = 100;
  world.host.defaults.max_tokens = 40;
  REQUIRE_FALSE(world.start(R"({"prompt":"a"})").has_value());
  CHECK(world.engine.requests.back().sampling.max_tokens == 16);
  world.host.defaults.max_tokens = 7;
  REQUIRE_FALSE(world.start(R"({"prompt":"a"})").has_value());
  CHECK(world.engine.requests.back().sampling.max_tokens == 7);
  REQUIRE_FALSE(world.start(R"({"prompt":"a","max_tokens":9})").has_value());
  CHECK(world.engine.requests.back().sampling.max_tokens == 9);
  for (const std::int64_t recommended : {40, 7, 1000}) {
    world.host.defaults.max_tokens = recommended;
    openai::GenerationRequest chat;
    chat.kind = openai::RequestKind::kChat;
    PreparedRequest prepared;
    prepared.request = chat;
    prepared.prompts.push_back({{0, 2}, "", false, {}});
    Session session(world.host, world.hub, world.sink);
    REQUIRE_FALSE(session.start(std::move(prepared), "").has_value());
    CHECK(world.engine.requests.back().sampling.max_tokens == std::min<std::int64_t>(recommended, 98));
  }
}

TEST_CASE("half a character at a prompt's end is no part of the answer; an echo has it once") {
  World world;
  world.host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "\xC3", "\xA9"});
  world.host.request_limits.vocab = 5;
  const auto answer = [&world](const std::string& fields, const std::vector<TokenId>& tokens) {
    world.sink = {};
    REQUIRE_FALSE(world.start(R"({"prompt":[2,3],"max_tokens":1,"logprobs":0)" + fields + "}").has_value());
    world.engine.send_tokens(world.engine.requests.size() - 1, 0, tokens, FinishReason::kLength);
    world.hub.dispatch();
    REQUIRE(world.sink.answer.has_value());
    return text_of(world.sink.answer->choices[0]);
  };
  CHECK(answer("", {2}).text == "a");
  CHECK(answer("", {2}).tokens[0].text_offset == 0);
  CHECK(answer("", {4}).text == "\xC3\xA9");
  CHECK(answer(R"(,"echo":true)", {4}).text == "a\xC3\xA9");
  CHECK(answer(R"(,"echo":true)", {2}).text ==
        "a\xEF\xBF\xBD"
        "a");
}

TEST_CASE("the usage so far comes with every delta") {
  World world;
  REQUIRE_FALSE(world
                    .start(R"({"prompt":"a b","stream":true,"n":2,"max_tokens":4,
                              "stream_options":{"continuous_usage_stats":true}})")
                    .has_value());
  world.engine.send_tokens(0, 0, {2, 3});
  world.engine.send_tokens(0, 1, {2});
  world.hub.dispatch();
  REQUIRE(world.sink.deltas.size() == 2);
  CHECK(world.sink.deltas[0].so_far.prompt_tokens == 4);
  CHECK(world.sink.deltas[0].so_far.completion_tokens == 2);
  CHECK(world.sink.deltas[1].so_far.completion_tokens == 3);
}

TEST_CASE("the metrics of a request: how long it waited, what it asked for, and that its times add up") {
  World world;
  REQUIRE_FALSE(world.start(R"({"prompt":"a b","max_tokens":3,"n":2,"ignore_eos":true})").has_value());
  constexpr std::uint64_t kQueuedNs = 500'000;
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // more than it waited: the rest is prefill
  for (const std::int32_t choice : {0, 1}) {
    engine::Event event;
    event.choice = choice;
    event.tokens = {{4, 0, {}}, {5, 0, {}}, {6, 0, {}}};
    event.finish = engine::FinishReason::kLength;
    event.queued_ns = kQueuedNs + static_cast<std::uint64_t>(choice) * 1'000'000'000;  // that of the first event counts
    world.engine.send(0, std::move(event));
    world.hub.dispatch();
  }
  REQUIRE(world.sink.answer.has_value());
  const auto sum = [&world](const std::string& name) {
    const std::string line = world.metric(name + "_sum{");
    CHECK_THAT(world.metric(name + "_count{"), Catch::EndsWith(" 1"));
    return std::stod(line.substr(line.rfind(' ') + 1));
  };
  CHECK(sum("vllm:request_queue_time_seconds") == Approx(0.0005));
  const double prefill_s = sum("vllm:request_prefill_time_seconds");
  const double decode_s = sum("vllm:request_decode_time_seconds");
  CHECK(prefill_s >= 0.0015);
  CHECK(decode_s > 0);
  CHECK(sum("vllm:request_inference_time_seconds") == Approx(prefill_s + decode_s));
  CHECK(sum("vllm:e2e_request_latency_seconds") == Approx(sum("vllm:time_to_first_token_seconds") + decode_s));
  CHECK(sum("vllm:e2e_request_latency_seconds") >= 0.0005 + prefill_s + decode_s);
  CHECK(sum("vllm:request_params_n") == 2);
  CHECK(sum("vllm:request_params_max_tokens") == 3);
  CHECK(sum("vllm:request_generation_tokens") == 6);
}

TEST_CASE("the time between a request's tokens is that of each choice, and there is none of one token") {
  const std::string name = "vllm:request_time_per_output_token_seconds";
  World one;
  REQUIRE_FALSE(one.start(R"({"prompt":"a","max_tokens":1,"ignore_eos":true})").has_value());
  one.engine.send_tokens(0, 0, {4}, FinishReason::kLength);
  one.hub.dispatch();
  REQUIRE(one.sink.answer.has_value());
  CHECK_THAT(one.metric(name + "_count{"), Catch::EndsWith(" 0"));

  World two;
  REQUIRE_FALSE(two.start(R"({"prompt":"a","max_tokens":3,"n":2,"ignore_eos":true})").has_value());
  two.engine.send_tokens(0, 0, {4, 5});
  two.engine.send_tokens(0, 1, {4});
  two.hub.dispatch();
  constexpr std::chrono::milliseconds kPause{4};
  std::this_thread::sleep_for(kPause);
  two.engine.send_tokens(0, 0, {6}, FinishReason::kLength);
  two.engine.send_tokens(0, 1, {5, 6}, FinishReason::kLength);
  two.hub.dispatch();
  REQUIRE(two.sink.answer.has_value());
  const std::string sum = two.metric(name + "_sum{");
  const double mean_s = std::stod(sum.substr(sum.rfind(' ') + 1));
  const std::string gaps = two.metric("vllm:inter_token_latency_seconds_sum{");
  const double all_s = std::stod(gaps.substr(gaps.rfind(' ') + 1));
  CHECK(all_s >= 2 * std::chrono::duration<double>(kPause).count());
  CHECK(mean_s == Approx(all_s / 4));  // two choices of three tokens
}

}  // namespace
}  // namespace coppice::server
