// Decisions as prompts. All questions of a request begin alike: the input as a conversation, whose last message goes on
// with "Question:". What is rendered and tokenised once is computed once. Each question follows with a label for each
// option, and the model's opinion is the probability of each label as the first token of the answer.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "proto/openai/parse_chat.h"
#include "server/prompts/prompt_encoder.h"

namespace coppice::server {
namespace {

// Before a question, behind the input. The space that follows belongs to the question: tokenizers that begin every text
// with a space of their own would double it otherwise.
constexpr std::string_view kQuestion = "Question:";
constexpr std::string_view kReply = "Answer with the letter of one option only.";
constexpr std::size_t kLetters = 26;  // of the alphabet: labels are A to Z, then AA to ZZ

// Bytes of the end of a prompt that labels are tried behind: several words, so that more before them changes nothing.
// Where the tokens of the end alone are not the prompt's, all of it is taken.
constexpr std::size_t kTailBytes = 96;
// Of the end's tokens, as many of the last must be the prompt's.
constexpr std::size_t kTailTokens = 4;

std::string label_text(std::size_t number) {
  if (number < kLetters) {
    return std::string(1, static_cast<char>('A' + number));
  }
  number -= kLetters;
  return {static_cast<char>('A' + number / kLetters), static_cast<char>('A' + number % kLetters)};
}

// What a question says, with as many labels as it has options.
std::string question_text(const openai::DecisionQuestion& question, std::span<const std::string> labels) {
  std::string text = question.instructions + "\n";
  for (std::size_t i = 0; i < question.options.size(); ++i) {
    const openai::DecisionOption& option = question.options[i];
    text += fmt::format("{}: {}", labels[i], option.text);
    text += option.description.empty() ? "\n" : fmt::format(" - {}\n", option.description);
  }
  text += kReply;
  return text;
}

// Labels that are one token each behind every question of one request.
class Labels {
 public:
  explicit Labels(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // The first `count` labels that add exactly one token, each another one, to a text that ends with `tail`. Fewer:
  // there are no more.
  struct Found {
    std::vector<std::string> texts;
    TokenIds tokens;
  };
  absl::StatusOr<Found> behind(std::string_view tail, std::size_t count) {
    Known& known = known_[std::string(tail)];
    if (known.next == 0) {
      absl::StatusOr<TokenIds> alone = encode(std::string(tail));
      if (!alone.ok()) {
        return alone.status();
      }
      known.alone = *std::move(alone);
    }
    constexpr std::size_t kLabels = kLetters + kLetters * kLetters;  // in all: of one letter, and of two
    for (; known.found.tokens.size() < count && known.next < kLabels; ++known.next) {
      const std::string label = label_text(known.next);
      const absl::StatusOr<TokenIds> with = encode(std::string(tail) + label);
      if (!with.ok()) {
        return with.status();
      }
      // A letter that the vocabulary does not have would be an unknown token.
      const bool adds_one = with->size() == known.alone.size() + 1 &&
                            std::equal(known.alone.begin(), known.alone.end(), with->begin()) &&
                            tokenizer_.token_bytes(with->back()).ends_with(label);
      if (adds_one &&
          std::find(known.found.tokens.begin(), known.found.tokens.end(), with->back()) == known.found.tokens.end()) {
        known.found.texts.push_back(label);
        known.found.tokens.push_back(with->back());
      }
    }
    Found found = known.found;
    found.texts.resize(std::min(count, found.texts.size()));
    found.tokens.resize(found.texts.size());
    return found;
  }

  absl::StatusOr<TokenIds> encode(const std::string& text) const {
    return tokenizer_.encode(text, {.add_special = false, .parse_special = true});
  }

 private:
  struct Known {
    TokenIds alone;
    std::size_t next = 0;  // the next label to be tried
    Found found;
  };

  const text::Tokenizer& tokenizer_;
  std::map<std::string, Known> known_;  // by tail: the template's end is the same behind every question
};

// The end of `text`, from a word on, unless it is short.
std::string_view short_tail(std::string_view text) {
  if (text.size() <= kTailBytes) {
    return text;
  }
  const std::size_t space = text.find_first_of(" \n", text.size() - kTailBytes);
  return space == std::string_view::npos ? text : text.substr(space);
}

bool ends_with(const TokenIds& tokens, const TokenIds& end) {
  const std::size_t count = std::min({kTailTokens, end.size(), tokens.size()});
  return std::equal(end.end() - static_cast<std::ptrdiff_t>(count), end.end(),
                    tokens.end() - static_cast<std::ptrdiff_t>(count));
}

// Whether the answer begins inside the model's thoughts, whatever the template was told.
bool opens_reasoning(std::string_view after) {
  const std::size_t open = after.rfind("<think>");
  return open != std::string_view::npos && after.find("</think>", open) == std::string_view::npos;
}

// The input's conversation with the beginning of a question at its end, for a model that shall not think.
openai::ChatFields with_question(const openai::ChatFields& input) {
  openai::ChatFields chat = input;
  auto messages = std::make_shared<openai::Json>(*input.messages);
  std::string& last = messages->back()["content"].get_ref<std::string&>();
  last += fmt::format("{}{}", last.empty() ? "" : "\n\n", kQuestion);
  chat.messages = std::move(messages);
  openai::set_thinking(false, chat);
  return chat;
}

openai::ApiError input_error(openai::ApiError error) {
  error.param = error.param == "messages" ? "input" : error.param;
  if (error.message.starts_with("'messages'")) {
    error.message.replace(0, std::string_view("'messages'").size(), "'input'");
  }
  return error;
}

openai::ApiError too_few_labels(std::size_t question, std::size_t options, std::size_t labels) {
  if (labels < 2) {
    return openai::not_implemented("model", "this model's tokenizer has no letters that are one token each");
  }
  const std::string name = fmt::format("questions[{}]", question);
  return openai::bad_value(
      name, fmt::format("'{}' has {} options; this model's tokenizer has labels for {}", name, options, labels));
}

// Everything that is the same for all questions of one request.
struct Frame {
  const ChatPrompter& prompter;
  ChatPrompter::Cut cut;
  bool adds_space = false;  // the tokenizer begins every text with a space
};

// A question's tokens and labels. The labels are tried behind the text that ends with them as they are, so a question
// whose options need others is put again.
openai::Result<DecisionPrompt::Question> encode_question(const openai::DecisionQuestion& question, std::size_t number,
                                                         const Frame& frame, Labels& labels, const JobMemory& memory) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < question.options.size(); ++i) {
    texts.push_back(label_text(i));
  }
  constexpr int kTries = 3;  // labels depend on the end of the text alone, which they do not change
  for (int i = 0; i < kTries; ++i) {
    const std::string text = fmt::format("{}{}", frame.adds_space ? "" : " ", question_text(question, texts));
    const std::string marked = frame.cut.tokens->mark_text(text, ControlTokens::Writer::kUser) + frame.cut.after;
    openai::Result<TokenIds> tokens = frame.prompter.encode_marked(frame.cut, marked, memory);
    if (!tokens.ok()) {
      return input_error(std::move(tokens.error()));
    }
    const std::string whole = frame.cut.tokens->unmark(marked).text;
    const absl::StatusOr<TokenIds> alone = labels.encode(std::string(short_tail(whole)));
    const bool is_enough = alone.ok() && ends_with(tokens.value(), *alone);
    absl::StatusOr<Labels::Found> found = labels.behind(is_enough ? short_tail(whole) : whole, texts.size());
    if (!found.ok()) {
      return openai::bad_value("input", std::string(found.status().message()));
    }
    if (found->tokens.size() < texts.size()) {
      return too_few_labels(number, texts.size(), found->tokens.size());
    }
    if (found->texts == texts) {
      return DecisionPrompt::Question{std::move(tokens.value()), std::move(found->tokens)};
    }
    texts = std::move(found->texts);
  }
  return openai::not_implemented("model", "this model's tokenizer has no steady labels");
}

}  // namespace

openai::Result<DecisionPrompt> PromptEncoder::encode(const openai::DecisionRequest& request,
                                                     const JobContext& job) const {
  if (prompter_ == nullptr) {
    return openai::not_implemented("model", problem_.empty() ? "decisions need a chat template: this model has none"
                                                             : fmt::format("this model's chat template cannot be "
                                                                           "used: {}",
                                                                           problem_));
  }
  openai::Result<ChatPrompter::Cut> cut = prompter_->render_cut(with_question(request.chat), *limits_, job);
  if (!cut.ok()) {
    return input_error(std::move(cut.error()));
  }
  if (opens_reasoning(cut.value().after)) {
    return openai::not_implemented("model",
                                   "this model's answers always begin with reasoning: it cannot decide at once");
  }
  if (openai::MaybeError error = openai::check_prompt_bytes("input", cut.value().before.size(), *limits_)) {
    return *std::move(error);
  }
  // What stays meanwhile: the conversation, and it rendered.
  JobMemory memory{job, openai::text_bytes(request.chat) + cut.value().before.size() + cut.value().after.size()};
  openai::Result<TokenIds> before = prompter_->encode_marked(cut.value(), cut.value().before, memory);
  if (!before.ok()) {
    return input_error(std::move(before.error()));
  }
  const absl::StatusOr<TokenIds> letter = tokenizer_->encode("x", {.add_special = false, .parse_special = false});
  const bool adds_space = letter.ok() && !letter->empty() && tokenizer_->token_bytes(letter->front()).starts_with(' ');
  const Frame frame{*prompter_, std::move(cut.value()), adds_space};
  DecisionPrompt prompt;
  prompt.prompt = std::move(before.value());
  memory.held += prompt.prompt.capacity() * sizeof(TokenId);
  Labels labels(*tokenizer_);
  for (std::size_t i = 0; i < request.questions.size(); ++i) {
    if (job.is_cancelled()) {
      return openai::cancelled();
    }
    openai::Result<DecisionPrompt::Question> question = encode_question(request.questions[i], i, frame, labels, memory);
    if (!question.ok()) {
      return std::move(question.error());
    }
    memory.held += question.value().tokens.capacity() * sizeof(TokenId);
    prompt.questions.push_back(std::move(question.value()));
  }
  return prompt;
}

}  // namespace coppice::server
