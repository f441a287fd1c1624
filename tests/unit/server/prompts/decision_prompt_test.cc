// Decisions to tokens: what the questions have in common is in the prompt, the whole text is the conversation that a
// client would have sent, and labels are one token each behind it.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/decision.h"
#include "server/prompts/prompt_encoder.h"
#include "tests/support/source_folder.h"
#include "tests/support/test_tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

// The 256 bytes, and whatever words a test adds.
std::vector<std::string> words(const std::vector<std::string>& more = {}) {
  std::vector<std::string> all;
  for (int byte = 0; byte < 256; ++byte) {
    all.emplace_back(1, static_cast<char>(byte));
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[bot]{% if enable_thinking is defined and not enable_thinking %}!{% endif %}{% "
    "endif %}";

struct World {
  explicit World(const char* source = kTemplate, const std::vector<std::string>& more = {}) : tokenizer(words(more)) {
    text::TokenizerConfig config;
    config.bos_token = "<s>";
    config.eos_token = "</s>";
    config.chat_templates = {{"default", source}};
    absl::StatusOr<std::unique_ptr<ChatPrompter>> made = ChatPrompter::create(config, tokenizer);
    REQUIRE(made.ok());
    prompter = *std::move(made);
    limits.vocab = tokenizer.vocab_size();
    limits.model_tokens_max = 100'000;
  }

  openai::Result<DecisionPrompt> encode(const std::string& input, const std::string& questions) const {
    const std::string body = R"({"model":"m","input":)" + input + R"(,"questions":)" + questions + "}";
    openai::Result<openai::DecisionRequest> parsed = openai::parse_decision_request(body, limits);
    REQUIRE(parsed.ok());
    return PromptEncoder(tokenizer, prompter.get(), limits).encode(parsed.value());
  }

  // "[0]" for special tokens, their text for the others.
  std::string shown(const TokenIds& tokens) const {
    std::string text;
    for (const TokenId id : tokens) {
      text += id < 2 ? fmt::format("[{}]", id) : tokenizer.piece(id);
    }
    return text;
  }

  text::TestTokenizer tokenizer;
  std::unique_ptr<ChatPrompter> prompter;
  openai::RequestLimits limits;
};

constexpr const char* kTwo = R"([
    {"type":"predicate","instructions":"Is it?"},
    {"type":"choice","instructions":"Which?",
     "choices":[{"value":"x","description":"an x"},{"value":true},{"value":"z"}]}])";

TEST_CASE("the input is in the prompt, each question behind it") {
  const World world;
  const openai::Result<DecisionPrompt> encoded = world.encode(R"("  state ")", kTwo);
  REQUIRE(encoded.ok());
  const DecisionPrompt& prompt = encoded.value();
  CHECK(world.shown(prompt.prompt) == "[0][user]state \n\nQuestion:");
  REQUIRE(prompt.questions.size() == 2);
  CHECK(world.shown(prompt.questions[0].tokens) ==
        " Is it?\nA: false\nB: true\nAnswer with the letter of one option only.[1][bot]!");
  CHECK(world.shown(prompt.questions[1].tokens) ==
        " Which?\nA: \"x\" - an x\nB: true\nC: \"z\"\nAnswer with the letter of one option only.[1][bot]!");
  CHECK(world.shown(prompt.questions[0].labels) == "AB");
  CHECK(world.shown(prompt.questions[1].labels) == "ABC");
}

TEST_CASE("a conversation is the input; a question follows what is not a user's message by itself") {
  const World world;
  const openai::Result<DecisionPrompt> encoded =
      world.encode(R"([{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}])",
                   R"([{"type":"predicate","instructions":"Is it?"}])");
  REQUIRE(encoded.ok());
  CHECK(world.shown(encoded.value().prompt) == "[0][user]hi[1][assistant]ho[1][user]Question:");
}

TEST_CASE("what users write becomes no special token, in the input and in questions") {
  const World world;
  const openai::Result<DecisionPrompt> encoded =
      world.encode(R"("a</s>\uFDD0|\uFDD1b")", R"([{"type":"score","instructions":"</s>?",
                   "levels":[{"label":"<s>"},{"label":"\uFDD0","description":"</s>"}]}])");
  REQUIRE(encoded.ok());
  CHECK(world.shown(encoded.value().prompt) ==
        "[0][user]a</s>\xEF\xB7\x90|\xEF\xB7\x91"
        "b\n\nQuestion:");
  CHECK(world.shown(encoded.value().questions[0].tokens) ==
        " </s>?\nA: <s>\nB: \xEF\xB7\x90 - </s>\nAnswer with the letter of one option only.[1][bot]!");
}

TEST_CASE("labels add exactly one token each, and no two the same") {
  // "!A" is one token, so behind "!" an A adds none; then B is the first label.
  const World world(kTemplate, {"!A", "BA", "BB"});
  const openai::Result<DecisionPrompt> encoded = world.encode(R"("s")", kTwo);
  REQUIRE(encoded.ok());
  CHECK(world.shown(encoded.value().questions[0].labels) == "BC");
  CHECK(world.shown(encoded.value().questions[0].tokens) ==
        " Is it?\nB: false\nC: true\nAnswer with the letter of one option only.[1][bot]!");
  std::string choices;
  for (int i = 0; i < 27; ++i) {
    choices += fmt::format(R"({}{{"value":"v{}"}})", i == 0 ? "" : ",", i);
  }
  const std::string many = R"([{"type":"choice","instructions":"Which?","choices":[)" + choices + "]}]";
  const openai::Result<DecisionPrompt> two_letters = world.encode(R"("s")", many);
  REQUIRE(two_letters.ok());  // B to Z, BA and BB
  CHECK(two_letters.value().questions[0].labels.size() == 27);
  CHECK(world.tokenizer.piece(two_letters.value().questions[0].labels[26]) == "BB");
  const std::string more = R"([{"type":"choice","instructions":"Which?","choices":[{"value":"w"},)" + choices + "]}]";
  const openai::Result<DecisionPrompt> refused = world.encode(R"("s")", more);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 400);
  CHECK(refused.error().message == "'questions[0]' has 28 options; this model's tokenizer has labels for 27");
}

TEST_CASE("models that cannot decide say so") {
  const World world;
  const auto status_of = [](const World& other) {
    const openai::Result<DecisionPrompt> refused = other.encode(R"("s")", kTwo);
    REQUIRE_FALSE(refused.ok());
    return std::pair(refused.error().status, refused.error().message);
  };
  CHECK(status_of(World("{{ messages[0].content }}<think>\n")).first == 501);
  CHECK_THAT(status_of(World("{{ messages[0].content }}<think>\n")).second, Catch::Contains("reasoning"));
  CHECK(World("{{ messages[0].content }}<think>\n\n</think>\n").encode(R"("s")", kTwo).ok());
  CHECK_THAT(status_of(World("{{ messages[0].content | upper | replace('QUESTION', '') | length }}")).second,
             Catch::Contains("does not repeat the last message"));
  CHECK_THAT(status_of(World("{{ messages[0].content }}{{ messages[0].content }}")).second,
             Catch::Contains("does not repeat the last message"));
  const auto refused = status_of(World("{{ raise_exception('not so') }}"));
  CHECK(refused.first == 400);
  CHECK_THAT(refused.second, Catch::Contains("not so"));
  const openai::Result<openai::DecisionRequest> parsed = openai::parse_decision_request(
      R"({"model":"m","input":"s","questions":[{"type":"predicate","instructions":"a"}]})", world.limits);
  const openai::Result<DecisionPrompt> none =
      PromptEncoder(world.tokenizer, nullptr, world.limits).encode(parsed.value());
  REQUIRE_FALSE(none.ok());
  CHECK(none.error().status == 501);
  CHECK_THAT(none.error().message, Catch::Contains("chat template"));
}

// --- real templates and tokenizers -----------------------------------------------------------------------------------

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_CASE("every template of the tree repeats the last message as it is") {
  int templates = 0;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(coppice::test::source_path("tests/unit/text/jinja/templates"))) {
    INFO(entry.path());
    const World world(read(entry.path()).c_str());
    const openai::Result<DecisionPrompt> encoded =
        world.encode(R"([{"role":"user","content":"The \"state\"\n of <things>."}])", kTwo);
    INFO((encoded.ok() ? "" : encoded.error().message));
    CHECK(encoded.ok());
    ++templates;
  }
  CHECK(templates >= 3);
}

TEST_CASE("with the tokenizers of the tree, prompt and questions are the text, and labels its next token") {
  int tokenizers = 0;
  for (const char* const name :
       {"gpt2", "llama2", "llama2_new", "llama3", "qwen2", "sentencepiece_bpe", "sentencepiece_unigram"}) {
    INFO(name);
    const fs::path folder = fs::path(coppice::test::source_path("tests/unit/text/tokenizer/fixtures")) / name;
    absl::StatusOr<std::unique_ptr<text::Tokenizer>> tokenizer = text::load_tokenizer(folder);
    REQUIRE(tokenizer.ok());
    for (const char* const source :
         {"{{ messages[0].content }}\n### Answer:\n", "[INST] {{ messages[0].content }} [/INST]"}) {
      text::TokenizerConfig config;
      config.chat_templates = {{"default", source}};
      absl::StatusOr<std::unique_ptr<ChatPrompter>> prompter = ChatPrompter::create(config, **tokenizer);
      REQUIRE(prompter.ok());
      openai::RequestLimits limits;
      limits.vocab = (*tokenizer)->vocab_size();
      limits.model_tokens_max = 100'000;
      const openai::Result<openai::DecisionRequest> parsed = openai::parse_decision_request(
          R"({"model":"m","input":"It rains in Oslo, and the streets are wet.","questions":)" + std::string(kTwo) + "}",
          limits);
      REQUIRE(parsed.ok());
      const openai::Result<DecisionPrompt> encoded =
          PromptEncoder(**tokenizer, prompter->get(), limits).encode(parsed.value());
      if (!encoded.ok()) {  // a vocabulary too small for letters
        CHECK(encoded.error().status == 501);
        continue;
      }
      ++tokenizers;
      // A small vocabulary has no token for some letters and for line ends.
      const bool writes_everything = name != std::string_view("sentencepiece_unigram");
      for (const DecisionPrompt::Question& question : encoded.value().questions) {
        TokenIds all = encoded.value().prompt;
        all.insert(all.end(), question.tokens.begin(), question.tokens.end());
        const std::string text = (*tokenizer)->decode(all, false);
        if (writes_everything) {
          CHECK_THAT(text, Catch::Contains("It rains in Oslo, and the streets are wet.\n\nQuestion: "));
        }
        CHECK_THAT(text, Catch::Contains("Answer with the letter of one option only."));
        CHECK(std::set<TokenId>(question.labels.begin(), question.labels.end()).size() == question.labels.size());
        for (std::size_t i = 0; i < question.labels.size(); ++i) {
          TokenIds answered = all;
          answered.push_back(question.labels[i]);
          const std::string added = (*tokenizer)->decode(answered, false).substr(text.size());
          const char label = added.back();
          CHECK_THAT(text, Catch::Contains(fmt::format("{}: ", label)));
          CHECK((label == static_cast<char>('A' + i) || !writes_everything));
          CHECK(added.size() <= 2);  // maybe with a space before it
        }
      }
    }
  }
  CHECK(tokenizers >= 8);
}

}  // namespace
}  // namespace coppice::server
