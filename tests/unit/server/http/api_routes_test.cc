// /v1/responses and /v1/messages from request to answer over a scripted engine, without a socket.
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "server/http/router.h"
#include "tests/support/recording_exchange.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kKey = "a-key-for-tests";

ApiKeys test_keys() {
  const std::string path = std::string(std::tmpnam(nullptr)) + ".keys";
  std::ofstream(path) << kKey << "\nanother-key-for-tests\n";
  absl::StatusOr<ApiKeys> keys = ApiKeys::load(path);
  std::remove(path.c_str());
  REQUIRE(keys.ok());
  return *std::move(keys);
}

// ids: <s> 0, </s> 1, a 2, b 3, c 4, newline 5. The template writes the contents, one after the other.
struct World {
  explicit World(ApiKeys keys = {}) : state("m", std::move(keys)), router(state) {
    state.responses = std::make_unique<ResponseStore>(ResponseStoreLimits());
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b", "c", "\n"});
    text::TokenizerConfig config;
    config.chat_templates = {{"default", "{% for m in messages %}{{ m['content'] }}{% endfor %}"}};
    host.prompter = ChatPrompter::create(config, *host.tokenizer).value();
    host.engine = &engine;
    host.metrics = &state.metrics;
    host.request_limits.vocab = 6;
    host.request_limits.model_tokens_max = 20;
    state.host = &host;
    state.phase = Phase::kServing;
  }

  using Headers = std::vector<std::pair<std::string, std::string>>;
  int call(const std::string& method, const std::string& target, const std::string& body = "",
           const Headers& headers = {}) {
    handler.reset();
    exchange.reset();
    HttpRequest request{method, target, {{"host", "x"}, {"content-type", "application/json"}}, body, nullptr};
    request.headers.insert(request.headers.end(), headers.begin(), headers.end());
    handler = router.handle(std::move(request), exchange, hub);
    return exchange.answer ? exchange.answer->status : 0;
  }
  Json body() const { return Json::parse(exchange.answer->body); }
  std::string added(const std::string& name) const {
    for (const auto& [key, value] : exchange.added) {
      if (key == name) {
        return value;
      }
    }
    return "";
  }
  // Calls, and lets the engine answer with these tokens.
  Json complete(const std::string& target, const std::string& text, const std::vector<TokenId>& tokens) {
    REQUIRE(call("POST", target, text) == 0);
    engine.send_tokens(engine.requests.size() - 1, 0, tokens, engine::FinishReason::kLength);
    hub.dispatch();
    REQUIRE(exchange.answer.has_value());
    REQUIRE(exchange.answer->status == 200);
    return body();
  }

  ServerState state;
  engine::ScriptedEngine engine;
  ModelHost host;
  SessionHub hub{[] {}};
  Router router;
  RecordingExchange exchange;
  std::unique_ptr<RequestHandler> handler;
};

TEST_CASE("a response is made, stored, fetched, continued, listed and deleted") {
  World world;
  const Json first = world.complete("/v1/responses", R"({"input":"ab","max_output_tokens":2})", {3, 4});
  CHECK(first["output"][0]["content"][0]["text"] == "bc");
  CHECK(world.engine.requests[0].prompt == std::vector<TokenId>{2, 3});
  const std::string id = first["id"];
  CHECK(id.size() > 30);
  CHECK(world.call("GET", "/v1/responses/" + id) == 200);
  CHECK(world.body() == first);
  const Json second = world.complete("/v1/responses", R"({"input":"a","previous_response_id":")" + id + R"("})", {4});
  CHECK(world.engine.requests[1].prompt == std::vector<TokenId>{2, 3, 3, 4, 2});
  CHECK(second["previous_response_id"] == id);
  const std::string second_id = second["id"];
  const std::string items = "/v1/responses/" + second_id + "/input_items";
  CHECK(world.call("GET", items) == 200);
  REQUIRE(world.body()["data"].size() == 3);
  CHECK(world.body()["data"][0]["content"][0]["text"] == "a");  // the newest comes first
  CHECK(world.body()["has_more"] == false);
  CHECK(world.call("GET", items + "?order=asc&limit=2") == 200);
  CHECK(world.body()["data"][1]["content"][0]["text"] == "bc");
  CHECK(world.body()["has_more"] == true);
  const std::string last = world.body()["last_id"];
  CHECK(world.call("GET", items + "?order=asc&limit=2&after=" + last) == 200);
  CHECK(world.body()["data"][0]["content"][0]["text"] == "a");
  CHECK(world.body()["data"].size() == 1);
  CHECK(world.body()["has_more"] == false);
  for (const char* const wrong : {"?limit=0", "?limit=101", "?limit=x", "?order=up", "?after=none"}) {
    CHECK(world.call("GET", items + wrong) == 400);
  }
  CHECK(world.call("DELETE", "/v1/responses/" + id) == 200);
  CHECK(world.body().dump() == R"({"id":")" + id + R"(","object":"response.deleted","deleted":true})");
  CHECK(world.call("GET", "/v1/responses/" + id) == 404);
  CHECK(world.body()["error"]["code"] == "response_not_found");
  CHECK(world.call("DELETE", "/v1/responses/" + id) == 404);
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","previous_response_id":")" + id + R"("})") == 400);
  CHECK(world.body()["error"]["code"] == "previous_response_not_found");
  CHECK(world.body()["error"]["param"] == "previous_response_id");
  // What was said lives on in the response that continued it.
  (void)world.complete("/v1/responses", R"({"input":"b","previous_response_id":")" + second_id + R"("})", {4});
  CHECK(world.engine.requests[2].prompt == std::vector<TokenId>{2, 3, 3, 4, 2, 4, 3});
}

TEST_CASE("store: false stores nothing, and a server without a store says so") {
  World world;
  const Json made = world.complete("/v1/responses", R"({"input":"a","store":false})", {3});
  CHECK(world.state.responses->responses() == 0);
  CHECK(made["store"] == false);
  world.state.responses.reset();
  (void)world.complete("/v1/responses", R"({"input":"a"})", {3});
  CHECK(world.call("GET", "/v1/responses/x") == 404);
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","background":true})") == 400);
  CHECK(world.body()["error"]["param"] == "background");
}

TEST_CASE("a streamed response is stored before its end is sent") {
  World world;
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","stream":true,"truncation":"auto"})") == 0);
  world.engine.send_tokens(0, 0, {3});
  world.hub.dispatch();
  CHECK(world.added("x-coppice-ignored") == "truncation");
  CHECK_THAT(world.exchange.stream, Catch::StartsWith("event: response.created\ndata: {") &&
                                        Catch::Contains("event: response.output_text.delta\n"));
  CHECK(world.state.responses->responses() == 0);
  world.engine.send_tokens(0, 0, {1}, engine::FinishReason::kStop);
  world.hub.dispatch();
  CHECK(world.exchange.is_ended);
  CHECK_THAT(world.exchange.stream, Catch::Contains("event: response.completed\n") && !Catch::Contains("[DONE]"));
  CHECK(world.state.responses->responses() == 1);
}

TEST_CASE("a background response outlives its client, can be polled, continued and cancelled") {
  World world;
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","background":true})") == 200);
  const std::string path = "/v1/responses/" + world.body()["id"].get<std::string>();
  CHECK(world.body()["status"] == "queued");
  CHECK(world.call("GET", path) == 200);
  world.engine.send_tokens(0, 0, {3});
  world.hub.dispatch();
  CHECK(world.call("GET", path) == 200);
  CHECK(world.body()["status"] == "in_progress");
  CHECK(world.call("GET", path + "/input_items") == 400);
  const std::string go_on = R"({"input":"b","previous_response_id":")" + path.substr(14) + R"("})";
  CHECK(world.call("POST", "/v1/responses", go_on) == 400);
  CHECK(world.body()["error"]["code"] == "previous_response_not_complete");
  world.engine.send_tokens(0, 0, {4}, engine::FinishReason::kLength);
  world.hub.dispatch();
  CHECK(world.call("GET", path) == 200);
  CHECK(world.body()["status"] == "incomplete");
  CHECK(world.body()["output"][0]["content"][0]["text"] == "bc");
  CHECK(world.call("POST", path + "/cancel") == 200);
  CHECK(world.body()["status"] == "incomplete");
  CHECK(world.engine.cancelled.empty());
  (void)world.complete("/v1/responses", go_on, {4});
  CHECK(world.engine.requests[1].prompt == std::vector<TokenId>{2, 3, 4, 3});

  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","background":true})") == 200);
  const std::string other = "/v1/responses/" + world.body()["id"].get<std::string>();
  CHECK(world.call("POST", other + "/cancel") == 200);
  CHECK(world.body()["status"] == "cancelled");
  CHECK(world.engine.cancelled.empty());
  world.exchange.run_posted();  // on the hub's thread
  CHECK(world.engine.cancelled.size() == 1);
  CHECK(world.hub.size() == 0);
  CHECK(world.call("GET", other) == 200);
  CHECK(world.body()["status"] == "cancelled");
}

TEST_CASE("a background response that fails says why; one whose engine is full is refused") {
  World world;
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","background":true})") == 200);
  const std::string path = "/v1/responses/" + world.body()["id"].get<std::string>();
  engine::Event failed;
  failed.finish = engine::FinishReason::kError;
  failed.error = "broken";
  world.engine.send(0, failed);
  world.hub.dispatch();
  CHECK(world.call("GET", path) == 200);
  CHECK(world.body()["status"] == "failed");
  CHECK(world.body()["error"]["message"] == "broken");
  world.engine.accepts_max = 1;
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","background":true})") == 429);
  CHECK(world.state.responses->responses() == 1);
  CHECK(world.hub.size() == 0);
}

TEST_CASE("a response made without 'background' cannot be cancelled") {
  World world;
  const std::string id = world.complete("/v1/responses", R"({"input":"a"})", {3})["id"];
  CHECK(world.call("POST", "/v1/responses/" + id + "/cancel") == 400);
  CHECK(world.call("POST", "/v1/responses/none/cancel") == 404);
  CHECK(world.call("GET", "/v1/responses/" + id + "?stream=true") == 400);
}

TEST_CASE("responses belong to the key that made them") {
  World world(test_keys());
  const World::Headers mine = {{"authorization", std::string("Bearer ") + kKey}};
  const World::Headers theirs = {{"x-api-key", "another-key-for-tests"}};
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a"})", mine) == 0);
  world.engine.send_tokens(0, 0, {3}, engine::FinishReason::kLength);
  world.hub.dispatch();
  const std::string path = "/v1/responses/" + world.body()["id"].get<std::string>();
  CHECK(world.call("GET", path, "", mine) == 200);
  CHECK(world.call("GET", path, "", theirs) == 404);
  CHECK(world.call("DELETE", path, "", theirs) == 404);
  CHECK(world.call("POST", path + "/cancel", "", theirs) == 404);
  CHECK(world.call("GET", path + "/input_items", "", theirs) == 404);
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","previous_response_id":")" + path.substr(14) + R"("})",
                   theirs) == 400);
  CHECK(world.call("GET", path) == 401);
}

TEST_CASE("a client that leaves ends its response, and nothing is stored") {
  World world;
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a"})") == 0);
  world.handler.reset();
  CHECK(world.engine.cancelled.size() == 1);
  CHECK(world.state.responses->responses() == 0);
}

TEST_CASE("tokens are counted as they would be used") {
  World world;
  CHECK(world.call("POST", "/v1/responses/input_tokens", R"({"input":"abc","instructions":"a"})") == 200);
  CHECK(world.exchange.answer->body == R"({"object":"response.input_tokens","input_tokens":4})");
  CHECK(world.call("POST", "/v1/messages/count_tokens",
                   R"({"messages":[{"role":"user","content":"abc"}],"system":"a"})") == 200);
  CHECK(world.exchange.answer->body == R"({"input_tokens":4})");
  CHECK(world.call("POST", "/v1/messages/count_tokens",
                   R"({"model":"x","messages":[{"role":"user","content":"a"}]})") == 404);
  CHECK(world.body()["error"]["type"] == "not_found_error");
}

TEST_CASE("a message, whole and streamed, with what the cache held") {
  World world;
  const std::string text = R"({"max_tokens":5,"messages":[{"role":"user","content":"ab"}])";
  CHECK(world.call("POST", "/v1/messages", text + "}") == 0);
  engine::Event event;
  event.tokens.resize(1);
  event.tokens[0].token = 3;
  event.usage.cached_tokens = 1;
  event.finish = engine::FinishReason::kLength;
  world.engine.send(0, event);
  world.hub.dispatch();
  CHECK(world.body()["content"][0]["text"] == "b");
  CHECK(world.body()["stop_reason"] == "model_context_window_exceeded");  // the engine ended it before max_tokens
  CHECK(world.body()["usage"]["input_tokens"] == 1);
  CHECK(world.body()["usage"]["cache_read_input_tokens"] == 1);
  CHECK(world.added("request-id") == world.exchange.header("x-request-id"));
  CHECK(world.call("POST", "/v1/messages", text + R"(,"stream":true})") == 0);
  event.finish = engine::FinishReason::kNone;
  world.engine.send(1, event);
  world.hub.dispatch();
  CHECK_THAT(world.exchange.stream, Catch::StartsWith("event: message_start\n") &&
                                        Catch::Contains("\"cache_read_input_tokens\":1,\"output_tokens\":0"));
  world.engine.send_tokens(1, 0, {1}, engine::FinishReason::kStop);
  world.hub.dispatch();
  CHECK_THAT(world.exchange.stream, Catch::EndsWith("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
  CHECK(world.exchange.is_ended);
}

TEST_CASE("while nothing comes a message's stream begins and pings; other APIs' stay silent or begin") {
  World world;
  const std::string text = R"({"max_tokens":5,"stream":true,"messages":[{"role":"user","content":"ab"}]})";
  CHECK(world.call("POST", "/v1/messages", text) == 0);
  world.handler->on_quiet();
  CHECK_THAT(world.exchange.stream, Catch::StartsWith("event: message_start\n") &&
                                        Catch::Contains("\"input_tokens\":2") &&
                                        Catch::EndsWith("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
  const std::size_t begun = world.exchange.stream.size();
  world.handler->on_quiet();
  CHECK(world.exchange.stream.substr(begun) == "event: ping\ndata: {\"type\":\"ping\"}\n\n");
  world.engine.send_tokens(0, 0, {3}, engine::FinishReason::kLength);
  world.hub.dispatch();
  CHECK(world.exchange.stream.find("message_start", 20) == world.exchange.stream.find("message_start\","));
  CHECK_THAT(world.exchange.stream, Catch::EndsWith("message_stop\"}\n\n"));
  CHECK(world.call("POST", "/v1/chat/completions", text) == 0);
  world.handler->on_quiet();
  CHECK_FALSE(world.exchange.answer.has_value());
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a","stream":true})") == 0);
  world.handler->on_quiet();
  world.handler->on_quiet();
  CHECK_THAT(world.exchange.stream, Catch::StartsWith("event: response.created\n"));
  CHECK(world.exchange.stream.find("response.created") == world.exchange.stream.rfind("event: response.created") + 7);
  CHECK(world.call("POST", "/v1/responses", R"({"input":"a"})") == 0);
  world.handler->on_quiet();
  CHECK_FALSE(world.exchange.answer.has_value());
}

TEST_CASE("refusals to Anthropic's clients are in its envelope, router and handlers alike") {
  World world(test_keys());
  const World::Headers key = {{"x-api-key", kKey}};
  const auto type = [&world] {
    const Json body = world.body();
    CHECK(body["type"] == "error");
    CHECK(body["request_id"] == world.exchange.header("x-request-id"));
    CHECK(world.added("request-id") == world.exchange.header("x-request-id"));
    return body["error"]["type"].get<std::string>();
  };
  CHECK(world.call("POST", "/v1/messages", "{}") == 401);
  CHECK(type() == "authentication_error");
  CHECK(world.call("GET", "/v1/messages", "", key) == 405);
  CHECK(type() == "invalid_request_error");
  CHECK(world.call("POST", "/v1/messages", "{}", key) == 400);
  CHECK(type() == "invalid_request_error");
  CHECK(world.call("POST", "/v1/messages", "[", key) == 400);
  CHECK(type() == "invalid_request_error");
  World::Headers versioned = key;
  versioned.emplace_back("anthropic-version", "2023-06-01");
  CHECK(world.call("GET", "/v1/messages/batches", "", versioned) == 404);
  CHECK(type() == "not_found_error");
  CHECK(world.call("GET", "/v1/models/none", "", versioned) == 404);
  CHECK(type() == "not_found_error");
  CHECK(world.call("GET", "/v1/models", "", versioned) == 200);
  CHECK(world.body()["data"][0]["type"] == "model");
  CHECK(world.call("GET", "/v1/models", "", key) == 200);
  CHECK(world.body()["data"][0]["object"] == "model");
  world.state.phase = Phase::kDraining;
  CHECK(world.call("POST", "/v1/messages", "{}", key) == 503);
  CHECK(type() == "overloaded_error");
  CHECK(world.call("POST", "/v1/responses", "{}", key) == 503);
  CHECK(world.body()["error"]["code"].is_string());
  HttpRequest head;
  head.target = "/v1/messages?beta=true";
  const HttpResponse large = world.router.refuse(openai::too_large("m"), &head);
  CHECK(Json::parse(large.body)["error"]["type"] == "request_too_large");
  head.target = "/v1/responses";
  CHECK(Json::parse(world.router.refuse(openai::too_large("m"), &head).body)["error"]["code"] == "request_too_large");
  CHECK(Json::parse(world.router.refuse(openai::too_large("m"), nullptr).body)["error"]["code"] == "request_too_large");
}

TEST_CASE("more tokens than the context holds are cut, the prompt is not") {
  World world;
  CHECK(world.call("POST", "/v1/messages", R"({"max_tokens":4096,"messages":[{"role":"user","content":"ab"}]})") == 0);
  CHECK(world.engine.requests[0].sampling.max_tokens == 18);
  CHECK(world.call("POST", "/v1/responses", R"({"max_output_tokens":4096,"input":"abc"})") == 0);
  CHECK(world.engine.requests[1].sampling.max_tokens == 17);
  CHECK(world.call("POST", "/v1/messages", R"({"max_tokens":0,"messages":[{"role":"user","content":"ab"}]})") == 0);
  CHECK(world.engine.requests[2].sampling.max_tokens == 0);
  CHECK(world.call("POST", "/v1/responses", R"({"input":")" + std::string(30, 'a') + R"("})") == 400);
  CHECK(world.body()["error"]["code"] == "context_length_exceeded");
  CHECK(world.body()["error"]["param"] == "input");
}

TEST_CASE("what the template or the tokenizer refuses is named as the API names it") {
  World world;
  CHECK(world.call("POST", "/v1/responses", R"({"input":"x"})") == 400);
  CHECK(world.body()["error"]["param"] == "input");
  CHECK(world.call("POST", "/v1/messages", R"({"max_tokens":1,"messages":[{"role":"user","content":"x"}]})") == 400);
}

}  // namespace
}  // namespace coppice::server
