// Routes: which there are, who may call them, and what they say while the server starts and drains.
#include "server/http/router.h"

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "server/http/pool_task.h"
#include "server/http/routes/route_table.h"
#include "tests/unit/server/http/router_world.h"

namespace coppice::server {
namespace {

using World = RouterWorld;

struct RouteRow {
  const char* method;
  const char* target;
  const char* body;
  bool is_public;
  bool needs_model;
};

const RouteRow kRows[] = {
    {"POST", "/v1/completions", R"({"prompt":"a","n":0})", false, true},
    {"POST", "/v1/chat/completions", R"({"messages":[]})", false, true},
    {"POST", "/v1/responses", R"({"input":1})", false, true},
    {"POST", "/v1/responses/input_tokens", R"({"input":1})", false, true},
    {"GET", "/v1/responses/resp_1", "", false, true},
    {"DELETE", "/v1/responses/resp_1", "", false, true},
    {"POST", "/v1/responses/resp_1/cancel", "", false, true},
    {"GET", "/v1/responses/resp_1/input_items", "", false, true},
    {"POST", "/v1/messages", R"({"messages":[]})", false, true},
    {"POST", "/v1/messages/count_tokens", R"({"messages":[]})", false, true},
    {"POST", "/v1/embeddings", R"({"input":""})", false, true},
    {"POST", "/v1/decisions", "{}", false, true},
    {"GET", "/v1/models", "", false, true},
    {"GET", "/v1/models/m%2F1", "", false, true},
    {"GET", "/v1/models/m/1", "", false, true},
    {"POST", "/tokenize", R"({"prompt":"ab"})", false, true},
    {"POST", "/detokenize", R"({"tokens":[2]})", false, true},
    {"GET", "/tokenizer_info", "", false, true},
    {"POST", "/v1/completions/input_tokens", R"({"prompt":"a"})", false, true},
    {"POST", "/v1/chat/completions/input_tokens", R"({"messages":[]})", false, true},
    {"POST", "/v1/completions/render", R"({"prompt":"a"})", false, true},
    {"POST", "/v1/chat/completions/render", R"({"messages":[]})", false, true},
    {"GET", "/get_server_info", "", true, true},
    {"GET", "/kv_event_sources", "", true, true},
    {"POST", "/v1/rerank", R"({"query":"a","documents":["b"]})", false, true},
    {"POST", "/v1/speculation/corpora", R"({"name":"c","texts":["ab"]})", false, true},
    {"GET", "/v1/speculation/corpora", "", false, true},
    {"DELETE", "/v1/speculation/corpora/c", "", false, true},
    {"GET", "/live", "", true, false},
    {"GET", "/version", "", true, false},
    {"GET", "/metrics", "", true, false},
    {"GET", "/openapi.json", "", true, true},
    {"GET", "/", "", true, false},
    {"GET", "/?x=y", "", true, false},
    {"HEAD", "/live", "", true, false},
};

TEST_CASE("every route asks for a key unless it is public, whatever the phase") {
  World world(test_keys());
  for (const Phase phase : {Phase::kServing, Phase::kStarting, Phase::kDraining}) {
    world.state.phase = phase;
    for (const RouteRow& row : kRows) {
      INFO(row.method << " " << row.target);
      const int without = world.call(row.method, row.target, row.body);
      CHECK((without == 401) == !row.is_public);
      CHECK((world.call(row.method, row.target, row.body, "Bearer wrong-key-1") == 401) == !row.is_public);
      const int with = world.call(row.method, row.target, row.body, std::string("Bearer ") + kKey);
      CHECK(with != 401);
      CHECK((with == 503) == (row.needs_model && phase != Phase::kServing));
    }
  }
}

TEST_CASE("while the server starts nothing touches the model, which is not there yet") {
  World world;
  world.state.host = nullptr;
  world.state.phase = Phase::kStarting;
  for (const RouteRow& row : kRows) {
    INFO(row.target);
    CHECK(world.call(row.method, row.target, row.body) == (row.needs_model ? 503 : 200));
    CHECK(world.exchange.header("retry-after").empty() == !row.needs_model);
  }
  CHECK(world.call("GET", "/ready") == 503);
}

TEST_CASE("/ready and /health follow phase and engine, /live the engine alone") {
  World world(test_keys());  // none of them asks for a key
  const auto expect = [&](int status, const std::string& code, const std::string& health) {
    const bool is_stuck = world.state.engine_is_stuck;
    CHECK(world.call("GET", "/ready") == status);
    CHECK_THAT(world.exchange.answer->body, Catch::Contains(code));
    CHECK(world.call("GET", "/health") == status);
    CHECK(world.exchange.answer->body == R"({"status":")" + health + R"("})");
    CHECK(world.call("HEAD", "/health") == status);
    CHECK(world.call("GET", "/live") == (is_stuck ? 503 : 200));
    CHECK(world.exchange.answer->body == (is_stuck ? R"({"status":"stuck"})" : R"({"status":"ok"})"));
  };
  expect(200, "ready", "ok");
  world.state.engine_is_stuck = true;
  expect(503, "engine_stuck", "stuck");
  world.state.engine_is_stuck = false;
  world.state.phase = Phase::kDraining;
  expect(503, "draining", "draining");
  world.state.engine_is_stuck = true;  // what drains may still get stuck
  expect(503, "draining", "draining");
  world.state.engine_is_stuck = false;
  world.state.phase = Phase::kStarting;
  world.state.host = nullptr;
  expect(503, "starting", "loading");
}

TEST_CASE("unknown routes, wrong methods, odd targets") {
  World world;
  CHECK(world.call("GET", "/nowhere") == 404);
  CHECK(world.call("GET", "/v1/completions") == 405);
  CHECK(world.exchange.header("allow") == "POST");
  CHECK(world.call("POST", "/health") == 405);
  CHECK(world.exchange.header("allow") == "GET, HEAD");
  CHECK(world.call("OPTIONS", "/v1/completions") == 405);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains(R"("type":"invalid_request_error")"));
  for (const char* const target : {"*", "http://evil/health", "//health", "/health//", "/HEALTH", "/v1/completions//",
                                   "/v1/models/other", "/v1/models//", "/\xff"}) {
    INFO(target);
    CHECK(world.call("GET", target) == 404);
  }
}

TEST_CASE("a path with a route's own braces names something that is not there") {
  World world;
  std::size_t with_names = 0;
  for (const Route& route : all_routes()) {
    if (route.path.find('{') == std::string_view::npos) {
      continue;
    }
    ++with_names;
    INFO(route.method << ' ' << route.path);
    const int status = world.call(std::string(route.method), std::string(route.path));
    CHECK((status == 404 || status == 400));
    CHECK(!world.exchange.answer->body.empty());
  }
  CHECK(with_names > 5);
}

TEST_CASE("a slash at the end of a path changes nothing") {
  World world;
  for (const char* const target : {"/health/", "/v1/models/", "/v1/models/m/1/", "/v1/models/?a=b", "/"}) {
    INFO(target);
    CHECK(world.call("GET", target) == 200);
  }
  CHECK(world.call("POST", "/tokenize/", R"({"prompt":"ab"})") == 200);
  CHECK(world.call("GET", "/tokenize/") == 405);
}

TEST_CASE("what a request holds counts for its key, however small its body") {
  MemoryLimits limits;
  limits.tenant_bytes = 100'000;
  MemoryBudget budget(limits);  // outlives the handler
  World world(test_keys());
  const auto lease = std::make_shared<MemoryBudget::Lease>(budget);
  const std::string authorization = std::string("Bearer ") + kKey;
  world.handler =
      world.router.handle({"POST",
                           "/v1/completions",
                           {{"host", "x"}, {"content-type", "application/json"}, {"authorization", authorization}},
                           R"({"prompt":"a"})",
                           lease},
                          world.exchange, world.hub);
  REQUIRE(world.handler != nullptr);
  REQUIRE_FALSE(lease->set(MemoryPart::kOutput, MemoryBudget::kFreeBytes + 60'000).has_value());
  MemoryBudget::Lease same(budget);
  same.set_tenant(tenant_of_key(kKey));
  CHECK(same.set(MemoryPart::kWork, MemoryBudget::kFreeBytes + 60'000).has_value());
  MemoryBudget::Lease other(budget);
  other.set_tenant("other");
  CHECK_FALSE(other.set(MemoryPart::kWork, MemoryBudget::kFreeBytes + 60'000).has_value());
}

TEST_CASE("a large body is not taken where none is due, with a key or without") {
  World world(test_keys());
  const auto admit = [&](const std::string& method, const std::string& target, const std::string& key) {
    const openai::Result<std::string> admitted = world.router.admit_body(
        {method, target, {{"content-type", "application/json"}, {"authorization", "Bearer " + key}}, "", nullptr});
    return admitted.ok() ? 200 : admitted.error().status;
  };
  CHECK(admit("GET", "/health", "") == 413);
  CHECK(admit("GET", "/v1/models", kKey) == 413);
  CHECK(admit("GET", "/v1/models", "wrong-key") == 401);
  CHECK(admit("DELETE", "/v1/speculation/corpora/x", kKey) == 413);
  CHECK(admit("POST", "/v1/completions", kKey) == 200);
}

TEST_CASE("request ids: the client's when it is fit, else a new one each time") {
  const auto id_of = [](const std::string& given) {
    HttpRequest request;
    request.headers.emplace_back("x-request-id", given);
    return choose_request_id(request);
  };
  CHECK(id_of("abc-1") == "abc-1");
  for (const std::string& unfit : {std::string(), std::string(129, 'a'), std::string("a b"), std::string("a\"b"),
                                   std::string("a\x01"), std::string("\xC3\xA9")}) {
    CHECK(id_of(unfit) != unfit);
    CHECK(id_of(unfit).size() == 32);
  }
  CHECK(id_of("") != id_of(""));
}

TEST_CASE("a stream's events, in order, and its end") {
  World world;
  CHECK(world.call("POST", "/v1/completions",
                   R"({"prompt":"a","max_tokens":2,"stream":true,"stream_options":{"include_usage":true}})") == 0);
  REQUIRE(world.handler != nullptr);
  world.engine.send_tokens(0, 0, {2});
  world.hub.dispatch();
  REQUIRE(world.exchange.answer.has_value());
  CHECK(world.exchange.answer->content_type == "text/event-stream; charset=utf-8");
  CHECK_THAT(world.exchange.stream, Catch::StartsWith("data: {\"id\":\"cmpl-") && Catch::Contains("\"text\":\"a\""));
  CHECK_FALSE(world.exchange.is_ended);
  world.engine.send_tokens(0, 0, {3}, engine::FinishReason::kLength);
  world.hub.dispatch();
  CHECK(world.exchange.is_ended);
  CHECK_THAT(world.exchange.stream, Catch::Contains("\"finish_reason\":\"length\"") &&
                                        Catch::Contains("\"completion_tokens\":2") &&
                                        Catch::EndsWith("data: [DONE]\n\n"));
}

TEST_CASE("an error before the first token is a status, after it an event") {
  World world;
  engine::Event failed;
  failed.finish = engine::FinishReason::kError;
  failed.error = "broken";
  CHECK(world.call("POST", "/v1/completions", R"({"prompt":"a","stream":true})") == 0);
  world.engine.send(0, failed);
  world.hub.dispatch();
  REQUIRE(world.exchange.answer.has_value());
  CHECK(world.exchange.answer->status == 500);
  CHECK(world.exchange.stream.empty());
  CHECK(world.call("POST", "/v1/completions", R"({"prompt":"a","stream":true})") == 0);
  world.engine.send_tokens(1, 0, {2});
  world.engine.send(1, failed);
  world.hub.dispatch();
  CHECK(world.exchange.answer->status == 200);
  CHECK_THAT(world.exchange.stream,
             Catch::Contains("data: {\"error\":{\"message\":\"broken\"") && Catch::EndsWith("data: [DONE]\n\n"));
  CHECK(world.exchange.is_ended);
}

TEST_CASE("a handler destroyed early counts as 499") {
  World world;
  CHECK(world.call("POST", "/v1/completions", R"({"prompt":"a"})") == 0);
  world.handler.reset();
  CHECK(world.engine.cancelled.size() == 1);
  CHECK_THAT(world.state.metrics.page({}, {}), Catch::Contains("status=\"499\"} 1"));
}

TEST_CASE("what the pool reads is answered from there; a client that left is not answered at all") {
  World world;
  world.state.work = std::make_unique<WorkPool>();
  const std::string body = R"({"prompt":")" + std::string(5000, 'a') + R"("})";
  CHECK(world.call("POST", "/tokenize", body) == 0);
  REQUIRE(world.handler != nullptr);
  world.exchange.run_posted();
  REQUIRE(world.exchange.answer.has_value());
  CHECK_THAT(world.exchange.answer->body, Catch::StartsWith(R"({"count":5001,)"));
  CHECK(world.call("POST", "/v1/completions", body) == 0);
  world.exchange.run_posted();
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("maximum context length is 50 tokens"));
  CHECK(world.call("POST", "/tokenize", body) == 0);
  world.handler.reset();
  world.state.work->close();
  for (const std::function<void()>& task : world.exchange.posted) {
    task();
  }
  CHECK_FALSE(world.exchange.answer.has_value());
  CHECK_THAT(world.state.metrics.page({}, {}), Catch::Contains("status=\"499\"} 1"));
  CHECK(world.call("POST", "/tokenize", body) == 429);  // the pool takes nothing more
  CHECK(world.exchange.header("retry-after") == "1");
}

TEST_CASE("routes without a deadline do not look at the header that sets one, as their description says") {
  World world;
  for (const Route& route : all_routes()) {
    world.handler.reset();
    world.exchange.reset();
    HttpRequest request{std::string(route.method),
                        std::string(route.path),
                        {{"host", "x"}, {"content-type", "application/json"}, {"x-request-timeout-ms", "soon"}},
                        route.method == "POST" ? "{}" : "",
                        nullptr};
    world.handler = world.router.handle(std::move(request), world.exchange, world.hub);
    INFO(route.path);
    const auto& answer = world.exchange.answer;
    const bool looks = answer && answer->status == 400 && answer->body.find("timeout-ms") != std::string::npos;
    CHECK(looks == route.ends_by_deadline);
  }
}

TEST_CASE("a client says how long it waits, and is told in a header why it is sent away") {
  World world;
  const std::string body = R"({"prompt":"a","max_tokens":2})";
  const auto call = [&](const std::string& timeout) {
    world.handler.reset();
    world.exchange.reset();
    HttpRequest request{"POST",
                        "/v1/completions",
                        {{"host", "x"}, {"content-type", "application/json"}, {"x-request-timeout-ms", timeout}},
                        body,
                        nullptr};
    world.handler = world.router.handle(std::move(request), world.exchange, world.hub);
  };
  const auto before = std::chrono::steady_clock::now();
  call("1500");
  REQUIRE(world.engine.requests.size() == 1);
  REQUIRE(world.engine.requests[0].deadline.has_value());
  CHECK(*world.engine.requests[0].deadline >= before + std::chrono::milliseconds(1500));
  CHECK(*world.engine.requests[0].deadline <= std::chrono::steady_clock::now() + std::chrono::milliseconds(1500));
  for (const char* const wrong : {"0", "-1", "1.5", "10s", "86400001", "99999999999999999999"}) {
    INFO(wrong);
    call(wrong);
    REQUIRE(world.exchange.answer.has_value());
    CHECK(world.exchange.answer->status == 400);
    CHECK_THAT(world.exchange.answer->body, Catch::Contains(R"("param":"x-request-timeout-ms")"));
    CHECK(world.exchange.header("x-coppice-refused").empty());
  }
  world.engine.overload = {engine::OverloadReason::kDeadline, std::chrono::milliseconds(2100)};
  call("5");
  REQUIRE(world.exchange.answer.has_value());
  CHECK(world.exchange.answer->status == 429);
  CHECK(world.exchange.header("retry-after") == "3");
  CHECK(world.exchange.header("x-coppice-refused") == "deadline_unreachable");
  CHECK_THAT(world.exchange.answer->body, Catch::Contains(R"("code":"deadline_unreachable")"));
  world.state.phase = Phase::kDraining;
  call("5");
  CHECK(world.exchange.answer->status == 503);
  CHECK(world.exchange.header("x-coppice-refused") == "draining");
  CHECK(world.call("GET", "/ready") == 503);  // asks, and is not turned away
  const std::string page = world.state.metrics.page({}, {});
  CHECK_THAT(page, Catch::Contains("reason=\"deadline_unreachable\"} 1"));
  CHECK_THAT(page, Catch::Contains("reason=\"draining\"} 1"));
}

TEST_CASE("a completion goes from the pool to the engine and back") {
  World world;
  world.state.work = std::make_unique<WorkPool>();
  CHECK(world.call("POST", "/v1/completions",
                   R"({"prompt":"a","max_tokens":2,"user":")" + std::string(300, 'u') + R"(","stop":[")" +
                       std::string(1000, 'x') + R"(",")" + std::string(1000, 'y') + R"(",")" + std::string(1000, 'z') +
                       R"(",")" + std::string(1000, 'w') + R"("]})") == 0);
  world.exchange.run_posted();
  CHECK_FALSE(world.exchange.answer.has_value());
  world.engine.send_tokens(0, 0, {2, 3}, engine::FinishReason::kLength);
  world.hub.dispatch();
  REQUIRE(world.exchange.answer.has_value());
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("\"text\":\"ab\""));
}

TEST_CASE("bodies must say that they are JSON") {
  World world;
  const auto status = [&](const char* type) {
    world.exchange.reset();
    HttpRequest request{"POST", "/tokenize", {{"host", "x"}, {"content-type", type}}, R"({"prompt":"a"})", nullptr};
    (void)world.router.handle(std::move(request), world.exchange, world.hub);
    return world.exchange.answer->status;
  };
  for (const char* const good : {"application/json", "Application/JSON; charset=utf-8", "application/problem+json"}) {
    CHECK(status(good) == 200);
  }
  for (const char* const bad : {"", "text/plain", "application/x-www-form-urlencoded", "text/plain; application/json",
                                "multipart/form-data", "application/jsonx"}) {
    INFO(bad);
    CHECK(status(bad) == 415);
    CHECK_THAT(world.exchange.answer->body, Catch::Contains("content-type: application/json"));
  }
}

TEST_CASE("the routes that administer the server may have a port of their own") {
  RouterOptions options;
  options.routes = RouteSet::kInference;
  World inference({}, options);
  CHECK(inference.call("GET", "/v1/speculation/corpora") == 404);
  CHECK(inference.call("GET", "/v1/models") == 200);
  CHECK(inference.call("GET", "/health") == 200);
  options.routes = RouteSet::kAdministration;
  World administration({}, options);
  CHECK(administration.call("GET", "/v1/speculation/corpora") == 200);
  CHECK(administration.call("GET", "/v1/models") == 404);
  CHECK(administration.call("GET", "/health") == 200);
}

TEST_CASE("no error repeats more than a line of what came") {
  World world;
  CHECK(world.call("GET", "/" + std::string(20'000, 'x')) == 404);
  CHECK(world.exchange.answer->body.size() < 1500);
  CHECK(world.call("POST", "/tokenize", std::string(4000, '1')) == 400);
  CHECK(world.exchange.answer->body.size() < 1500);
}

TEST_CASE("an exception in a job, or in what follows it, is a 500 and frees its slot") {
  World world;
  WorkPool pool;
  openai::MaybeError error;
  for (const bool in_job : {true, false}) {
    error.reset();
    PoolTask task(world.exchange.poster(), [&](const openai::ApiError& failed) { error = failed; });
    REQUIRE(task.start(pool, "", 1, [in_job](const CancelFlag& /*cancelled*/) -> PoolTask::Done {
      if (in_job) {
        throw std::bad_alloc();
      }
      return [] { throw std::bad_alloc(); };
    }));
    world.exchange.run_posted();
    REQUIRE(error.has_value());
    CHECK(error->status == 500);
  }
  while (pool.jobs() > 0) {
    std::this_thread::yield();
  }
}

}  // namespace
}  // namespace coppice::server
