// Before rendering, every spelling of a special token inside messages and tools is replaced by a mark (a Unicode
// noncharacter, the token's number, another noncharacter); the mark's own first character is treated the same way, so
// no text can forge one. After rendering the text is cut at the marks and each piece is encoded as what it is.
#include "server/prompts/chat_prompter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

namespace coppice::server {
namespace {

constexpr std::string_view kMarkBegin = "\xEF\xB7\x90";  // U+FDD0
constexpr std::string_view kMarkEnd = "\xEF\xB7\x91";    // U+FDD1
constexpr std::array<const char*, 4> kReserved = {"messages", "tools", "add_generation_prompt",
                                                  "continue_final_message"};

std::string_view strip_left(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n\f\v");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

std::string_view strip(std::string_view text) {
  const std::string_view left = strip_left(text);
  const std::size_t last = left.find_last_not_of(" \t\r\n\f\v");
  return last == std::string_view::npos ? std::string_view() : left.substr(0, last + 1);
}

// Cuts the prompt after the final message's content, as transformers' continue_final_message does.
openai::Result<std::string> cut_after(std::string rendered, std::string_view content) {
  const std::string_view core = strip(content);
  const std::size_t at = rendered.rfind(core);
  if (at == std::string::npos) {
    return openai::bad_value("continue_final_message",
                             "'continue_final_message': the chat template changes the final message, so it cannot be "
                             "continued");
  }
  const std::string_view whole = strip_left(content);
  const bool keeps_tail = std::string_view(rendered).substr(at, whole.size()) == whole;
  rendered.resize(at + (keeps_tail ? whole.size() : core.size()));
  return rendered;
}

}  // namespace

ChatPrompter::ChatPrompter(jinja::ChatTemplate chat_template, const text::TokenizerConfig& config,
                           const text::Tokenizer& tokenizer)
    : template_(std::move(chat_template)),
      tokenizer_(tokenizer),
      bos_token_(config.bos_token),
      eos_token_(config.eos_token),
      pad_token_(config.pad_token),
      unk_token_(config.unk_token),
      by_first_byte_(256) {
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (std::string piece = tokenizer.is_special(id) ? tokenizer.piece(id) : std::string(); !piece.empty()) {
      specials_.push_back(std::move(piece));
    }
  }
  specials_.emplace_back(kMarkBegin);
  std::stable_sort(specials_.begin(), specials_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  for (std::size_t i = 0; i < specials_.size(); ++i) {
    by_first_byte_[static_cast<unsigned char>(specials_[i][0])].push_back(i);
  }
}

absl::StatusOr<std::unique_ptr<ChatPrompter>> ChatPrompter::create(std::string_view template_source,
                                                                   const text::TokenizerConfig& config,
                                                                   const text::Tokenizer& tokenizer) {
  absl::StatusOr<jinja::ChatTemplate> compiled = jinja::ChatTemplate::compile(template_source);
  if (!compiled.ok()) {
    return std::move(compiled).status();
  }
  return std::unique_ptr<ChatPrompter>(new ChatPrompter(*std::move(compiled), config, tokenizer));  // NOLINT: private
}

const std::string* ChatPrompter::special_at(std::string_view text) const {
  for (const std::size_t index : by_first_byte_[static_cast<unsigned char>(text[0])]) {
    if (text.starts_with(specials_[index])) {
      return &specials_[index];
    }
  }
  return nullptr;
}

std::string ChatPrompter::hide_specials(std::string_view text) const {
  std::string hidden;
  hidden.reserve(text.size());
  std::size_t plain = 0;  // where the text that is not yet copied begins
  for (std::size_t at = 0; at < text.size();) {
    const std::string* const special = special_at(text.substr(at));
    if (special == nullptr) {
      ++at;
      continue;
    }
    hidden += text.substr(plain, at - plain);
    hidden += fmt::format("{}{}{}", kMarkBegin, special - specials_.data(), kMarkEnd);
    at += special->size();
    plain = at;
  }
  hidden += text.substr(plain);
  return hidden;
}

openai::Json ChatPrompter::copy_hidden(const openai::Json& value) const {
  if (value.is_string()) {
    return hide_specials(value.get_ref<const std::string&>());
  }
  if (!value.is_structured()) {
    return value;
  }
  openai::Json copy(value.type());
  if (value.is_array()) {
    auto& items = copy.get_ref<openai::Json::array_t&>();
    items.reserve(value.size());
    for (const openai::Json& item : value) {  // depth is bounded by the parser
      items.push_back(copy_hidden(item));
    }
    return copy;
  }
  auto& members = copy.get_ref<openai::Json::object_t&>();
  members.reserve(value.size());
  for (const auto& [name, item] : value.items()) {
    members.emplace_back(name, copy_hidden(item));
  }
  return copy;
}

std::vector<ChatPrompter::Segment> ChatPrompter::split_hidden(std::string rendered_text) const {
  std::vector<Segment> segments;
  if (rendered_text.find(kMarkBegin) == std::string::npos) {  // mostly
    segments.push_back({std::move(rendered_text), false});
    return segments;
  }
  std::string_view rendered = rendered_text;
  std::string plain;
  while (!rendered.empty()) {
    const std::size_t mark = rendered.find(kMarkBegin);
    plain += rendered.substr(0, mark);
    if (mark == std::string_view::npos) {
      break;
    }
    rendered.remove_prefix(mark + kMarkBegin.size());
    std::size_t index = 0;
    const char* const end = rendered.data() + rendered.size();
    const auto [after, problem] = std::from_chars(rendered.data(), end, index);
    const std::string_view rest(after, static_cast<std::size_t>(end - after));
    if (problem != std::errc() || index >= specials_.size() || !rest.starts_with(kMarkEnd)) {
      continue;  // a template that cut a mark in two; its remains are text
    }
    if (!plain.empty()) {
      segments.push_back({std::exchange(plain, {}), false});
    }
    segments.push_back({specials_[index], true});
    rendered = rest.substr(kMarkEnd.size());
  }
  if (!plain.empty() || segments.empty()) {
    segments.push_back({std::move(plain), false});
  }
  return segments;
}

openai::Json ChatPrompter::context(const openai::ChatFields& chat) const {
  openai::Json context = openai::Json::object();
  context["messages"] = copy_hidden(*chat.messages);
  context["tools"] = chat.tools == nullptr ? openai::Json() : copy_hidden(*chat.tools);
  context["documents"] = nullptr;
  context["add_generation_prompt"] = chat.add_generation_prompt;
  const auto put_token = [&context](const char* name, const std::string& token) {
    if (!token.empty()) {
      context[name] = token;
    }
  };
  put_token("bos_token", bos_token_);
  put_token("eos_token", eos_token_);
  put_token("pad_token", pad_token_);
  put_token("unk_token", unk_token_);
  if (chat.template_kwargs != nullptr) {
    for (const auto& [name, value] : chat.template_kwargs->items()) {
      context[name] = copy_hidden(value);
    }
  }
  return context;
}

openai::Result<std::string> ChatPrompter::render(const openai::ChatFields& chat) const {
  if (chat.template_kwargs != nullptr) {
    for (const char* const name : kReserved) {
      if (chat.template_kwargs->contains(name)) {
        return openai::bad_value(
            "chat_template_kwargs",
            fmt::format("'chat_template_kwargs' must not set '{}': it is a field of its own", name));
      }
    }
  }
  absl::StatusOr<std::string> rendered = template_.render(context(chat), jinja::local_time_now());
  if (!rendered.ok()) {
    return openai::bad_value("messages", fmt::format("the model's chat template refuses the conversation: {}",
                                                     std::string(rendered.status().message())));
  }
  if (!chat.continue_final_message) {
    return *std::move(rendered);
  }
  const openai::Json& last = chat.messages->back();
  const auto content = last.find("content");
  if (content == last.end() || !content->is_string()) {
    return openai::bad_value("continue_final_message", "'continue_final_message': the final message has no content");
  }
  return cut_after(*std::move(rendered), hide_specials(content->get_ref<const std::string&>()));
}

openai::Result<std::vector<TokenId>> ChatPrompter::tokenize(const openai::ChatFields& chat, bool add_special,
                                                            const openai::RequestLimits& limits) const {
  openai::Result<std::string> rendered = render(chat);
  if (!rendered.ok()) {
    return std::move(rendered.error());
  }
  if (openai::MaybeError error = openai::check_prompt_bytes("messages", rendered.value().size(), limits)) {
    return std::move(*error);
  }
  std::vector<TokenId> ids;
  bool is_first = true;
  for (const Segment& segment : split_hidden(std::move(rendered.value()))) {
    text::EncodeOptions options;
    options.add_special = add_special && is_first;
    options.parse_special = !segment.is_literal;
    is_first = false;
    absl::StatusOr<std::vector<TokenId>> piece = tokenizer_.encode(segment.text, options);
    if (!piece.ok()) {
      return openai::bad_value("messages", std::string(piece.status().message()));
    }
    ids.insert(ids.end(), piece->begin(), piece->end());
  }
  return ids;
}

}  // namespace coppice::server
