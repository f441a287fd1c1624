// The three shapes of logprobs.
#include "proto/openai/write_logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

namespace coppice::openai {
namespace {

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = utf8_character_length(bytes);
    if (length == 0) {
      return false;
    }
    bytes.remove_prefix(length);
  }
  return true;
}

void write_bytes(const std::string& bytes, JsonWriter& out) {
  out.begin_array();
  for (const char byte : bytes) {
    out.integer(static_cast<unsigned char>(byte));
  }
  out.end_array();
}

void write_chat_token(const std::string& bytes, float logprob, JsonWriter& out) {
  out.key("token").string(bytes);
  out.key("logprob").logprob(logprob);
  write_bytes(bytes, out.key("bytes"));
}

void write_scored_token(TokenId token, float logprob, const std::string& bytes, JsonWriter& out) {
  out.key(fmt::format("{}", token)).begin_object();
  out.key("logprob").logprob(logprob);
  out.key("decoded_token").string(bytes);
  out.end_object();
}

}  // namespace

std::string legacy_token_name(const std::string& bytes) {
  if (is_utf8(bytes)) {
    return bytes;
  }
  std::string name = "bytes:";
  for (const char byte : bytes) {
    fmt::format_to(std::back_inserter(name), "\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(byte)));
  }
  return name;
}

void write_completion_logprobs(std::span<const TokenEntry* const> tokens, JsonWriter& out) {
  out.begin_object();
  out.key("text_offset").begin_array();
  for (const TokenEntry* const entry : tokens) {
    out.integer(entry->text_offset);
  }
  out.end_array();
  out.key("token_logprobs").begin_array();
  for (const TokenEntry* const entry : tokens) {
    entry->logprob ? out.logprob(*entry->logprob) : out.null();
  }
  out.end_array();
  out.key("tokens").begin_array();
  for (const TokenEntry* const entry : tokens) {
    out.string(legacy_token_name(entry->bytes));
  }
  out.end_array();
  out.key("top_logprobs").begin_array();
  for (const TokenEntry* const entry : tokens) {
    if (!entry->logprob) {
      out.null();
      continue;
    }
    // As OpenAI: the k most likely, and the drawn token when it is not among them.
    out.begin_object();
    bool has_drawn = false;
    for (const TopToken& top : entry->top) {
      has_drawn = has_drawn || top.token == entry->token;
      out.key(legacy_token_name(top.bytes)).logprob(top.logprob);
    }
    if (!has_drawn) {
      out.key(legacy_token_name(entry->bytes)).logprob(*entry->logprob);
    }
    out.end_object();
  }
  out.end_array().end_object();
}

void write_chat_logprobs(std::span<const TokenEntry* const> tokens, JsonWriter& out) {
  out.begin_object();
  out.key("content").begin_array();
  for (const TokenEntry* const entry : tokens) {
    out.begin_object();
    write_chat_token(entry->bytes, entry->logprob.value_or(0.0F), out);
    out.key("top_logprobs").begin_array();
    for (const TopToken& top : entry->top) {
      out.begin_object();
      write_chat_token(top.bytes, top.logprob, out);
      out.end_object();
    }
    out.end_array().end_object();
  }
  out.end_array();
  out.key("refusal").null();
  out.end_object();
}

void write_prompt_logprobs(std::span<const TokenEntry> tokens, JsonWriter& out) {
  out.begin_array();
  for (const TokenEntry& entry : tokens) {
    if (!entry.logprob) {
      out.null();
      continue;
    }
    out.begin_object();
    write_scored_token(entry.token, *entry.logprob, entry.bytes, out);
    for (const TopToken& top : entry.top) {
      if (top.token != entry.token) {
        write_scored_token(top.token, top.logprob, top.bytes, out);
      }
    }
    out.end_object();
  }
  out.end_array();
}

}  // namespace coppice::openai
