// The content blocks of Anthropic's conversations, brought into the messages that chat templates are written for.
#pragma once

#include <string>
#include <string_view>

#include "proto/openai/conversation.h"
#include "proto/openai/json_reader.h"

namespace coppice::anthropic {

using openai::Json;

// What reading blocks needs and makes.
struct BlockReading {
  openai::FieldReader& reader;  // takes the first error
  const openai::RequestLimits& limits;
  openai::Conversation conversation = {};
  openai::CacheBreakpoints breakpoints = {};
  openai::IgnoredFields ignored = {};  // kinds of blocks that were skipped: "content.server_tool_use"
};

// The system prompt, before the messages: text or text blocks. ERRORS: in the reader, as of all functions here.
void read_system(const Json& system, BlockReading& reading);
void read_messages(const Json& messages, BlockReading& reading);

// `object`'s cache_control, if it has one, is a breakpoint at this place. `name` is the object's.
void read_cache_control(const Json& object, const std::string& name, std::size_t messages, std::size_t content_bytes,
                        BlockReading& reading);

// `text` without the lines "x-anthropic-billing-header: ..." that it begins with. Clients put one before the system
// prompt; it differs from request to request, and no prefix after it would ever be found again.
std::string_view without_billing_header(std::string_view text);

}  // namespace coppice::anthropic
