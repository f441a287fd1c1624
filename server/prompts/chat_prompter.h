// ChatPrompter: a conversation to the token ids a model was trained on. The template is the model's; what users wrote
// can never become a special token, whatever they write: special tokens found in messages are encoded as plain text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/openai/request.h"
#include "text/jinja/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::server {

// Owner: the model host. Immutable; any thread.
class ChatPrompter {
 public:
  // ERRORS: InvalidArgument when the template does not compile. REQUIRES: the tokenizer outlives the prompter.
  static absl::StatusOr<std::unique_ptr<ChatPrompter>> create(std::string_view template_source,
                                                              const text::TokenizerConfig& config,
                                                              const text::Tokenizer& tokenizer);

  // ERRORS: 400 with the template's own words when it refuses the conversation, or when its text cannot fit the model.
  openai::Result<std::vector<TokenId>> tokenize(const openai::ChatFields& chat, bool add_special,
                                                const openai::RequestLimits& limits) const;

 private:
  struct Segment {
    std::string text;
    bool is_literal = false;  // a special token's spelling that a user wrote
  };

  ChatPrompter(jinja::ChatTemplate chat_template, const text::TokenizerConfig& config,
               const text::Tokenizer& tokenizer);

  openai::Result<std::string> render(const openai::ChatFields& chat) const;
  openai::Json context(const openai::ChatFields& chat) const;
  openai::Json copy_hidden(const openai::Json& value) const;
  std::string hide_specials(std::string_view text) const;
  std::vector<Segment> split_hidden(std::string rendered_text) const;
  const std::string* special_at(std::string_view text) const;

  const jinja::ChatTemplate template_;
  const text::Tokenizer& tokenizer_;
  const std::string bos_token_;
  const std::string eos_token_;
  const std::string pad_token_;
  const std::string unk_token_;
  std::vector<std::string> specials_;                    // longest first within one first byte
  std::vector<std::vector<std::size_t>> by_first_byte_;  // [256] indices into specials_
};

}  // namespace coppice::server
