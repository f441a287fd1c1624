// A conversation's way: messages as the template wants them, marked; rendered; cut where the final message goes on;
// marks to ranges of plain text; tokens.
#include "server/prompts/chat_prompter.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/jinja/unicode.h"

namespace coppice::server {
namespace {

// What a template reads: our copies of the conversation, in which marks may take twice as much as what they stand
// around; and the template's own values and output, which have a bound of their own (jinja::Limits).
constexpr std::size_t kMarkedFactor = 4;
constexpr std::size_t kValuesFactor = 8;  // an empty list is a value of a hundred bytes
constexpr std::size_t kValuesMax = std::size_t{64} << 20U;
// The ranges that are the user's, those of a section, and what normalisation moves them to: two lists that grow.
constexpr std::size_t kRangesFactor = 7;

constexpr std::array<const char*, 4> kReserved = {"messages", "tools", "add_generation_prompt",
                                                  "continue_final_message"};
constexpr std::string_view kToolTemplate = "tool_use";
constexpr std::string_view kDefaultTemplate = "default";

// White space that no template writes by itself: where it is missing behind the cut, the template has trimmed.
constexpr std::string_view kTail = "\xE2\x81\x9F";  // U+205F, medium mathematical space

// Bytes of a tree. REQUIRES: bounded depth.
std::size_t tree_memory(const openai::Json& value) {
  if (value.is_string()) {
    return sizeof(value) + sizeof(std::string) + value.get_ref<const std::string&>().capacity();
  }
  std::size_t bytes = 2 * sizeof(value);  // lists have room to grow
  if (value.is_object()) {
    for (const auto& [name, item] : value.items()) {
      bytes += 2 * sizeof(std::string) + name.capacity() + tree_memory(item);
    }
  } else if (value.is_array()) {
    for (const openai::Json& item : value) {
      bytes += tree_memory(item);
    }
  }
  return bytes;
}

std::size_t tree_memory(const openai::ChatFields& chat) {
  std::size_t bytes = 0;
  for (const std::shared_ptr<const openai::Json>& part : {chat.messages, chat.tools, chat.template_kwargs}) {
    bytes += part == nullptr ? 0 : tree_memory(*part);
  }
  return bytes;
}

// What is held while a conversation of `tree` bytes is rendered, itself included.
std::size_t rendering_memory(std::size_t tree) {
  return tree + kMarkedFactor * tree + std::min(kValuesFactor * tree, kValuesMax);
}

std::string_view trailing_space(std::string_view text) {
  return text.substr(jinja::strip_right(text).size());
}

openai::ApiError cannot_continue(std::string_view why) {
  return openai::bad_value("continue_final_message", fmt::format("'continue_final_message': {}", why));
}

openai::MaybeError check_arguments(const openai::ChatFields& chat) {
  for (const char* const name : kReserved) {
    if (chat.template_kwargs != nullptr && chat.template_kwargs->contains(name)) {
      return openai::bad_value("chat_template_kwargs",
                               fmt::format("'chat_template_kwargs' must not set '{}': it is a field of its own", name));
    }
  }
  return std::nullopt;
}

// Whether the cut at `at` of a rendered text is a user's: then it is marked.
bool is_users_cut(std::string_view rendered, std::size_t at, std::string_view marked_cut) {
  const std::size_t inside = marked_cut.find(ControlTokens::kCut);
  return at >= inside && rendered.substr(at - inside, marked_cut.size()) == marked_cut;
}

// What a template makes of a conversation with our cut at its final message's end: the text up to the last cut, and
// whether the template trims the message there. Nothing when there is no cut.
struct OpenPrompt {
  std::string text;
  bool is_trimmed = false;
};
std::optional<OpenPrompt> cut_open(std::string_view rendered, std::string_view marked_cut) {
  OpenPrompt prompt;
  std::size_t done = 0;
  bool has_cut = false;
  for (std::size_t at = rendered.find(ControlTokens::kCut); at != std::string_view::npos;
       at = rendered.find(ControlTokens::kCut, at + 1)) {
    if (is_users_cut(rendered, at, marked_cut)) {
      continue;
    }
    prompt.text += rendered.substr(done, at - done);  // a template may write the message more than once
    done = at + ControlTokens::kCut.size();
    prompt.is_trimmed = !rendered.substr(done).starts_with(kTail);
    done += prompt.is_trimmed ? 0 : kTail.size();
    has_cut = true;
  }
  return has_cut ? std::optional(std::move(prompt)) : std::nullopt;
}

// Where the one cut of ours begins and where the text behind it does. Nothing when there are none or several.
std::optional<std::pair<std::size_t, std::size_t>> find_cut(std::string_view rendered, std::string_view marked_cut) {
  std::optional<std::pair<std::size_t, std::size_t>> found;
  for (std::size_t at = rendered.find(ControlTokens::kCut); at != std::string_view::npos;
       at = rendered.find(ControlTokens::kCut, at + 1)) {
    if (is_users_cut(rendered, at, marked_cut)) {
      continue;
    }
    if (found) {
      return std::nullopt;
    }
    std::size_t end = at + ControlTokens::kCut.size();
    end += rendered.substr(end).starts_with(kTail) ? kTail.size() : 0;
    found.emplace(at, end);
  }
  return found;
}

// Whether `text` is in `rendered`: looked for from `from` on, which is then behind it, and only then before. Linear,
// and for texts in the order of the prompt all together: memmem() never goes back.
bool find_in_order(std::string_view rendered, std::string_view text, std::size_t& from) {
  for (const std::size_t begin : {from, std::size_t{0}}) {
    const std::string_view rest = rendered.substr(begin);
    if (const void* const found = memmem(rest.data(), rest.size(), text.data(), text.size()); found != nullptr) {
      from = static_cast<std::size_t>(static_cast<const char*>(found) - rendered.data()) + text.size();
      return true;
    }
  }
  return false;
}

// Refuses a conversation of whose messages the template has dropped some: without a word, as it does not know the role.
openai::MaybeError check_roles(const openai::Json& messages, std::string_view rendered) {
  constexpr std::array<std::string_view, 6> kCommon = {"system", "developer", "user", "assistant", "tool", "function"};
  std::size_t from = 0;
  for (const openai::Json& message : messages) {
    const std::string role = message["role"];
    if (std::find(kCommon.begin(), kCommon.end(), role) != kCommon.end() || !message["content"].is_string()) {
      continue;
    }
    const auto& content = message["content"].get_ref<const std::string&>();
    if (!find_in_order(rendered, jinja::strip_left(jinja::strip_right(content)), from)) {
      return openai::bad_value("messages", fmt::format("the model's chat template drops what messages of role '{}' say",
                                                       role.substr(0, 40)));
    }
  }
  return std::nullopt;
}

}  // namespace

ChatPrompter::ChatPrompter(const text::TokenizerConfig& config, const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer), variables_(openai::Json::object()) {
  const std::pair<const char*, const std::string*> roles[] = {{"bos_token", &config.bos_token},
                                                              {"eos_token", &config.eos_token},
                                                              {"pad_token", &config.pad_token},
                                                              {"unk_token", &config.unk_token}};
  for (const auto& [name, token] : roles) {
    if (!token->empty()) {
      variables_[name] = *token;
    }
  }
  for (const text::NamedTemplate& source : config.chat_templates) {
    Template& made = templates_.emplace_back();
    made.name = source.name;
    absl::StatusOr<jinja::ChatTemplate> program = jinja::ChatTemplate::compile(source.source);
    if (!program.ok()) {
      made.problem = std::string(program.status().message());
      continue;
    }
    made.program = *std::move(program);
    made.tokens.emplace(*made.program, config, tokenizer);
    made.form.emplace(*made.program, variables_);
  }
}

absl::StatusOr<std::unique_ptr<ChatPrompter>> ChatPrompter::create(const text::TokenizerConfig& config,
                                                                   const text::Tokenizer& tokenizer) {
  std::unique_ptr<ChatPrompter> prompter(new ChatPrompter(config, tokenizer));  // NOLINT: private
  const auto is_usable = [](const Template& made) { return made.problem.empty(); };
  if (std::none_of(prompter->templates_.begin(), prompter->templates_.end(), is_usable)) {
    return absl::InvalidArgumentError(prompter->templates_.front().problem);
  }
  for (const Template& made : prompter->templates_) {
    if (!is_usable(made)) {
      spdlog::warn("chat template '{}': {}; requests that need it will be refused", made.name, made.problem);
    }
  }
  return prompter;
}

const ChatPrompter::Template* ChatPrompter::find(std::string_view name) const {
  const auto found = std::find_if(templates_.begin(), templates_.end(),
                                  [name](const Template& candidate) { return candidate.name == name; });
  return found == templates_.end() ? nullptr : &*found;
}

openai::Result<const ChatPrompter::Template*> ChatPrompter::choose(const openai::ChatFields& chat) const {
  const Template* chosen = nullptr;
  if (!chat.template_name.empty()) {
    chosen = find(chat.template_name);
  } else if (chat.tools == nullptr || (chosen = find(kToolTemplate)) == nullptr) {
    chosen = find(kDefaultTemplate);
  }
  if (chosen == nullptr) {
    std::string names;
    for (const Template& known : templates_) {
      names += (names.empty() ? "" : ", ") + known.name;
    }
    return openai::bad_value("chat_template",
                             fmt::format("'chat_template' must name one of this model's templates ({}): templates in a "
                                         "request are not supported",
                                         names));
  }
  if (!chosen->problem.empty()) {
    return openai::bad_value("messages", fmt::format("this model's chat template cannot be used: {}", chosen->problem));
  }
  return chosen;
}

bool ChatPrompter::writes(std::string_view text) const {
  const Template* used = find(kToolTemplate);
  used = used != nullptr && used->problem.empty() ? used : find(kDefaultTemplate);
  return used != nullptr && used->problem.empty() && used->program->writes(text);
}

bool ChatPrompter::has_short_call_ids(const openai::ChatFields& chat) const {
  const openai::Result<const Template*> used = choose(chat);
  return used.ok() && used.value()->form->has_short_call_ids();
}

openai::Json ChatPrompter::context(const openai::ChatFields& chat, const Template& used,
                                   const openai::RequestLimits& limits, bool drops_odd_arguments) const {
  constexpr auto kUser = ControlTokens::Writer::kUser;
  openai::Json context = variables_;
  openai::Json messages = openai::Json::array();
  for (const openai::Json& message : *chat.messages) {
    messages.push_back(used.form->adapt(message, *used.tokens, limits, drops_odd_arguments));
  }
  if (chat.continue_final_message) {
    openai::Json& content = messages.back()["content"];
    content = content.get<std::string>().append(ControlTokens::kCut).append(kTail);
  }
  context["messages"] = std::move(messages);
  context["tools"] = chat.tools == nullptr ? openai::Json() : used.tokens->mark(*chat.tools, kUser);
  context["documents"] = nullptr;
  context["add_generation_prompt"] = chat.add_generation_prompt;
  if (chat.template_kwargs != nullptr) {
    for (const auto& [name, value] : chat.template_kwargs->items()) {
      context[name] = used.tokens->mark(value, kUser);
    }
  }
  return context;
}

openai::Result<std::string> ChatPrompter::render_context(const openai::ChatFields& chat, const Template& used,
                                                         const openai::RequestLimits& limits) const {
  openai::Json full = context(chat, used, limits, false);
  absl::StatusOr<std::string> rendered = used.program->render(full, jinja::local_time_now());
  if (!rendered.ok() && has_odd_arguments(*chat.messages, limits)) {
    full = context(chat, used, limits, true);
    rendered = used.program->render(full, jinja::local_time_now());
  }
  if (!rendered.ok()) {
    return openai::bad_value("messages", fmt::format("the model's chat template refuses the conversation: {}",
                                                     std::string(rendered.status().message())));
  }
  if (openai::MaybeError error = check_roles(full["messages"], *rendered)) {
    return *std::move(error);
  }
  return *std::move(rendered);
}

openai::Result<std::string> ChatPrompter::render_open(const openai::ChatFields& chat, const Template& used,
                                                      const openai::RequestLimits& limits) const {
  const openai::Json& last = chat.messages->back();
  if (last.contains("tool_calls")) {
    return cannot_continue("the final message ends with its tool calls");
  }
  const std::string content = last["content"].is_string() ? last["content"] : "";
  openai::Result<std::string> rendered = render_context(chat, used, limits);
  if (!rendered.ok()) {
    return rendered;
  }
  std::optional<OpenPrompt> open =
      cut_open(rendered.value(), used.tokens->mark_text(ControlTokens::kCut, ControlTokens::Writer::kUser));
  if (!open) {
    return cannot_continue("the chat template changes the final message, so it cannot be continued");
  }
  const std::string_view space = trailing_space(content);
  if (!open->is_trimmed || space.empty()) {
    return std::move(open->text);
  }
  if (space.size() < content.size()) {
    open->text.resize(open->text.ends_with(space) ? open->text.size() - space.size() : open->text.size());
    return std::move(open->text);
  }
  // All of it is white space, which may look like what the template writes before it.
  openai::ChatFields empty = chat;
  openai::Json messages = *chat.messages;
  messages.back()["content"] = "";
  empty.messages = std::make_shared<const openai::Json>(std::move(messages));
  return render_open(empty, used, limits);
}

openai::Result<std::string> ChatPrompter::render(const openai::ChatFields& chat, const Template& used,
                                                 const openai::RequestLimits& limits) const {
  if (openai::MaybeError error = check_arguments(chat)) {
    return *std::move(error);
  }
  return chat.continue_final_message ? render_open(chat, used, limits) : render_context(chat, used, limits);
}

openai::Result<std::vector<TokenId>> ChatPrompter::tokenize(const openai::ChatFields& chat, bool add_special,
                                                            const openai::RequestLimits& limits,
                                                            const JobContext& job) const {
  const openai::Result<const Template*> used = choose(chat);
  if (!used.ok()) {
    return used.error();
  }
  const std::size_t tree = tree_memory(chat);
  if (openai::MaybeError error = job.hold(rendering_memory(tree))) {
    return *std::move(error);
  }
  const openai::Result<std::string> rendered = render(chat, *used.value(), limits);
  if (!rendered.ok()) {
    return rendered.error();
  }
  if (openai::MaybeError error = openai::check_prompt_bytes("messages", rendered.value().size(), limits)) {
    return *std::move(error);
  }
  return encode(*used.value()->tokens, rendered.value(), add_special, {job, tree});
}

openai::Result<std::vector<TokenId>> ChatPrompter::encode(const ControlTokens& tokens, std::string_view marked,
                                                          bool add_special, const JobMemory& memory) const {
  const ControlTokens::Unmarked prompt = tokens.unmark(marked);
  const std::size_t ranges = prompt.plain.capacity() * sizeof(text::TextRange);
  if (openai::MaybeError error = memory.hold(marked.size() + prompt.text.size() + kRangesFactor * ranges +
                                             tokenizer_.encode_memory(prompt.text))) {
    return *std::move(error);
  }
  absl::StatusOr<std::vector<TokenId>> ids =
      tokenizer_.encode(prompt.text, {.add_special = add_special, .parse_special = true, .plain = prompt.plain});
  if (!ids.ok()) {
    return openai::bad_value("messages", std::string(ids.status().message()));
  }
  return *std::move(ids);
}

openai::Result<ChatPrompter::Cut> ChatPrompter::render_cut(const openai::ChatFields& chat,
                                                           const openai::RequestLimits& limits,
                                                           const JobContext& job) const {
  const openai::Result<const Template*> used = choose(chat);
  if (!used.ok()) {
    return used.error();
  }
  if (openai::MaybeError error = job.hold(rendering_memory(tree_memory(chat)))) {
    return *std::move(error);
  }
  openai::ChatFields open = chat;
  open.continue_final_message = true;  // which puts the cut
  const openai::Result<std::string> rendered = render_context(open, *used.value(), limits);
  if (!rendered.ok()) {
    return rendered.error();
  }
  const ControlTokens& tokens = *used.value()->tokens;
  const auto cut = find_cut(rendered.value(), tokens.mark_text(ControlTokens::kCut, ControlTokens::Writer::kUser));
  if (!cut) {
    return openai::not_implemented("model", "the model's chat template does not repeat the last message as it is");
  }
  return Cut{rendered.value().substr(0, cut->first), rendered.value().substr(cut->second), &tokens};
}

openai::Result<std::vector<TokenId>> ChatPrompter::encode_marked(const Cut& cut, std::string_view marked,
                                                                 const JobMemory& memory) const {
  return encode(*cut.tokens, marked, /*add_special=*/false, memory);
}

}  // namespace coppice::server
