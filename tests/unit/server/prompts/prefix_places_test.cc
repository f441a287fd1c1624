// Breakpoints become numbers of tokens: as far as what stands before them is a beginning of the prompt.
#include "server/prompts/prefix_places.h"

#include <catch2/catch.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using openai::CacheBreakpoint;
using openai::Json;

// ids: <s> 0, </s> 1, then these; "ab" is one token, so a cut between a and b falls into it.
const std::vector<std::string> kWords = {"a", "b", "ab", " ", "\n", "S", "U", "A", ":", "T", "x", "y", "?"};

struct World {
  explicit World(const std::string& chat_template) : tokenizer(kWords) {
    text::TokenizerConfig config;
    config.bos_token = "<s>";
    config.eos_token = "</s>";
    config.chat_templates = {{"default", chat_template}};
    prompter = ChatPrompter::create(config, tokenizer).value();
    limits.vocab = tokenizer.vocab_size();
    limits.model_tokens_max = 1000;
  }

  PromptEncoder encoder() const { return {tokenizer, prompter.get(), limits}; }

  // The text of each place's tokens.
  std::vector<std::string> places(const Json& messages, openai::CacheBreakpoints breakpoints, bool has_tools = false) {
    openai::GenerationRequest request;
    request.kind = openai::RequestKind::kChat;
    request.chat.messages = std::make_shared<const Json>(messages);
    if (has_tools) {
      request.chat.tools = std::make_shared<const Json>(Json::array({"T"}));
    }
    request.cache_breakpoints = std::move(breakpoints);
    const openai::Result<std::vector<TokenIds>> prompts = encoder().encode(request);
    REQUIRE(prompts.ok());
    const TokenIds& prompt = prompts.value().front();
    std::vector<std::string> texts;
    for (const std::int32_t place : find_places(request, prompt, encoder())) {
      texts.push_back(tokenizer.decode({prompt.data(), static_cast<std::size_t>(place)}, /*skip_special=*/false));
    }
    return texts;
  }

  text::TestTokenizer tokenizer;
  std::unique_ptr<ChatPrompter> prompter;
  openai::RequestLimits limits;
};

constexpr const char* kPlain =
    "{{ bos_token }}{% if tools %}T:{{ tools[0] }}\n{% endif %}"
    "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}";

const Json kTalk = Json::parse(
    R"([{"role":"S","content":"a a"},{"role":"U","content":"b b b"},{"role":"A","content":"a"},
        {"role":"U","content":"ab"}])");

TEST_CASE("a place after whole messages is after what the template makes of them") {
  World world(kPlain);
  CHECK(world.places(kTalk, {{1, CacheBreakpoint::kWholeMessage}, {3, CacheBreakpoint::kWholeMessage}}) ==
        std::vector<std::string>{"<s>S:a a</s>", "<s>S:a a</s>U:b b b</s>A:a</s>"});
  CHECK(world.places(kTalk, {{4, CacheBreakpoint::kWholeMessage}}) ==
        std::vector<std::string>{"<s>S:a a</s>U:b b b</s>A:a</s>U:ab</s>"});
}

TEST_CASE("a place in a message ends where the texts part, at a token") {
  World world(kPlain);
  CHECK(world.places(kTalk, {{2, 3}}) == std::vector<std::string>{"<s>S:a a</s>U:b b"});
  CHECK(world.places(kTalk, {{4, 1}}) == std::vector<std::string>{"<s>S:a a</s>U:b b b</s>A:a</s>U:"});
}

TEST_CASE("a place after the tools needs no message") {
  World world(kPlain);
  CHECK(world.places(kTalk, {{0, CacheBreakpoint::kWholeMessage}}, true) ==
        std::vector<std::string>{"<s>T:T\nS:"});  // which every such prompt has in common
}

TEST_CASE("a template that refuses the conversation when it is cut") {
  // The last message must be the user's, and there must be four.
  World world(
      std::string("{% if messages[-1].role != 'U' or messages | length < 4 %}{{ raise_exception('no') }}{% endif %}") +
      kPlain);
  CHECK(world.places(kTalk, {{1, CacheBreakpoint::kWholeMessage}, {3, CacheBreakpoint::kWholeMessage}}) ==
        std::vector<std::string>{"<s>S:a a</s>U:", "<s>S:a a</s>U:b b b</s>A:a</s>U:"});
}

TEST_CASE("a template that writes the end first has nothing before it") {
  World world("{{ messages | length }}");  // "4", of which there is no token
  openai::GenerationRequest request;
  request.kind = openai::RequestKind::kChat;
  request.chat.messages = std::make_shared<const Json>(kTalk);
  request.cache_breakpoints = {{1, CacheBreakpoint::kWholeMessage}};
  CHECK(find_places(request, TokenIds{5, 6}, world.encoder()) == std::vector<std::int32_t>{0});
  World reversed("{% for m in messages | reverse %}{{ m.role }}:{{ m.content }}{% endfor %}");
  CHECK(reversed.places(kTalk, {{1, CacheBreakpoint::kWholeMessage}}) == std::vector<std::string>{""});
}

TEST_CASE("places ascend, and none is looked for when the client has left") {
  World world(kPlain);
  openai::GenerationRequest request;
  request.kind = openai::RequestKind::kChat;
  request.chat.messages = std::make_shared<const Json>(kTalk);
  request.cache_breakpoints = {{1, CacheBreakpoint::kWholeMessage}, {2, CacheBreakpoint::kWholeMessage}};
  const CancelFlag cancelled{true};
  CHECK(find_places(request, TokenIds{0}, world.encoder(), {.cancelled = &cancelled}).empty());
}

}  // namespace
}  // namespace coppice::server
