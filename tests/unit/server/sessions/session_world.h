// A session over a scripted engine, and what it says.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/parse_request.h"
#include "server/sessions/session.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {

// The text of a delta or of a whole choice.
inline openai::TextDelta text_of(const openai::ChoiceDelta& delta) {
  openai::TextDelta all;
  for (const openai::OutputItem& item : delta.items) {
    if (const auto* const text = std::get_if<openai::TextDelta>(&item)) {
      all.text += text->text;
      all.tokens.insert(all.tokens.end(), text->tokens.begin(), text->tokens.end());
    }
  }
  return all;
}

// REQUIRES: the choice has ended.
inline openai::Finish finish_of(const openai::ChoiceDelta& delta) {
  REQUIRE_FALSE(delta.items.empty());
  return std::get<openai::Finish>(delta.items.back());
}

class RecordingSink final : public OutputSink {
 public:
  void on_begin(const openai::AnswerUsage& begun) override { known.push_back(begun); }
  void on_delta(openai::ChoiceDelta delta) override { deltas.push_back(std::move(delta)); }
  void on_done(openai::Answer done) override { answer = std::move(done); }
  void on_error(openai::ApiError failed) override { error = std::move(failed); }
  void on_flush() override { ++flushes; }

  // The streamed text of one choice.
  std::string text(std::int32_t index) const {
    std::string all;
    for (const openai::ChoiceDelta& delta : deltas) {
      if (delta.index == index) {
        all += text_of(delta).text;
      }
    }
    return all;
  }

  std::vector<openai::AnswerUsage> known;
  std::vector<openai::ChoiceDelta> deltas;
  std::optional<openai::Answer> answer;
  openai::MaybeError error;
  int flushes = 0;
};

// ids: <s> 0, </s> 1, a 2, b 3, c 4, " " 5, d 6
struct SessionWorld {
  SessionWorld() {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b", "c", " ", "d"});
    host.engine = &engine;
    host.metrics = &metrics;
    host.request_limits.vocab = 7;
    host.request_limits.model_tokens_max = 20;
  }

  openai::MaybeError start(const std::string& body, const std::string& tenant = "") {
    auto parsed = openai::parse_completion_request(body, host.request_limits);
    REQUIRE(parsed.ok());
    session = std::make_unique<Session>(host, hub, sink);
    return session->start(std::move(parsed.value()), tenant);
  }

  std::string metric(const std::string& line) const {
    const std::string page = metrics.page({}, {});
    const std::size_t at = page.find(line);
    return at == std::string::npos ? "none" : page.substr(at, page.find('\n', at) - at);
  }

  engine::ScriptedEngine engine;
  Metrics metrics{"m"};
  ModelHost host;
  int wakes = 0;
  SessionHub hub{[this] { ++wakes; }};
  RecordingSink sink;
  std::unique_ptr<Session> session;
};

using World = SessionWorld;  // another class of this name is in the same program

}  // namespace coppice::server
