// Conversations to tokens: templates see what users wrote, but nothing a user writes becomes a control token.
#include "server/prompts/chat_prompter.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

// ids: <s> 0, </s> 1, then the 256 bytes, then two added tokens that are not special.
std::vector<std::string> bytes() {
  std::vector<std::string> all;
  for (int byte = 0; byte < 256; ++byte) {
    all.emplace_back(1, static_cast<char>(byte));
  }
  return all;
}
constexpr TokenId kBytes = 2;
constexpr TokenId kAdded = kBytes + 256;
const text::TestTokenizer kTokenizer(bytes(), {"<tool>", "<b>"});

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}bot:{% endif %}{{ extra }}";

text::TokenizerConfig config_of(std::vector<text::NamedTemplate> templates) {
  text::TokenizerConfig config;
  config.bos_token = "<s>";
  config.eos_token = "</s>";
  config.chat_templates = std::move(templates);
  return config;
}

std::unique_ptr<ChatPrompter> make_prompter(const std::vector<text::NamedTemplate>& templates) {
  absl::StatusOr<std::unique_ptr<ChatPrompter>> prompter = ChatPrompter::create(config_of(templates), kTokenizer);
  REQUIRE(prompter.ok());
  return *std::move(prompter);
}
std::unique_ptr<ChatPrompter> make_prompter(const std::string& source = kTemplate) {
  return make_prompter(std::vector<text::NamedTemplate>{{"default", source}});
}

openai::ChatFields chat_of(const std::vector<openai::Json>& messages) {
  openai::ChatFields chat;
  chat.messages = std::make_shared<const openai::Json>(messages);
  return chat;
}

openai::Json message(const std::string& role, const std::string& content) {
  return openai::Json{{"role", role}, {"content", content}};
}

// "[0]" for special and added tokens, their text for the others.
std::string shown(const openai::Result<std::vector<TokenId>>& tokens) {
  INFO((tokens.ok() ? "" : tokens.error().message));
  REQUIRE(tokens.ok());
  std::string text;
  for (const TokenId id : tokens.value()) {
    text += id < kBytes || id >= kAdded ? fmt::format("[{}]", id) : kTokenizer.piece(id);
  }
  return text;
}

std::string prompt_of(const ChatPrompter& prompter, const openai::ChatFields& chat) {
  return shown(prompter.tokenize(chat, false, {}));
}

TEST_CASE("the template's special tokens are tokens, a user's are text") {
  const auto prompter = make_prompter();
  CHECK(prompt_of(*prompter, chat_of({message("user", "hi")})) == "[0]user:hi[1]bot:");
  CHECK(prompt_of(*prompter, chat_of({message("user", "a</s><s>b")})) == "[0]user:a</s><s>b[1]bot:");
  CHECK(prompt_of(*prompter, chat_of({message("</s>", "</s")})) == "[0]</s>:</s[1]bot:");
}

TEST_CASE("added tokens that the template writes are tokens, a user's are text; others are as the tokenizer has them") {
  const auto prompter = make_prompter("{% for m in messages %}{{ '<tool>' ~ m.content }}{% endfor %}");
  CHECK(prompt_of(*prompter, chat_of({message("user", "a<tool>b")})) == "[258]a<tool>b");
  CHECK(prompt_of(*prompter, chat_of({message("tool", "<tool><tool>")})) == "[258]<tool><tool>");
  CHECK(prompt_of(*prompter, chat_of({message("user", "<b>")})) == "[258][259]");
  // What an assistant said was written by the model, as the token.
  CHECK(prompt_of(*prompter, chat_of({message("assistant", "<tool></s>")})) == "[258][258]</s>");
  text::TokenizerConfig named = config_of({{"default", "{{ messages[0].content }}<tool>"}});
  named.chat_control_tokens = {"<b>"};
  const auto listed = ChatPrompter::create(named, kTokenizer).value();
  CHECK(prompt_of(*listed, chat_of({message("user", "<b><tool>")})) == "<b>[258][258]");
}

TEST_CASE("keys that users name are text too") {
  const auto prompter =
      make_prompter("{% for k, v in extra.items() %}{{ k ~ v }}{% endfor %}{{ messages[0].content }}");
  openai::ChatFields chat = chat_of({message("user", "x")});
  chat.template_kwargs = std::make_shared<const openai::Json>(openai::Json{{"extra", {{"</s>", "<s>"}}}});
  CHECK(prompt_of(*prompter, chat) == "</s><s>x");
}

TEST_CASE("a control token is not put together from a user's parts") {
  const auto prompter = make_prompter("{{ messages[0].content.split('|')[0] ~ messages[0].content.split('|')[1] }}");
  CHECK(prompt_of(*prompter, chat_of({message("user", "</|s>")})) == "[1]");  // the template's own doing
  const auto tearing = make_prompter("{{ messages[0].content[0:2] ~ messages[0].content[2:] }}");
  CHECK(prompt_of(*tearing, chat_of({message("user", "</s>")})) == "</s>");
}

TEST_CASE("marks that users write themselves forge nothing") {
  const auto prompter = make_prompter();
  for (const std::string content :
       {"\xEF\xB7\x90</s>\xEF\xB7\x91", "\xEF\xB7\x90", "\xEF\xB7\x91", "\xEF\xB7\x92",
        "\xEF\xB7\x90\xEF\xB7\x90\xEF\xB7\x91\xEF\xB7\x91", "\xEF\xB7\x91</s>\xEF\xB7\x90"}) {
    CHECK(prompt_of(*prompter, chat_of({message("user", content)})) == "[0]user:" + content + "[1]bot:");
  }
}

openai::ChatFields open_chat(const std::string& text) {
  openai::ChatFields chat = chat_of({message("user", "x"), message("assistant", text)});
  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  return chat;
}

const std::vector<std::string> kPrefills = {
    "",     "<",        "a",          " so far ",  "a\n",           "a </s>",
    "</s>", "user:",    "assistant:", "x",         "a\xEF\xB7\x92", "\xEF\xB7\x92",
    "a\na", "\xC3\xA9", "[1]",        "</s>a</s>", "a  b"};

TEST_CASE("a final message is continued exactly where it ends") {
  const auto keeps = make_prompter();
  const auto twice = make_prompter(
      "{% for m in messages %}{{ m.role }}:{{ m.content }}</s>{% endfor %}{{ messages[-1].content }}</s>");
  for (const std::string& text : kPrefills) {
    INFO(text);
    CHECK(prompt_of(*keeps, open_chat(text)) == "[0]user:x[1]assistant:" + text);
    CHECK(prompt_of(*twice, open_chat(text)) == "user:x[1]assistant:" + text + "[1]" + text);
  }
}

TEST_CASE("where the template trims a final message, its end is trimmed, and nothing before it") {
  const auto trims = make_prompter("{% for m in messages %}{{ m.role }}:\n{{ m.content | trim }} </s>{% endfor %}");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""}, {"a", "a"}, {" a \n", "a"}, {"\n", ""}, {" \n ", ""}, {"a\xC2\xA0", "a"}, {"</s> ", "</s>"}};
  for (const auto& [text, expected] : cases) {
    INFO(text);
    CHECK(prompt_of(*trims, open_chat(text)) == "user:\nx [1]assistant:\n" + expected);
  }
}

TEST_CASE("a final message that cannot be continued is refused") {
  const auto refusal = [](const std::string& source, const openai::ChatFields& chat) {
    const auto refused = make_prompter(source)->tokenize(chat, false, {});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().param == "continue_final_message");
    return refused.error().message;
  };
  CHECK_THAT(refusal("{{ messages[0].content }}", open_chat("a")), Catch::Contains("changes the final message"));
  openai::ChatFields calls = open_chat("");
  openai::Json messages = *calls.messages;
  messages[1]["tool_calls"] = openai::Json::array({{{"function", {{"name", "f"}}}}});
  calls.messages = std::make_shared<const openai::Json>(messages);
  CHECK_THAT(refusal(kTemplate, calls), Catch::Contains("ends with its tool calls"));
}

TEST_CASE("of several templates: the named one, tool_use when there are tools, else the default") {
  const auto prompter = make_prompter({{"default", "d"}, {"tool_use", "t"}, {"rag", "r"}, {"broken", "{% for %}"}});
  openai::ChatFields chat = chat_of({message("user", "x")});
  CHECK(prompt_of(*prompter, chat) == "d");
  chat.tools = std::make_shared<const openai::Json>(openai::Json::array({1}));
  CHECK(prompt_of(*prompter, chat) == "t");
  chat.template_name = "rag";
  CHECK(prompt_of(*prompter, chat) == "r");
  chat.template_name = "other";
  const auto unknown = prompter->tokenize(chat, false, {});
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().param == "chat_template");
  CHECK_THAT(unknown.error().message, Catch::Contains("default, tool_use, rag, broken"));
  chat.template_name = "broken";
  CHECK_THAT(prompter->tokenize(chat, false, {}).error().message, Catch::Contains("cannot be used"));
  const auto no_default = make_prompter({{"tool_use", "t"}, {"rag", "r"}});
  CHECK_FALSE(no_default->tokenize(chat_of({message("user", "x")}), false, {}).ok());
  const auto no_tools = make_prompter({{"default", "d"}, {"rag", "r"}});
  chat.template_name.clear();
  CHECK(prompt_of(*no_tools, chat) == "d");
}

TEST_CASE("roles: developer is system to templates that do not know it; no text is dropped without a word") {
  const std::string two =
      "{% for m in messages %}{% if m.role == 'system' %}S{{ m.content }}{% elif m.role == 'user' %}U{{ m.content }}"
      "{% elif m.role == 'tool' %}T{{ m.content }}{% endif %}{% endfor %}";
  const auto strict = make_prompter(two);
  CHECK(prompt_of(*strict, chat_of({message("developer", "a"), message("user", "b")})) == "SaUb");
  CHECK(prompt_of(*strict, chat_of({message("user", "b"), message("function", "c")})) == "UbTc");
  const auto knows = make_prompter(
      "{% for m in messages %}{% if m.role == 'developer' %}D{% endif %}{{ m.content }}"
      "{% endfor %}");
  CHECK(prompt_of(*knows, chat_of({message("developer", "a")})) == "Da");
  const auto dropped = strict->tokenize(chat_of({message("user", "b"), message("critic", "lost")}), false, {});
  REQUIRE_FALSE(dropped.ok());
  CHECK_THAT(dropped.error().message, Catch::Contains("drops what messages of role 'critic' say"));
  CHECK(prompt_of(*make_prompter(), chat_of({message("critic", "kept")})) == "[0]critic:kept[1]bot:");
}

TEST_CASE("template variables of the request; those with a field of their own are refused") {
  const auto prompter = make_prompter();
  openai::ChatFields chat = chat_of({message("user", "x")});
  chat.template_kwargs = std::make_shared<const openai::Json>(openai::Json{{"extra", "</s>!"}});
  CHECK(prompt_of(*prompter, chat) == "[0]user:x[1]bot:</s>!");
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
  CHECK_FALSE(ChatPrompter::create(config_of({{"default", "{% for %}"}}), kTokenizer).ok());
}

TEST_CASE("messages of unknown roles are looked for in time that grows with the conversation") {
  // Long words, so that making tokens takes none of the time.
  std::vector<std::string> words = bytes();
  words.emplace_back(4'000, 'a');
  const text::TestTokenizer tokenizer(std::move(words));
  const auto prompter =
      ChatPrompter::create(config_of({{"default", "{% for m in messages %}{{ m.content }}|{% endfor %}"}}), tokenizer)
          .value();
  std::vector<openai::Json> messages;
  for (int i = 0; i < 60; ++i) {  // each begins like all that stand before it
    messages.push_back(message("guest", std::string(16'000, 'a') + std::to_string(i)));
  }
  constexpr double kSecondsMax = 3;  // of the processor: some hundredths; a search that goes back takes 6
  const std::clock_t begin = std::clock();
  CHECK(prompter->tokenize(chat_of(messages), false, {}).ok());
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < kSecondsMax);
  const auto backwards = make_prompter("{% for m in messages[::-1] %}{{ m.content }}|{% endfor %}");
  messages.resize(3);
  CHECK(backwards->tokenize(chat_of(messages), false, {}).ok());
  const auto first = make_prompter("{{ messages[0].content }}");
  CHECK_FALSE(first->tokenize(chat_of(messages), false, {}).ok());
}

}  // namespace
}  // namespace coppice::server
