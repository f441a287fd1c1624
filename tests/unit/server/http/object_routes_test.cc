// Routes that answer with one object: models, tokens, vectors, decisions, corpora.
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/server/http/router_world.h"

namespace coppice::server {
namespace {

using World = RouterWorld;

TEST_CASE("a model may have several names; answers say the first") {
  World world;
  REQUIRE(world.host.set_names("m,n/2").ok());
  CHECK(world.call("GET", "/v1/models") == 200);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains(R"("id":"m")") && Catch::Contains(R"("id":"n/2")"));
  for (const char* const target : {"/v1/models/m", "/v1/models/n/2", "/v1/models/n%2F2"}) {
    INFO(target);
    CHECK(world.call("GET", target) == 200);
  }
  CHECK(world.call("GET", "/v1/models/n") == 404);
  CHECK(world.call("POST", "/tokenize", R"({"prompt":"ab","model":"n/2"})") == 200);
  CHECK(world.call("POST", "/tokenize", R"({"prompt":"ab","model":"m,n/2"})") == 404);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("'m', 'n/2'"));
  for (const char* const names : {"", ",", "a,", ",a", "a,,b", "a,b,a"}) {
    INFO(names);
    CHECK_FALSE(ModelHost().set_names(names).ok());
  }
}

TEST_CASE("the tokens of a request, as the answer would count them") {
  World world;
  CHECK(world.call("POST", "/v1/completions/input_tokens", R"({"prompt":["ab","a",[2,3]]})") == 200);
  CHECK(world.exchange.answer->body == R"({"object":"response.input_tokens","input_tokens":7})");
  CHECK(world.call("POST", "/v1/completions/input_tokens", R"({"prompt":1})") == 400);
  CHECK(world.call("POST", "/v1/chat/completions/input_tokens", R"({"messages":[]})") == 400);
  CHECK(world.engine.requests.empty());
}

TEST_CASE("routes of models that write no text say what they need") {
  World world;
  for (const char* const path : {"/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score"}) {
    INFO(path);
    CHECK(world.call("POST", path, R"({"query":"a","documents":["b"]})") == 501);
    CHECK_THAT(world.exchange.answer->body,
               Catch::Contains("reranking model") && Catch::Contains(R"("type":"invalid_request_error")"));
    CHECK(world.call("GET", path) == 405);
  }
}

TEST_CASE("a chat without a template, a model by another name, tokens and back") {
  World world;
  CHECK(world.call("POST", "/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}]})") == 400);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("no chat template"));
  CHECK(world.call("POST", "/v1/completions", R"({"prompt":"a","model":"x"})") == 404);
  CHECK(world.call("POST", "/tokenize", R"({"prompt":"ab","return_token_strs":true})") == 200);
  CHECK(world.exchange.answer->body ==
        R"({"count":3,"max_model_len":50,"tokens":[0,2,3],"token_strs":["<s>","a","b"]})");
  CHECK(world.call("POST", "/detokenize", R"({"tokens":[2,3]})") == 200);
  CHECK(world.exchange.answer->body == R"({"prompt":"ab"})");
}

TEST_CASE("embeddings go to the engine and come back as vectors of length 1") {
  World world;
  world.host.request_limits.hidden = 2;
  CHECK(world.call("POST", "/v1/embeddings", R"({"input":["ab","a"],"pooling":"mean"})") == 0);
  REQUIRE(world.engine.requests.size() == 1);
  CHECK(world.engine.requests[0].reading == engine::Reading::kMeanHidden);
  for (std::int32_t choice = 0; choice < 2; ++choice) {
    engine::Event event;
    event.choice = choice;
    event.reading = {3, choice == 0 ? 4.0F : -4.0F};
    event.finish = engine::FinishReason::kLength;
    world.engine.send(0, std::move(event));
  }
  world.hub.dispatch();
  REQUIRE(world.exchange.answer.has_value());
  CHECK(world.exchange.answer->status == 200);
  CHECK_THAT(world.exchange.answer->body,
             Catch::StartsWith(
                 R"({"object":"list","model":"m/1","data":[{"object":"embedding","index":0,"embedding":[0.6,0.8]},)"
                 R"({"object":"embedding","index":1,"embedding":[0.6,-0.8]}],"usage":{"prompt_tokens":5,)"));
  CHECK(world.call("POST", "/v1/embeddings", R"({"input":"a","model":"x"})") == 404);
  CHECK(world.call("POST", "/v1/embeddings", R"({"input":"a"})") == 0);
  world.handler.reset();
  CHECK(world.engine.cancelled.size() == 1);
  CHECK_THAT(world.state.metrics.page({}, {}), Catch::Contains("route=\"/v1/embeddings\",status=\"499\"} 1"));
}

TEST_CASE("decisions need a chat template, and say so") {
  World world;
  const std::string body = R"({"model":"m/1","input":"a","questions":[{"type":"predicate","instructions":"b"}]})";
  CHECK(world.call("POST", "/v1/decisions", body) == 501);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("\"code\":\"not_implemented\""));
}

TEST_CASE("corpora are added to, listed and dropped by their owner") {
  World world;
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"c","texts":["ab","b"]})") == 200);
  CHECK(world.exchange.answer->body ==
        R"({"name":"c","object":"speculation.corpus","sequences":2,"tokens":3,"shared":false})");
  REQUIRE(world.engine.learned.size() == 1);
  CHECK(world.engine.learned[0].sequences == std::vector<std::vector<TokenId>>{{2, 3}, {3}});
  CHECK_FALSE(world.engine.learned[0].everyones);
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"c","tokens":[[1,2]]})") == 200);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("\"tokens\":5"));
  CHECK(world.call("GET", "/v1/speculation/corpora") == 200);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("\"name\":\"c\""));
  CHECK(world.call("GET", "/v1/speculation/corpora?cache_salt=other") == 200);
  CHECK(world.exchange.answer->body == R"({"object":"list","data":[]})");
  CHECK(world.call("DELETE", "/v1/speculation/corpora/c?cache_salt=other") == 404);
  CHECK(world.call("DELETE", "/v1/speculation/corpora/d") == 404);
  CHECK(world.engine.forgotten.empty());
  CHECK(world.call("DELETE", "/v1/speculation/corpora/c") == 200);
  CHECK(world.engine.forgotten.size() == 1);
  CHECK(world.call("DELETE", "/v1/speculation/corpora/c") == 404);
}

TEST_CASE("corpora keep their bounds, and dropping one makes room") {
  World world;
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"c","texts":["abababababababababababab"]})") == 413);
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"c","texts":["ababab"]})") == 200);
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"d","texts":["ababa"]})") == 413);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("4 are left; got 5"));
  CHECK(world.call("DELETE", "/v1/speculation/corpora/c") == 200);
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"d","texts":["ababa"]})") == 429);
  world.engine.learned.clear();  // the engine has dropped it
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"d","texts":["ababa"]})") == 200);
  world.host.corpora.reset();
  CHECK(world.call("GET", "/v1/speculation/corpora") == 404);
  CHECK_THAT(world.exchange.answer->body, Catch::Contains("without speculation"));
}

TEST_CASE("a corpus is dropped by its own path alone, and /detokenize checks the model") {
  World world;
  CHECK(world.call("POST", "/v1/speculation/corpora", R"({"name":"c","texts":["ab"]})") == 200);
  for (const char* const other : {"/v1/speculation/corpora/x/c", "/v1/speculation/corpora//c",
                                  "/v1/speculation/corpora/x%2Fc", "/v1/speculation/corpora/c//"}) {
    INFO(other);
    CHECK(world.call("DELETE", other) == 404);
  }
  CHECK(world.call("DELETE", "/v1/speculation/corpora/c") == 200);
  CHECK(world.call("POST", "/detokenize", R"({"tokens":[2],"model":"x"})") == 404);
}

}  // namespace
}  // namespace coppice::server
