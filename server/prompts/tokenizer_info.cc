// One key after the other.
#include "server/prompts/tokenizer_info.h"

#include <fmt/format.h>

#include "proto/openai/json_writer.h"

namespace coppice::server {
namespace {

void write_templates(const text::TokenizerConfig& config, openai::JsonWriter& out) {
  const std::vector<text::NamedTemplate>& templates = config.chat_templates;
  if (templates.empty()) {
    out.null();
  } else if (templates.size() == 1 && templates.front().name == "default") {
    out.string(templates.front().source);
  } else {
    out.begin_array();
    for (const text::NamedTemplate& one : templates) {
      out.begin_object().key("name").string(one.name).key("template").string(one.source).end_object();
    }
    out.end_array();
  }
}

void write_added_tokens(const text::Tokenizer& tokenizer, openai::JsonWriter& out) {
  out.begin_object();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const text::TokenText token = tokenizer.token_text(id, false);
    if (token.is_added) {
      out.key(fmt::format("{}", id)).begin_object();
      out.key("content").string(tokenizer.piece(id)).key("special").boolean(token.is_special).end_object();
    }
  }
  out.end_object();
}

}  // namespace

std::string write_tokenizer_info(const text::TokenizerConfig& config, const text::Tokenizer& tokenizer) {
  openai::JsonWriter out;
  out.begin_object();
  out.key("tokenizer_class").string_or_null(config.tokenizer_class);
  out.key("vocab_size").integer(tokenizer.vocab_size());
  out.key("model_max_length");
  config.model_max_length > 0 ? out.integer(config.model_max_length) : out.null();
  out.key("bos_token").string_or_null(config.bos_token);
  out.key("eos_token").string_or_null(config.eos_token);
  out.key("unk_token").string_or_null(config.unk_token);
  out.key("pad_token").string_or_null(config.pad_token);
  out.key("add_bos_token").boolean(tokenizer.special().add_bos);
  out.key("add_eos_token").boolean(tokenizer.special().add_eos);
  out.key("additional_special_tokens").begin_array();
  for (const std::string& token : config.additional_special_tokens) {
    out.string(token);
  }
  out.end_array();
  write_added_tokens(tokenizer, out.key("added_tokens_decoder"));
  write_templates(config, out.key("chat_template"));
  out.end_object();
  return out.take();
}

}  // namespace coppice::server
