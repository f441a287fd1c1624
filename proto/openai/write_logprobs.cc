// The three shapes of logprobs.
#include "proto/openai/write_logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

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

std::string id_name(TokenId token) {
  return fmt::format("token_id:{}", token);
}

void write_chat_token(TokenId token, const std::string& bytes, float logprob, TokenNames names, JsonWriter& out) {
  out.key("token").string(names == TokenNames::kIds ? id_name(token) : bytes);
  out.key("logprob").logprob(logprob);
  write_bytes(bytes, out.key("bytes"));
}

void write_scored_token(TokenId token, float logprob, const std::string& bytes, JsonWriter& out) {
  out.key(fmt::format("{}", token)).begin_object();
  out.key("logprob").logprob(logprob);
  out.key("decoded_token").string(bytes);
  out.end_object();
}

// As OpenAI: the k most likely, and the drawn token when it is not among them.
void write_likeliest(const TokenEntry& entry, TokenNames names, JsonWriter& out) {
  std::vector<std::string> written;
  const auto write = [&](TokenId token, const std::string& bytes, float logprob) {
    std::string name = names == TokenNames::kIds ? id_name(token) : legacy_token_name(bytes);
    if (std::find(written.begin(), written.end(), name) == written.end()) {
      out.key(name).logprob(logprob);
      written.push_back(std::move(name));
    }
  };
  out.begin_object();
  bool has_drawn = false;
  for (const TopToken& top : entry.top) {
    has_drawn = has_drawn || top.token == entry.token;
    write(top.token, top.bytes, top.logprob);
  }
  if (!has_drawn) {
    write(entry.token, entry.bytes, *entry.logprob);
  }
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

void write_completion_logprobs(std::span<const TokenEntry* const> tokens, TokenNames names, JsonWriter& out) {
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
    out.string(names == TokenNames::kIds ? id_name(entry->token) : legacy_token_name(entry->bytes));
  }
  out.end_array();
  out.key("top_logprobs").begin_array();
  for (const TokenEntry* const entry : tokens) {
    if (!entry->logprob) {
      out.null();
      continue;
    }
    write_likeliest(*entry, names, out);
  }
  out.end_array().end_object();
}

void write_chat_entry(const TokenEntry& entry, TokenNames names, JsonWriter& out) {
  out.begin_object();
  write_chat_token(entry.token, entry.bytes, entry.logprob.value_or(0.0F), names, out);
  out.key("top_logprobs").begin_array();
  for (const TopToken& top : entry.top) {
    out.begin_object();
    write_chat_token(top.token, top.bytes, top.logprob, names, out);
    out.end_object();
  }
  out.end_array().end_object();
}

void write_chat_logprobs(std::span<const TokenEntry* const> tokens, TokenNames names, JsonWriter& out) {
  out.begin_object();
  out.key("content").begin_array();
  for (const TokenEntry* const entry : tokens) {
    write_chat_entry(*entry, names, out);
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
