// One encoder for every use of a prompt: what one use computes, the others find.
#include "server/prompts/prompt_encoder.h"

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "proto/openai/parse_request.h"
#include "server/sessions/pinned_prompts.h"
#include "server/sessions/session.h"
#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

// ids: <s> 0, </s> 1, then these.
const std::vector<std::string> kWords = {"a", "b", " ", ":", "user", "</", "s>"};

struct World {
  World() {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(kWords);
    text::TokenizerConfig config;
    config.bos_token = "<s>";
    constexpr const char* kTemplate = "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}";
    config.chat_templates = {{"default", kTemplate}};
    host.prompter = ChatPrompter::create(config, *host.tokenizer).value();
    host.engine = &engine;
    host.metrics = &metrics;
    host.request_limits.vocab = 9;
    host.request_limits.model_tokens_max = 100;
  }

  openai::GenerationRequest parse(const std::string& body) const {
    auto parsed = body.find("messages") == std::string::npos
                      ? openai::parse_completion_request(body, host.request_limits)
                      : openai::parse_chat_request(body, host.request_limits);
    REQUIRE(parsed.ok());
    return parsed.value();
  }

  engine::ScriptedEngine engine;
  Metrics metrics{"m"};
  ModelHost host;
};

class SilentSink final : public OutputSink {
 public:
  void on_delta(openai::ChoiceDelta /*delta*/) override {}
  void on_done(openai::Answer /*answer*/) override {}
  void on_error(openai::ApiError /*error*/) override {}
  void on_flush() override {}
};

const std::vector<std::string> kBodies = {
    R"({"prompt":"a b"})",
    R"({"prompt":"a b","add_special_tokens":false})",
    R"({"prompt":"a</s>b","parse_special":false})",
    R"({"prompt":"a</s>b"})",
    R"({"messages":[{"role":"user","content":"a b"}]})",
    R"({"messages":[{"role":"user","content":"</s>"}],"add_special_tokens":true})",
};

TEST_CASE("a request, a pinned prompt and /tokenize give the same tokens") {
  for (const std::string& body : kBodies) {
    INFO(body);
    World world;
    SessionHub hub([] {});
    SilentSink sink;
    Session session(world.host, hub, sink);
    REQUIRE_FALSE(session.start(world.parse(body), "").has_value());
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("coppice_pins_" + std::to_string(getpid()));
    std::ofstream(path) << body << "\n";
    REQUIRE(pin_prompts(path.string(), world.host, ApiKeys()).ok());
    std::filesystem::remove(path);
    REQUIRE(world.engine.requests.size() == 2);
    CHECK(world.engine.requests[1].pin);
    CHECK(world.engine.requests[0].prompt == world.engine.requests[1].prompt);
    CHECK(world.engine.requests[0].tenant == world.engine.requests[1].tenant);
    const auto tokenize = openai::parse_tokenize_request(body, world.host.request_limits);
    REQUIRE(tokenize.ok());
    const openai::Result<TokenIds> ids = world.host.encoder().encode(tokenize.value());
    REQUIRE(ids.ok());
    CHECK(ids.value() == world.engine.requests[0].prompt);
  }
}

TEST_CASE("special tokens are there when they should be") {
  const World world;
  const std::vector<TokenIds> expected = {{0, 2, 4, 3}, {2, 4, 3},          {0, 2, 7, 8, 3},
                                          {0, 2, 1, 3}, {0, 6, 5, 2, 4, 3}, {0, 0, 6, 5, 7, 8}};
  for (std::size_t i = 0; i < kBodies.size(); ++i) {
    INFO(kBodies[i]);
    const openai::Result<std::vector<TokenIds>> prompts = world.host.encoder().encode(world.parse(kBodies[i]));
    REQUIRE(prompts.ok());
    REQUIRE(prompts.value().size() == 1);
    CHECK(prompts.value()[0] == expected[i]);
  }
  CHECK(world.host.encoder().encode_output("texts", "a</s>").value() == TokenIds{2, 7, 8});
}

TEST_CASE("several prompts, as text and as tokens") {
  const World world;
  const auto texts = world.host.encoder().encode(world.parse(R"({"prompt":["a","b"]})"));
  REQUIRE(texts.ok());
  CHECK(texts.value() == std::vector<TokenIds>{{0, 2}, {0, 3}});
  const auto tokens = world.host.encoder().encode(world.parse(R"({"prompt":[[2,3],[4]]})"));
  REQUIRE(tokens.ok());
  CHECK(tokens.value() == std::vector<TokenIds>{{2, 3}, {4}});
}

TEST_CASE("an answer between two texts, with the model's own tokens for it") {
  World world;
  const openai::GenerationRequest request = world.parse(R"({"prompt":"a","suffix":"b"})");
  const auto refused = world.host.encoder().encode(request);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().param == "suffix");
  const auto with = [&](const std::vector<std::string>& added) {
    world.host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b"}, added);
    return world.host.encoder().encode(request).value();
  };
  CHECK(with({"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}) == std::vector<TokenIds>{{0, 4, 2, 5, 3, 6}});
  CHECK(with({"<fim_suffix>", "<fim_middle>", "<fim_prefix>"}) == std::vector<TokenIds>{{0, 6, 2, 4, 3, 5}});
  CHECK(with({"[SUFFIX]", "[PREFIX]"}) == std::vector<TokenIds>{{0, 4, 3, 5, 2}});
  CHECK(world.host.encoder().encode(world.parse(R"({"prompt":"a","suffix":""})")).value() ==
        std::vector<TokenIds>{{0, 2}});
}

TEST_CASE("refusals name the field") {
  World world;
  const auto unknown = world.host.encoder().encode(world.parse(R"({"prompt":"?"})"));
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().param == "prompt");
  CHECK(world.host.encoder().encode_output("texts", "?").error().param == "texts");
  world.host.request_limits.token_bytes_max = 1;
  world.host.request_limits.model_tokens_max = 2;
  const openai::GenerationRequest request = world.parse(R"({"prompt":"aaa"})");
  CHECK(world.host.encoder().encode(request).error().code == "context_length_exceeded");
  openai::TokenizeRequest tokenize;
  tokenize.prompt = "aaa";
  CHECK(world.host.encoder().encode(tokenize).ok());  // to count them
  const openai::GenerationRequest chat = world.parse(R"({"messages":[{"role":"user","content":"a"}]})");
  world.host.prompter.reset();
  CHECK(world.host.encoder().encode(chat).error().message == "this model has no chat template: use /v1/completions");
  tokenize.is_chat = true;
  CHECK(world.host.encoder().encode(tokenize).error().message ==
        "this model has no chat template: use /v1/completions");
}

TEST_CASE("a chat template that cannot be used says why to those who ask for a chat") {
  World world;
  const openai::GenerationRequest chat = world.parse(R"({"messages":[{"role":"user","content":"a"}]})");
  world.host.prompter.reset();
  world.host.prompter_problem = "line 3: unknown filter 'nope'";
  CHECK_THAT(world.host.encoder().encode(chat).error().message, Catch::Contains("line 3: unknown filter 'nope'"));
}

TEST_CASE("the memory of encoding is asked for before it is used, a text at a time") {
  World world;
  static_cast<text::TestTokenizer&>(*world.host.tokenizer).memory_of_byte = 1000;
  MemoryLimits limits;
  limits.request_bytes = 120'000;
  MemoryBudget budget(limits);
  MemoryBudget::Lease lease(budget);
  const JobContext job{nullptr, &lease};
  const std::string hundred(100, 'a');
  const std::string more(130, 'a');
  const PromptEncoder encoder = world.host.encoder();
  CHECK(encoder.encode_output("texts", hundred, job).ok());
  CHECK(encoder.encode_output("texts", more, job).error().status == 413);
  openai::GenerationRequest request;
  request.prompts.assign(5, hundred);
  CHECK(encoder.encode(request, job).ok());
  request.prompts.emplace_back(more);
  CHECK(encoder.encode(request, job).error().status == 413);
  openai::TokenizeRequest tokenize;
  tokenize.prompt = more;
  CHECK(encoder.encode(tokenize, job).error().status == 413);
}

TEST_CASE("tokenising ends before the next prompt when the client has left") {
  World world;
  const std::atomic<bool> cancelled = true;
  const auto tokens = world.host.encoder().encode(world.parse(R"({"prompt":["a","b"]})"), {&cancelled, nullptr});
  REQUIRE_FALSE(tokens.ok());
  CHECK(tokens.error().status == openai::kClientLeftStatus);
}

}  // namespace
}  // namespace coppice::server
