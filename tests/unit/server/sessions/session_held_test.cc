// Answers that a grammar holds, beside tools and reasoning.
#include "tests/unit/server/sessions/session_world.h"

namespace coppice::server {
namespace {

// ids: <s> 0, </s> 1, <think> 2, </think> 3, <tool_call> 4, <function=f> 5, {} 6, x 7; then what grammars need
struct HeldWorld : SessionWorld {
  HeldWorld() {
    std::vector<std::string> words = {"<think>", "</think>", "<tool_call>", "<function=f>", "{}", "x", "\n"};
    for (char c = ' '; c <= '~'; ++c) {
      if (c != 'x') {
        words.emplace_back(1, c);
      }
    }
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::move(words));
    host.request_limits.vocab = host.tokenizer->vocab_size();
    text::TokenizerConfig config;
    config.chat_templates = {{"default", "x"}};
    host.prompter = ChatPrompter::create(config, *host.tokenizer).value();
    host.output_rules = OutputRules(*find_tool_format("qwen3_coder"), *find_reasoning_format("qwen3"), *host.tokenizer);
    host.reasoning_tokens = std::make_unique<ReasoningTokens>(*find_reasoning_format("qwen3"), *host.tokenizer,
                                                              host.tokenizer->vocab_size(), std::vector<TokenId>{1});
    host.grammars =
        std::make_unique<OutputGrammars>(*host.tokenizer, host.tokenizer->vocab_size(), std::vector<TokenId>{1});
  }

  openai::MaybeError ask(const std::string& fields) {
    auto parsed = openai::parse_chat_request(
        R"({"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],)" +
            fields + "}",
        host.request_limits);
    REQUIRE(parsed.ok());
    sink = {};
    session = std::make_unique<Session>(host, hub, sink);
    return session->start(std::move(parsed.value()), "");
  }

  // What comes of the answer `tokens`.
  openai::ChoiceDelta answer(const std::vector<TokenId>& tokens) {
    engine.send_tokens(engine.requests.size() - 1, 0, tokens);
    engine.send_tokens(engine.requests.size() - 1, 0, {1}, engine::FinishReason::kStop);
    hub.dispatch();
    REQUIRE(sink.answer.has_value());
    return sink.answer->choices.at(0);
  }
};

std::string reasoning_of(const openai::ChoiceDelta& choice) {
  std::string all;
  for (const openai::OutputItem& item : choice.items) {
    if (const auto* const part = std::get_if<openai::ReasoningDelta>(&item)) {
      all += part->text;
    }
  }
  return all;
}

TEST_CASE("the thinking of an answer that a grammar holds makes no calls") {
  HeldWorld world;
  REQUIRE_FALSE(world.ask(R"("response_format":{"type":"json_object"})").has_value());
  const openai::ChoiceDelta choice = world.answer({2, 7, 4, 5, 3, 6});
  CHECK(reasoning_of(choice) == "x<tool_call><function=f>");
  CHECK(text_of(choice).text == "{}");
  CHECK(finish_of(choice).reason == openai::FinishReason::kStop);
}

TEST_CASE("a bound on thinking holds no answer: a call may end it") {
  HeldWorld world;
  REQUIRE_FALSE(world.ask(R"("thinking_budget":9)").has_value());
  const openai::ChoiceDelta choice = world.answer({2, 7, 4, 5});
  CHECK(reasoning_of(choice) == "x");
  CHECK(finish_of(choice).reason == openai::FinishReason::kToolCalls);
}

TEST_CASE("a strict schema beside tools keeps its promise, and its own name") {
  HeldWorld world;
  const auto format = [](const char* strict) {
    return std::string(R"("response_format":{"type":"json_schema","json_schema":{"name":"s","strict":)") + strict +
           R"(,"schema":{"type":"object","properties":{"a":{"not":{"type":"null"}}}}}})";
  };
  const openai::MaybeError refused = world.ask(format("true"));
  REQUIRE(refused.has_value());
  CHECK(refused->status == 400);
  CHECK_THAT(refused->message, Catch::Contains("response_format") && Catch::Contains("/properties/a"));
  CHECK_FALSE(world.ask(format("false")).has_value());
}

}  // namespace
}  // namespace coppice::server
