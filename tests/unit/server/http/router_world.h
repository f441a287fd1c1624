// A router over a scripted engine, called without a socket.
#pragma once

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/http/router.h"
#include "tests/support/recording_exchange.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {

inline constexpr const char* kKey = "a-key-for-tests";

inline ApiKeys test_keys() {
  const std::string path = std::string(std::tmpnam(nullptr)) + ".keys";
  std::ofstream(path) << kKey << "\n";
  absl::StatusOr<ApiKeys> keys = ApiKeys::load(path);
  std::remove(path.c_str());
  REQUIRE(keys.ok());
  return *std::move(keys);
}

struct RouterWorld {
  explicit RouterWorld(ApiKeys keys = {}, RouterOptions options = {})
      : state("m", std::move(keys)), router(state, std::move(options)) {
    host.name = std::string("m/1");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b"});
    host.engine = &engine;
    host.metrics = &state.metrics;
    host.request_limits.vocab = 4;
    host.request_limits.model_tokens_max = 50;
    CorporaLimits corpora;
    corpora.tokens_max = 10;
    corpora.text_bytes_max = 20;
    host.corpora = std::make_unique<Corpora>(engine, host.encoder(), state.keys, corpora);
    state.host = &host;
    state.phase = Phase::kServing;
  }

  int call(const std::string& method, const std::string& target, const std::string& body = "",
           const std::string& authorization = "") {
    handler.reset();
    exchange.reset();
    HttpRequest request{method, target, {{"host", "x"}, {"content-type", "application/json"}}, body, nullptr};
    if (!authorization.empty()) {
      request.headers.emplace_back("authorization", authorization);
    }
    handler = router.handle(std::move(request), exchange, hub);
    return exchange.answer ? exchange.answer->status : 0;
  }

  ServerState state;
  engine::ScriptedEngine engine;
  ModelHost host;
  SessionHub hub{[] {}};
  Router router;
  RecordingExchange exchange;
  std::unique_ptr<RequestHandler> handler;
};

}  // namespace coppice::server
