// Reading sessions over a scripted engine: what is submitted, what comes out, and that a client that leaves cancels.
#include "server/sessions/reading_session.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/sessions/prepare_reading.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using engine::FinishReason;

class RecordingSink final : public ReadingSink {
 public:
  void on_reading(ReadingAnswer answer) override { answers.push_back(std::move(answer)); }
  void on_reading_error(openai::ApiError error) override { errors.push_back(std::move(error)); }

  std::vector<ReadingAnswer> answers;
  std::vector<openai::ApiError> errors;
};

// ids: <s> 0, </s> 1, a 2, b 3
struct World {
  World() {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b"});
    host.engine = &engine;
    host.metrics = &metrics;
    host.request_limits.vocab = 4;
    host.request_limits.hidden = 3;
    host.request_limits.model_tokens_max = 8;
    host.request_limits.input_tokens_max = 12;
  }

  openai::MaybeError start(const std::string& tenant = "") {
    PreparedReading prepared;
    prepared.reading = engine::Reading::kLabels;
    prepared.prompt = {0, 2};
    prepared.branches = {{{3}, {1, 2}}, {{3, 3}, {2, 3}}};
    prepared.priority = 4;
    prepared.cache_salt = "salt";
    session = std::make_unique<ReadingSession>(host, hub, sink, nullptr, SessionMeter::Clock::now());
    return session->start(std::move(prepared), tenant);
  }

  void send(std::int32_t choice, std::vector<float> reading, FinishReason finish = FinishReason::kLength) {
    engine::Event event;
    event.choice = choice;
    event.reading = std::move(reading);
    event.finish = finish;
    event.usage.cached_tokens = choice == 0 ? 2 : 1;
    event.queued_ns = 250'000'000;
    engine.send(0, std::move(event));
  }

  std::string metric(const std::string& line) const {
    const std::string page = metrics.page({}, {});
    const std::size_t at = page.find(line);
    return at == std::string::npos ? "none" : page.substr(at, page.find('\n', at) - at);
  }

  engine::ScriptedEngine engine;
  Metrics metrics{"m"};
  ModelHost host;
  SessionHub hub{[] {}};
  RecordingSink sink;
  std::unique_ptr<ReadingSession> session;
};

TEST_CASE("a reading is one request of the engine, and its answer comes when all branches have") {
  World world;
  world.host.request_timeout = std::chrono::seconds(5);
  REQUIRE_FALSE(world.start("key").has_value());
  REQUIRE(world.engine.requests.size() == 1);
  const engine::Request& request = world.engine.requests[0];
  CHECK(request.reading == engine::Reading::kLabels);
  CHECK(request.prompt == std::vector<TokenId>{0, 2});
  CHECK(request.choices == 2);
  CHECK(request.branches[1].tokens == std::vector<TokenId>{3, 3});
  CHECK(request.branches[1].labels == std::vector<TokenId>{2, 3});
  CHECK(request.sampling.max_tokens == 0);
  CHECK(request.priority == 4);
  CHECK(request.account == "key");
  CHECK(request.tenant == tenant_of("key", "salt"));
  CHECK(request.deadline.has_value());
  world.send(1, {-1.0F, -2.0F});
  world.hub.dispatch();
  CHECK(world.sink.answers.empty());
  world.send(0, {-3.0F});
  world.hub.dispatch();
  REQUIRE(world.sink.answers.size() == 1);
  const ReadingAnswer& answer = world.sink.answers[0];
  CHECK(answer.readings == std::vector<std::vector<float>>{{-3.0F}, {-1.0F, -2.0F}});
  CHECK(answer.usage.prompt_tokens == 5);  // the prompt once
  CHECK(answer.usage.cached_tokens == 3);
  CHECK(world.hub.size() == 0);
  world.session.reset();
  CHECK(world.engine.cancelled.empty());
  CHECK(world.metric("vllm:request_prompt_tokens_sum{") ==
        "vllm:request_prompt_tokens_sum{engine=\"0\",model_name=\"m\"} 5");
  CHECK_THAT(world.metric("vllm:request_success_total{engine=\"0\",finished_reason=\"length\""),
             Catch::EndsWith("} 2"));
  CHECK_THAT(world.metric("vllm:request_queue_time_seconds_sum{"), Catch::EndsWith("} 0.25"));
  CHECK_THAT(world.metric("vllm:request_decode_time_seconds_sum{"), Catch::EndsWith("} 0"));
  CHECK_THAT(world.metric("vllm:request_params_n_count{"), Catch::EndsWith("} 0"));
}

TEST_CASE("a client that leaves cancels what is left of a reading") {
  World world;
  REQUIRE_FALSE(world.start().has_value());
  world.send(0, {-1.0F});
  world.hub.dispatch();
  world.session.reset();
  REQUIRE(world.engine.cancelled.size() == 1);
  CHECK(world.engine.cancelled[0] == std::pair<engine::RequestId, std::int32_t>(world.engine.requests[0].id, -1));
  CHECK(world.hub.size() == 0);
  CHECK(world.sink.answers.empty());
  CHECK_THAT(world.metric("vllm:request_success_total{engine=\"0\",finished_reason=\"abort\""), Catch::EndsWith("} 1"));
}

TEST_CASE("a branch that fails ends the reading, once") {
  for (const FinishReason reason : {FinishReason::kError, FinishReason::kDeadline, FinishReason::kCancelled}) {
    World world;
    REQUIRE_FALSE(world.start().has_value());
    world.send(1, {}, reason);
    world.send(0, {-1.0F});
    world.hub.dispatch();
    REQUIRE(world.sink.errors.size() == 1);
    CHECK(world.sink.errors[0].status == (reason == FinishReason::kError      ? 500
                                          : reason == FinishReason::kDeadline ? 408
                                                                              : 503));
    CHECK(world.sink.answers.empty());
    CHECK(world.engine.cancelled.size() == 1);
    CHECK(world.hub.size() == 0);
  }
}

TEST_CASE("a full queue refuses a reading, and the server's end aborts it") {
  World world;
  world.engine.accepts_max = 0;
  const openai::MaybeError refused = world.start();
  REQUIRE(refused.has_value());
  CHECK(refused->status == 429);
  CHECK(world.hub.size() == 0);
  world.session.reset();
  CHECK(world.engine.cancelled.empty());
  world.engine.accepts_max = 1;
  REQUIRE_FALSE(world.start().has_value());
  world.hub.abort_all(openai::unavailable("draining", "bye", 1));
  REQUIRE(world.sink.errors.size() == 1);
  CHECK(world.sink.errors[0].status == 503);
  CHECK(world.engine.cancelled.size() == 1);
}

openai::EmbeddingRequest inputs(std::vector<openai::Prompt> prompts) {
  openai::EmbeddingRequest request;
  request.inputs = std::move(prompts);
  return request;
}

TEST_CASE("embeddings become branches without a common prompt") {
  World world;
  openai::Result<PreparedReading> prepared = prepare(inputs({"ab", std::vector<TokenId>{3}}), world.host);
  REQUIRE(prepared.ok());
  CHECK(prepared.value().reading == engine::Reading::kLastHidden);
  CHECK(prepared.value().prompt.empty());
  REQUIRE(prepared.value().branches.size() == 2);
  CHECK(prepared.value().branches[0].tokens == std::vector<TokenId>{0, 2, 3});
  CHECK(prepared.value().branches[1].tokens == std::vector<TokenId>{3});
  CHECK(prepared.value().token_count() == 4);
  world.host.embedding.pooling = openai::Pooling::kMean;
  CHECK(prepare(inputs({"ab"}), world.host).value().reading == engine::Reading::kMeanHidden);
  openai::EmbeddingRequest last = inputs({"ab"});
  last.pooling = openai::Pooling::kLast;
  last.add_special_tokens = false;
  prepared = prepare(last, world.host);
  CHECK(prepared.value().reading == engine::Reading::kLastHidden);
  CHECK(prepared.value().branches[0].tokens == std::vector<TokenId>{2, 3});
}

TEST_CASE("embeddings are refused by length, number of tokens, dimensions and memory") {
  World world;
  const auto refusal = [&](const openai::EmbeddingRequest& request) {
    const openai::Result<PreparedReading> prepared = prepare(request, world.host);
    return prepared.ok() ? std::string() : prepared.error().message;
  };
  CHECK(refusal(inputs({"abababa"})).empty());  // the whole context: nothing is generated
  CHECK_THAT(refusal(inputs({"abababab"})),
             Catch::Contains("maximum context length is 8 tokens. However, 'input' has 9 tokens."));
  CHECK_THAT(refusal(inputs({"a", "abababab"})), Catch::Contains("'input[1]' has 9 tokens"));
  CHECK_THAT(refusal(inputs({"ababab", "ababab"})), Catch::Contains("14 tokens in all; at most 12"));
  CHECK_THAT(refusal(inputs({"q"})), Catch::Contains("no token"));
  openai::EmbeddingRequest plain = inputs({"a"});
  plain.add_special_tokens = false;
  plain.inputs = {""};
  CHECK_THAT(refusal(plain), Catch::Contains("gives no tokens"));
  openai::EmbeddingRequest cut = inputs({"a"});
  cut.dimensions = 3;
  CHECK(refusal(cut).empty());
  cut.dimensions = 2;
  CHECK_THAT(refusal(cut), Catch::Contains("'dimensions' must be 3"));
  world.host.embedding.may_be_cut = true;
  CHECK(refusal(cut).empty());
  cut.dimensions = 4;
  CHECK_THAT(refusal(cut), Catch::Contains("from 1 to 3; got 4"));
  world.host.embedding.dimensions = {1};
  cut.dimensions = 2;
  CHECK_THAT(refusal(cut), Catch::Contains("one of 1; got 2"));
  openai::EmbeddingRequest other = inputs({"a"});
  other.model = "x";
  CHECK_THAT(refusal(other), Catch::Contains("does not exist"));
  MemoryBudget budget({.request_bytes = 50'000, .tenant_bytes = 50'000, .server_bytes = 50'000});
  MemoryBudget::Lease lease(budget);
  world.host.request_limits.hidden = 10'000;
  const openai::Result<PreparedReading> large = prepare(inputs({"a"}), world.host, {nullptr, &lease});
  REQUIRE_FALSE(large.ok());
  CHECK(large.error().status == 413);
  const CancelFlag left(true);
  CHECK(prepare(inputs({"a"}), world.host, {&left, nullptr}).error().status == openai::kClientLeftStatus);
}

}  // namespace
}  // namespace coppice::server
