// The hub does in turns what would hold its thread for long.
#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "proto/openai/parse_request.h"
#include "server/sessions/session.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using engine::FinishReason;

class CountingSink final : public OutputSink {
 public:
  void on_delta(openai::ChoiceDelta delta) override { choices.push_back(delta.index); }
  void on_done(openai::Answer /*answer*/) override { is_done = true; }
  void on_error(openai::ApiError /*error*/) override {}
  void on_flush() override { ++flushes; }

  std::vector<std::int32_t> choices;  // of the deltas
  bool is_done = false;
  int flushes = 0;
};

// A prompt of `prompt` tokens that every choice repeats with logprobs.
struct World {
  World(int prompt, int choices) {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b", "c"});
    host.engine = &engine;
    host.metrics = &metrics;
    host.request_limits.vocab = 5;
    host.request_limits.model_tokens_max = 100'000;
    std::string body = R"({"stream":true,"echo":true,"logprobs":0,"max_tokens":1,"n":)" + std::to_string(choices);
    body += R"(,"prompt":[2)";
    for (int i = 1; i < prompt; ++i) {
      body += ",3";
    }
    auto parsed = openai::parse_completion_request(body + "]}", host.request_limits);
    REQUIRE(parsed.ok());
    session = std::make_unique<Session>(host, hub, sink);
    REQUIRE_FALSE(session->start(std::move(parsed.value()), "").has_value());
    for (int choice = 0; choice < choices; ++choice) {
      engine.send_tokens(0, choice, {4}, FinishReason::kLength);
    }
  }

  engine::ScriptedEngine engine;
  Metrics metrics{"m"};
  ModelHost host;
  int wakes = 0;
  SessionHub hub{[this] { ++wakes; }};
  CountingSink sink;
  std::unique_ptr<Session> session;
};

TEST_CASE("what would hold the thread for long is done in turns, in order, to the end") {
  World world(5000, 6);
  CHECK(world.wakes == 1);
  world.hub.dispatch();  // two choices make a turn
  CHECK(world.sink.choices == std::vector<std::int32_t>{0, 1});
  CHECK(world.sink.flushes == 1);
  CHECK(world.wakes == 2);
  for (int turn = 2; turn <= 3; ++turn) {
    CHECK_FALSE(world.sink.is_done);
    world.hub.dispatch();
    CHECK(world.wakes == 3);
  }
  CHECK(world.sink.choices == std::vector<std::int32_t>{0, 1, 2, 3, 4, 5});
  CHECK(world.sink.is_done);
}

TEST_CASE("a session that leaves between two turns is not entered again") {
  World world(9000, 2);
  world.hub.dispatch();
  CHECK(world.sink.choices.size() == 1);
  world.session.reset();
  world.hub.dispatch();
  CHECK(world.sink.choices.size() == 1);
  CHECK(world.wakes == 2);
}

TEST_CASE("events that come between two turns wait for theirs") {
  World world(9000, 2);
  world.hub.dispatch();
  world.engine.send_tokens(0, 0, {4});  // too late for the choice, and harmless
  CHECK(world.wakes == 3);
  world.hub.dispatch();
  CHECK(world.sink.is_done);
  world.hub.dispatch();
  CHECK(world.wakes == 3);
}

}  // namespace
}  // namespace coppice::server
