// Conversations cut, or changed, at their breakpoints.
#include "server/prompts/prefix_places.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace coppice::server {
namespace {

using openai::CacheBreakpoint;
using openai::Json;

// The text of a message; null when it has none.
std::string* text_of(Json& message) {
  const auto content = message.find("content");
  return content != message.end() && content->is_string() ? &content->get_ref<std::string&>() : nullptr;
}

// The same conversation with other messages, of which none is to be answered or continued.
openai::GenerationRequest with_messages(const openai::GenerationRequest& request, Json messages) {
  openai::GenerationRequest other;
  other.kind = openai::RequestKind::kChat;
  other.add_special_tokens = request.add_special_tokens;
  other.chat = request.chat;
  other.chat.add_generation_prompt = false;
  other.chat.continue_final_message = false;
  other.chat.messages = std::make_shared<const Json>(std::move(messages));
  return other;
}

// What stands before the breakpoint.
Json cut(const Json& messages, const CacheBreakpoint& breakpoint) {
  const auto end = messages.begin() + static_cast<std::ptrdiff_t>(std::min(breakpoint.messages, messages.size()));
  Json kept(messages.begin(), end);
  if (std::string* const text = kept.empty() ? nullptr : text_of(kept.back());
      text != nullptr && breakpoint.content_bytes < text->size()) {
    text->resize(breakpoint.content_bytes);
  }
  return kept;
}

// All messages, with texts behind the breakpoint that differ from the real ones at once.
Json change(Json messages, const CacheBreakpoint& breakpoint) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    std::string* const text = text_of(messages[i]);
    const std::size_t kept = i + 1 < breakpoint.messages    ? CacheBreakpoint::kWholeMessage
                             : i + 1 == breakpoint.messages ? breakpoint.content_bytes
                                                            : 0;
    if (text == nullptr || kept >= std::max<std::size_t>(text->size(), 1)) {
      continue;
    }
    const bool is_x = text->compare(kept, 1, "x") == 0;
    text->resize(kept);
    text->push_back(is_x ? 'y' : 'x');
  }
  return messages;
}

std::int32_t find_place(const openai::GenerationRequest& request, const CacheBreakpoint& breakpoint,
                        std::span<const TokenId> prompt, const PromptEncoder& encoder, const JobContext& job) {
  const Json& messages = *request.chat.messages;
  Json before = cut(messages, breakpoint);
  openai::Result<std::vector<TokenIds>> tokens =
      before.empty() ? openai::Result<std::vector<TokenIds>>(openai::bad_value("", "nothing to render"))
                     : encoder.encode(with_messages(request, std::move(before)), job);
  if (!tokens.ok()) {
    tokens = encoder.encode(with_messages(request, change(messages, breakpoint)), job);
  }
  if (!tokens.ok()) {
    return 0;  // a template that accepts these words alone, or no memory to look
  }
  const TokenIds& found = tokens.value().front();
  return static_cast<std::int32_t>(std::mismatch(prompt.begin(), prompt.end(), found.begin(), found.end()).first -
                                   prompt.begin());
}

}  // namespace

std::vector<std::int32_t> find_places(const openai::GenerationRequest& request, std::span<const TokenId> prompt,
                                      const PromptEncoder& encoder, const JobContext& job) {
  std::vector<std::int32_t> places;
  for (const CacheBreakpoint& breakpoint : request.cache_breakpoints) {
    if (job.is_cancelled()) {
      break;
    }
    const std::int32_t place = find_place(request, breakpoint, prompt, encoder, job);
    places.push_back(std::max(place, places.empty() ? 0 : places.back()));
  }
  return places;
}

}  // namespace coppice::server
