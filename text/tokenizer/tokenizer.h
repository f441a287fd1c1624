// Converts text to token ids and back, with the same result as the model's own Hugging Face tokenizer.
//
// `load_tokenizer` reads a model folder of any supported layout. Strings are UTF-8; ids are indices into the model's
// vocabulary. To decode token by token, use `Detokenizer` (text/tokenizer/detokenizer.h).
#pragma once

#include <cstddef>
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

// The tokens with a role; -1 where the model has none.
struct SpecialTokens {
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId unk = -1;
  TokenId pad = -1;
  bool add_bos = false;  // encode() begins with BOS when EncodeOptions::add_special
  bool add_eos = false;  // encode() ends with EOS when EncodeOptions::add_special
};

// A part of a text, in bytes.
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct EncodeOptions {
  // Adds the tokens that the model's post-processor puts around a text (mostly BOS). Off for rendered chat templates,
  // which write their own BOS.
  bool add_special = true;
  // Encodes special tokens written in the text as their ids. Off for text of a user, where "<|im_end|>" is plain text.
  // Added tokens that the model does not mark as special ("<think>") are always recognised, as in Hugging Face.
  bool parse_special = false;
  // Parts of the text in which no added token, special or not, is found, not even in part. An empty one is a place that
  // no added token crosses. The text there is encoded together with what stands around it. REQUIRES: ascending and
  // apart; the text is UTF-8 when there are any.
  std::span<const TextRange> plain = {};
};

// How one token takes part in decoding; see DecodeRules.
enum class TokenForm : std::uint8_t {
  kAbsent,  // no such id, or a token that never has text (a sentencepiece control piece)
  kText,    // `bytes` is added to the text
  kByte,    // `bytes` is one byte of a byte-fallback run
};

struct TokenText {
  TokenForm form = TokenForm::kAbsent;
  bool is_special = false;     // omitted when special tokens are skipped
  bool next_is_first = false;  // if not omitted, the token after it is decoded as a first one (DecodeRules)
  std::string_view bytes;      // owned by the tokenizer
  bool is_added = false;       // an added token: found in a text before the model's vocabulary sees it
};

// How bytes that are not UTF-8 are replaced by U+FFFD.
enum class InvalidBytes : std::uint8_t {
  kMaximalSubpart,  // byte-level BPE: one per maximal subpart (Unicode 3.9; Rust from_utf8_lossy)
  kWholeRun,        // HF ByteFallback: one per byte of a run of byte tokens that is not valid as a whole
  kEachByte,        // sentencepiece: one per invalid byte; valid characters of a run stay
};

// The rules of decoding that span tokens. The text is the concatenation of the tokens' bytes, changed by these rules.
struct DecodeRules {
  InvalidBytes invalid_bytes = InvalidBytes::kMaximalSubpart;
  std::string strip_unit;  // removed from the start of the whole text up to strip_count times
  std::int32_t strip_count = 0;
  // Every token until the first text is decoded as a first token (token_text(id, true)), not only token 0. Metaspace
  // and sentencepiece drop the leading space of a first token.
  bool first_until_text = false;
};

// A loaded tokenizer. Thread: immutable; any number may call any method at once.
class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer();

  // Returns the ids of `utf8`, in which each maximal subpart that is not UTF-8 is first replaced by U+FFFD.
  // ERRORS: InvalidArgument for a text longer than kEncodeBytesMax; ResourceExhausted when the model's pre-tokenizer
  // pattern passes its match limit.
  virtual absl::StatusOr<std::vector<TokenId>> encode(std::string_view utf8, EncodeOptions options) const = 0;

  // Returns the most bytes of memory that encode() takes for this text at once, its answer included. Linear in the
  // text. REQUIRES: valid UTF-8; what is not takes up to three times as much.
  virtual std::size_t encode_memory(std::string_view utf8) const = 0;

  // Returns the text of `ids`, always valid UTF-8 and equal to what a Detokenizer returns for them. Skips ids outside
  // the vocabulary.
  std::string decode(std::span<const TokenId> ids, bool skip_special) const;

  // Returns the largest id plus one. Ids without a token have an empty piece.
  virtual std::int32_t vocab_size() const = 0;

  // Returns the token as the model's file writes it ("Ġthe", "▁the", "<0x0A>"); empty outside the vocabulary.
  virtual std::string piece(TokenId id) const = 0;

  // Returns the bytes that the token adds in the middle of a text (" the"), possibly part of a character; empty outside
  // the vocabulary.
  std::string token_bytes(TokenId id) const;

  virtual bool is_special(TokenId id) const = 0;
  virtual std::optional<TokenId> token_to_id(std::string_view piece) const = 0;
  virtual const SpecialTokens& special() const = 0;

  // Returns "bpe" or "sentencepiece", for messages.
  virtual std::string_view kind() const = 0;

  // For Detokenizer: returns how the token decodes, as a first token (see DecodeRules) or a later one.
  virtual TokenText token_text(TokenId id, bool is_first) const = 0;
  virtual const DecodeRules& decode_rules() const = 0;
};

// Bytes of the longest text encode() takes: far beyond any context length; bounds the work of a call.
inline constexpr std::size_t kEncodeBytesMax = std::size_t{64} << 20;

// Loads the tokenizer of a model folder in Hugging Face layout: `tokenizer.json` if present, else `tokenizer.model`,
// else `vocab.json` and `merges.txt` (GPT-2 or Qwen2, by `tokenizer_class`). `tokenizer_config.json` names special
// tokens. ERRORS: NotFound without any of these files; InvalidArgument, naming file and component, for anything
// malformed or not supported.
absl::StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& model_folder);

// As above, with the folder's tokenizer_config.json already read.
absl::StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& model_folder,
                                                          const TokenizerConfig& config);

}  // namespace coppice::text
