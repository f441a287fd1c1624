// Text to token ids and back, exactly as the model's own Hugging Face tokenizer does it.
//
// `load_tokenizer` reads a model folder and hides the kind of file behind `Tokenizer`. Strings are
// UTF-8; ids are indices into the model's vocabulary. For text that arrives token by token use
// `Detokenizer` (text/tokenizer/detokenizer.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"

namespace coppice::text {

struct TokenizerConfig;

// The tokens with a meaning outside the text; -1 where the model has none.
struct SpecialTokens {
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId unk = -1;
  TokenId pad = -1;
  bool add_bos = false;  // encode() begins with BOS when EncodeOptions::add_special
  bool add_eos = false;  // encode() ends with EOS when EncodeOptions::add_special
};

struct EncodeOptions {
  // Add what the model's post-processor adds around a text (mostly BOS). Off for rendered chat
  // templates, which write their own BOS.
  bool add_special = true;
  // Special tokens written in the text become their ids. Off for anything a user wrote: then
  // "<|im_end|>" is text. Added tokens that the model does not mark as special ("<think>") are
  // always recognised, as in Hugging Face.
  bool parse_special = false;
};

// How one token takes part in decoding; see DecodeRules. For Detokenizer.
enum class TokenForm : std::uint8_t {
  kAbsent,  // no such id, or a token that never has text (a sentencepiece control piece)
  kText,    // `bytes` is added to the text
  kByte,    // `bytes` is one byte of a byte-fallback run
};

struct TokenText {
  TokenForm form = TokenForm::kAbsent;
  bool is_special = false;     // left out when special tokens are skipped
  bool next_is_first = false;  // when shown: the token behind it is decoded as a first one (DecodeRules)
  std::string_view bytes;      // owned by the tokenizer
};

// What becomes of bytes that are not UTF-8. All three replace by U+FFFD; they differ in how many.
enum class InvalidBytes : std::uint8_t {
  kMaximalSubpart,  // byte-level BPE: one for each maximal subpart (Unicode 3.9; Rust from_utf8_lossy)
  kWholeRun,        // HF ByteFallback: an invalid run of byte tokens becomes one per byte, also its valid parts
  kEachByte,        // sentencepiece: valid characters of a run stay, every other byte becomes one
};

// The part of decoding that looks across tokens. The text is the concatenation of the tokens' bytes, under these rules.
struct DecodeRules {
  InvalidBytes invalid_bytes = InvalidBytes::kMaximalSubpart;
  std::string strip_unit;  // what is stripped from the start of the whole text, at most strip_count times
  std::int32_t strip_count = 0;
  // token_text(id, true) is asked for the first token, and for those behind it until there is text. Metaspace and
  // sentencepiece drop the leading space there.
  bool first_until_text = false;
};

// A loaded tokenizer. Immutable after load_tokenizer; every method may be called from any thread at
// once.
class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer();

  // Ids of `utf8`. Bytes that are not UTF-8 are taken as U+FFFD, one for each maximal subpart,
  // before anything else. ERRORS: InvalidArgument when the text is longer than kEncodeBytesMax;
  // ResourceExhausted when the model's pre-tokenizer pattern gives up on it.
  virtual absl::StatusOr<std::vector<TokenId>> encode(std::string_view utf8, EncodeOptions options) const = 0;

  // The text of `ids`, always valid UTF-8. Ids outside the vocabulary are skipped. Equal to pushing
  // the ids through a Detokenizer.
  std::string decode(std::span<const TokenId> ids, bool skip_special) const;

  // One more than the largest id. There may be holes, whose piece is empty.
  virtual std::int32_t vocab_size() const = 0;

  // The token as it stands in the model's file ("Ġthe", "▁the", "<0x0A>"); empty outside the
  // vocabulary.
  virtual std::string piece(TokenId id) const = 0;

  // The bytes the token adds in the middle of a text (" the"); maybe a part of a character. Empty
  // outside the vocabulary.
  std::string token_bytes(TokenId id) const;

  virtual bool is_special(TokenId id) const = 0;
  virtual std::optional<TokenId> token_to_id(std::string_view piece) const = 0;
  virtual const SpecialTokens& special() const = 0;

  // "bpe" or "sentencepiece", for people.
  virtual std::string_view kind() const = 0;

  // What Detokenizer works from. `is_first`: no token came before it (DecodeRules).
  virtual TokenText token_text(TokenId id, bool is_first) const = 0;
  virtual const DecodeRules& decode_rules() const = 0;
};

// The longest text encode() takes: far beyond any context length, small enough that no request can
// hold a thread long.
inline constexpr std::size_t kEncodeBytesMax = std::size_t{64} << 20;

// Loads the tokenizer of a model folder in Hugging Face layout: `tokenizer.json` if it is there,
// else `tokenizer.model`, else `vocab.json` + `merges.txt` (GPT-2 and Qwen2, told apart by
// `tokenizer_class`); `tokenizer_config.json` beside them names special tokens. The caller owns the
// result. ERRORS: NotFound without any of these files; InvalidArgument, naming file and component,
// for anything malformed or not supported (nothing is ever silently ignored).
absl::StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& model_folder);

// The same with the folder's tokenizer_config.json already read.
absl::StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& model_folder,
                                                          const TokenizerConfig& config);

}  // namespace coppice::text
