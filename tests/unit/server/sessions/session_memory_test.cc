// What a session may hold, and that what goes wrong in one ends no other.
#include <catch2/catch.hpp>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/parse_request.h"
#include "server/sessions/session.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

class CountingSink final : public OutputSink {
 public:
  void on_delta(openai::ChoiceDelta /*delta*/) override { ++deltas; }
  void on_done(openai::Answer /*answer*/) override {}
  void on_error(openai::ApiError failed) override { error = std::move(failed); }
  void on_flush() override {}

  int deltas = 0;
  openai::MaybeError error;
};

// ids: <s> 0, </s> 1, a 2, b 3, c 4, " " 5, d 6
struct World {
  World() {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b", "c", " ", "d"});
    host.engine = &engine;
    host.metrics = &metrics;
    host.request_limits.vocab = 7;
    host.request_limits.model_tokens_max = 20;
  }

  openai::MaybeError start(const std::string& body) {
    auto parsed = openai::parse_completion_request(body, host.request_limits);
    REQUIRE(parsed.ok());
    session = std::make_unique<Session>(host, hub, sink);
    return session->start(std::move(parsed.value()), "");
  }

  engine::ScriptedEngine engine;
  Metrics metrics{"m"};
  ModelHost host;
  SessionHub hub{[] {}};
  CountingSink sink;
  std::unique_ptr<Session> session;
};

TEST_CASE("what an answer says about its prompts is bounded before anything is computed") {
  World world;
  world.host.request_limits.prompt_answer_bytes_max = 64 * 3 * 4;  // three tokens with three more each
  const auto refused = [&](const std::string& body) {
    const openai::MaybeError error = world.start(body);
    return error ? error->param : "";
  };
  CHECK(refused(R"({"prompt":[2,3,4],"prompt_logprobs":3})").empty());
  CHECK(refused(R"({"prompt":[2,3,4],"prompt_logprobs":4})") == "prompt_logprobs");
  CHECK(refused(R"({"prompt":[[2,3],[4,5]],"prompt_logprobs":3})") == "prompt_logprobs");
  CHECK(refused(R"({"prompt":[2,3,4],"echo":true,"logprobs":2})").empty());
  CHECK(refused(R"({"prompt":[2,3,4],"echo":true,"logprobs":2,"n":2})") == "echo");
  CHECK(world.engine.requests.size() == 2);
}

TEST_CASE("an answer that grows over its memory ends with the reason, and gives everything back") {
  World world;
  world.host.request_limits.model_tokens_max = 1'000'000;
  MemoryLimits limits;
  limits.request_bytes = 300'000;
  MemoryBudget budget(limits);
  auto parsed =
      openai::parse_completion_request(R"({"prompt":"a","max_tokens":100000,"logprobs":3})", world.host.request_limits);
  REQUIRE(parsed.ok());
  world.session =
      std::make_unique<Session>(world.host, world.hub, world.sink, std::make_shared<MemoryBudget::Lease>(budget));
  REQUIRE_FALSE(world.session->start(std::move(parsed.value()), "").has_value());
  for (int i = 0; i < 100 && !world.sink.error; ++i) {
    world.engine.send_tokens(0, 0, std::vector<TokenId>(100, 2));
    world.hub.dispatch();
  }
  REQUIRE(world.sink.error.has_value());
  CHECK(world.sink.error->status == 413);
  CHECK(world.engine.cancelled.size() == 1);
  CHECK(budget.used() > 0);
  world.session.reset();
  CHECK(budget.used() == 0);
}

TEST_CASE("what a sink throws ends its session alone") {
  class ThrowingSink final : public OutputSink {
   public:
    void on_delta(openai::ChoiceDelta /*delta*/) override { throw std::bad_alloc(); }
    void on_done(openai::Answer /*answer*/) override {}
    void on_error(openai::ApiError error) override { status = error.status; }
    void on_flush() override {}
    int status = 0;
  };
  World world;
  ThrowingSink throwing;
  REQUIRE_FALSE(world.start(R"({"prompt":"a","stream":true})").has_value());
  auto parsed = openai::parse_completion_request(R"({"prompt":"a","stream":true})", world.host.request_limits);
  Session other(world.host, world.hub, throwing);
  REQUIRE_FALSE(other.start(std::move(parsed.value()), "").has_value());
  world.engine.send_tokens(1, 0, {2});
  world.engine.send_tokens(0, 0, {2});
  world.hub.dispatch();
  CHECK(throwing.status == 500);
  CHECK(other.ended());
  CHECK_FALSE(world.sink.error.has_value());
  CHECK(world.sink.deltas == 1);
}

}  // namespace
}  // namespace coppice::server
