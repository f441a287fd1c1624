// How a request is served, as its session asks of the engine: its place among others and its use of the prefix cache.
#include <catch2/catch.hpp>
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/parse_request.h"
#include "server/sessions/session.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using engine::FinishReason;

class AnswerSink final : public OutputSink {
 public:
  void on_delta(openai::ChoiceDelta /*delta*/) override {}
  void on_done(openai::Answer done) override { answer = std::move(done); }
  void on_error(openai::ApiError /*error*/) override {}
  void on_flush() override {}

  std::optional<openai::Answer> answer;
};

// ids: <s> 0, </s> 1, a 2, b 3, c 4, " " 5
struct World {
  World() {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b", "c", " "});
    host.engine = &engine;
    host.metrics = &metrics;
    host.request_limits.vocab = 6;
    host.request_limits.model_tokens_max = 20;
  }

  openai::MaybeError start(const std::string& body, bool in_background = false) {
    auto parsed = openai::parse_completion_request(body, host.request_limits);
    REQUIRE(parsed.ok());
    session = std::make_unique<Session>(host, hub, sink);
    if (in_background) {
      session->run_in_background();
    }
    return session->start(std::move(parsed.value()), "");
  }

  engine::ScriptedEngine engine;
  Metrics metrics{"m"};
  ModelHost host;
  SessionHub hub{[] {}};
  AnswerSink sink;
  std::unique_ptr<Session> session;
};

TEST_CASE("classes of service are steps of priority") {
  for (const auto& [fields, priority] : std::vector<std::pair<std::string, std::int32_t>>{
           {"", 0},
           {R"(,"service_tier":"default","priority":3)", 3},
           {R"(,"service_tier":"scale")", 0},
           {R"(,"service_tier":"flex","priority":-1)", 15},
           {R"(,"service_tier":"priority")", -16},
           {R"(,"service_tier":"fast","priority":-2147483640)", std::numeric_limits<std::int32_t>::min()}}) {
    World world;
    REQUIRE_FALSE(world.start(R"({"prompt":"a")" + fields + "}").has_value());
    CHECK(world.engine.requests[0].priority == priority);
    CHECK_FALSE(world.engine.requests[0].background);
  }
}

TEST_CASE("what a request says of the cache reaches the engine; its use of it is told") {
  using std::chrono::minutes;
  World world;
  world.host.engine_limits.kept = {10, 10};
  world.host.engine_limits.page_size = 1;
  REQUIRE_FALSE(world.start(R"({"prompt":["a b","c"],"prompt_cache_options":{"ttl":"5m"}})").has_value());
  for (const std::size_t i : {0U, 1U}) {
    const engine::CacheUse& use = world.engine.requests[i].cache;
    CHECK(use.reads);
    REQUIRE(use.keeps.size() == 1);
    CHECK(use.keeps[0].tokens == static_cast<std::int32_t>(world.engine.requests[i].prompt.size()));
    CHECK(use.keeps[0].time == minutes(5));
    engine::Event event;
    event.finish = FinishReason::kLength;
    event.usage.cached_tokens = 1;
    event.usage.cache_write_tokens = 1;
    world.engine.send(i, std::move(event));
  }
  world.hub.dispatch();
  REQUIRE(world.sink.answer.has_value());
  CHECK(world.sink.answer->usage.cached_tokens == 2);
  CHECK(world.sink.answer->usage.cache_write_tokens == 2);
  CHECK(world.sink.answer->usage.kept_write_tokens == 2);

  World paged;  // of a page that goes on behind what is kept, nothing is
  paged.host.engine_limits.kept = {10, 10};
  paged.host.engine_limits.page_size = 2;
  REQUIRE_FALSE(paged.start(R"({"prompt":"ab","prompt_cache_options":{}})").has_value());
  const auto size = static_cast<std::int32_t>(paged.engine.requests[0].prompt.size());
  engine::Event last;
  last.finish = FinishReason::kLength;
  last.usage.cache_write_tokens = size;
  paged.engine.send(0, std::move(last));
  paged.hub.dispatch();
  CHECK(paged.sink.answer->usage.kept_write_tokens == size - size % 2);
  CHECK(size % 2 == 1);

  World closed;
  closed.host.engine_limits.kept = {10, 10};
  REQUIRE_FALSE(closed.start(R"({"prompt":"a","prompt_cache_options":{"mode":"explicit"}})").has_value());
  CHECK_FALSE(closed.engine.requests[0].cache.reads);
  CHECK(closed.engine.requests[0].cache.write_tokens == 0);
  CHECK(closed.engine.requests[0].cache.keeps.empty());
}

TEST_CASE("a request in the background keeps nothing") {
  World world;
  world.host.engine_limits.kept = {10, 10};
  REQUIRE_FALSE(world.start(R"({"prompt":"a","prompt_cache_options":{}})", true).has_value());
  CHECK(world.engine.requests[0].background);
  CHECK(world.engine.requests[0].cache.keeps.empty());
  CHECK(world.engine.requests[0].cache.reads);
}

}  // namespace
}  // namespace coppice::server
