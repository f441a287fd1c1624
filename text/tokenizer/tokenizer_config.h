// Reads `tokenizer_config.json` and the files beside it: special tokens, added tokens, chat templates.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"

namespace coppice::text {

// A token added to the model's own vocabulary, or a token of it with a role.
struct AddedToken {
  std::string content;
  TokenId id = -1;
  bool special = false;      // skipped by decode(skip_special), recognised in text only with parse_special
  bool single_word = false;  // only between non-word characters
  bool lstrip = false;       // removes the white space on its left
  bool rstrip = false;       // removes the white space on its right
  bool normalized = true;    // found in the normalised text, not in the text as written
};

struct NamedTemplate {
  std::string name;    // "default", "tool_use", "rag", ...
  std::string source;  // Jinja
};

// A plain value.
struct TokenizerConfig {
  std::string tokenizer_class;  // "LlamaTokenizer"; empty if not given
  // As written in the file; empty if absent. Chat templates see them as bos_token, eos_token, ...
  std::string bos_token;
  std::string eos_token;
  std::string unk_token;
  std::string pad_token;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_prefix_space;
  std::optional<bool> legacy;            // of Llama's sentencepiece tokenizer
  std::int64_t model_max_length = 0;     // 0: not given
  std::vector<AddedToken> added_tokens;  // added_tokens_decoder, ascending ids
  std::vector<std::string> additional_special_tokens;
  // Added tokens that structure a chat although they are not special, where the file names them.
  std::optional<std::vector<std::string>> chat_control_tokens;
  std::vector<NamedTemplate> chat_templates;  // `chat_template.jinja` replaces an entry "default" of the JSON

  // Returns the template of that name, if any. The view lives as long as the config.
  std::optional<std::string_view> chat_template(std::string_view name = "default") const;
};

// Reads from the folder `tokenizer_config.json`, then `special_tokens_map.json` and `added_tokens.json` (older files,
// for what the first leaves out), and `chat_template.jinja` or `chat_template.json`. A missing file leaves its fields
// empty. ERRORS: InvalidArgument, naming file and field, for what is malformed or too large.
absl::StatusOr<TokenizerConfig> load_tokenizer_config(const std::filesystem::path& model_folder);

// Reads the content of a `tokenizer_config.json` alone.
// ERRORS: as above.
absl::StatusOr<TokenizerConfig> tokenizer_config_from_json(std::string_view text);

}  // namespace coppice::text
