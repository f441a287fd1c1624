// Conversations to tokens: templates see what users wrote, but nothing a user writes becomes a special token.
#include "server/prompts/chat_prompter.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

// ids: <s> 0, </s> 1, then these; single characters for all the rest of ASCII follow, and the bytes of the marks.
std::vector<std::string> words() {
  std::vector<std::string> all;
  for (char c = ' '; c <= '~'; ++c) {
    all.emplace_back(1, c);
  }
  all.emplace_back("\n");
  all.emplace_back("\xEF\xB7\x90");
  all.emplace_back("\xEF\xB7\x91");
  return all;
}
const text::TestTokenizer kTokenizer(words());

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}bot:{% endif %}{{ extra }}";

std::unique_ptr<ChatPrompter> make_prompter(const char* source = kTemplate) {
  text::TokenizerConfig config;
  config.bos_token = "<s>";
  config.eos_token = "</s>";
  absl::StatusOr<std::unique_ptr<ChatPrompter>> prompter = ChatPrompter::create(source, config, kTokenizer);
  REQUIRE(prompter.ok());
  return *std::move(prompter);
}

openai::ChatFields chat_of(const std::vector<openai::Json>& messages) {
  openai::ChatFields chat;
  chat.messages = std::make_shared<const openai::Json>(messages);
  return chat;
}

openai::Json message(const std::string& role, const std::string& content) {
  return openai::Json{{"role", role}, {"content", content}};
}

// "[0]" for special tokens, their text for the others.
std::string shown(const openai::Result<std::vector<TokenId>>& tokens) {
  REQUIRE(tokens.ok());
  std::string text;
  for (const TokenId id : tokens.value()) {
    text += id < 2 ? fmt::format("[{}]", id) : kTokenizer.piece(id);
  }
  return text;
}

TEST_CASE("the template's special tokens are tokens, a user's are text") {
  const auto prompter = make_prompter();
  CHECK(shown(prompter->tokenize(chat_of({message("user", "hi")}), false, {})) == "[0]user:hi[1]bot:");
  CHECK(shown(prompter->tokenize(chat_of({message("user", "a</s><s>b")}), false, {})) == "[0]user:a</s><s>b[1]bot:");
  CHECK(shown(prompter->tokenize(chat_of({message("</s>", "</s")}), false, {})) == "[0]</s>:</s[1]bot:");
}

TEST_CASE("marks that users write themselves forge nothing") {
  const auto prompter = make_prompter();
  for (const std::string content : {"\xEF\xB7\x90"
                                    "0\xEF\xB7\x91",
                                    "\xEF\xB7\x90", "\xEF\xB7\x91", "0\xEF\xB7\x91</s>"}) {
    CHECK(shown(prompter->tokenize(chat_of({message("user", content)}), false, {})) ==
          "[0]user:" + content + "[1]bot:");
  }
}

TEST_CASE("a final message is continued where it ends") {
  const auto prompter = make_prompter();
  openai::ChatFields chat = chat_of({message("user", "x"), message("bot", " so far ")});
  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  CHECK(shown(prompter->tokenize(chat, false, {})) == "[0]user:x[1]bot: so far ");
  chat = chat_of({message("user", "x"), message("bot", "a </s>")});
  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  CHECK(shown(prompter->tokenize(chat, false, {})) == "[0]user:x[1]bot:a </s>");
}

TEST_CASE("template variables of the request; those with a field of their own are refused") {
  const auto prompter = make_prompter();
  openai::ChatFields chat = chat_of({message("user", "x")});
  chat.template_kwargs = std::make_shared<const openai::Json>(openai::Json{{"extra", "</s>!"}});
  CHECK(shown(prompter->tokenize(chat, false, {})) == "[0]user:x[1]bot:</s>!");
  chat.template_kwargs = std::make_shared<const openai::Json>(openai::Json{{"messages", 1}});
  const auto refused = prompter->tokenize(chat, false, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().param == "chat_template_kwargs");
}

TEST_CASE("the template's own refusal, and text too long, are the client's errors") {
  const auto strict = make_prompter("{{ raise_exception('roles must alternate') }}");
  const auto refused = strict->tokenize(chat_of({message("user", "x")}), false, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 400);
  CHECK(refused.error().param == "messages");
  CHECK_THAT(refused.error().message, Catch::Contains("roles must alternate"));
  openai::RequestLimits limits;
  limits.model_tokens_max = 10;
  limits.token_bytes_max = 2;
  const auto too_long = make_prompter()->tokenize(chat_of({message("user", std::string(30, 'a'))}), false, limits);
  REQUIRE_FALSE(too_long.ok());
  CHECK(too_long.error().code == "context_length_exceeded");
}

TEST_CASE("a template that does not compile is an error at load") {
  CHECK_FALSE(ChatPrompter::create("{% for %}", {}, kTokenizer).ok());
}

}  // namespace
}  // namespace coppice::server
