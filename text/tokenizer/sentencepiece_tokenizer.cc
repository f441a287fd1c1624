// Cuts added tokens out of a text and encodes each part between them with the library.
#include "text/tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/charsmap_check.h"
#include "text/tokenizer/json_access.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr std::string_view kFile = "tokenizer.model";
constexpr std::size_t kNestingMax = 64;  // user-defined pieces that begin a text, for which the library has room
constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // "▁"

// Bytes that the library is given at once, and more up to the next word.
constexpr std::size_t kRunBytes = std::size_t{16} << 10;
// Bytes of memory that the library takes for a byte of text. Measured (tokenizer_memory_test.cc): 318 for spaces, 291
// for other letters of one byte that are tokens of their own, 130 for prose.
constexpr std::size_t kLibraryMemoryOfByte = 330;
// And the tokens of all of it, while they are moved to a larger place.
constexpr std::size_t kMemoryOfByte = 4 * sizeof(TokenId);

// Where the next word begins, at or after `from`: at a space behind a character that is none.
std::size_t next_word(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find(' ', from); at < text.size(); at = text.find(' ', at + 1)) {
    const std::string_view before = text.substr(0, at);
    if (!before.empty() && !before.ends_with(' ') && !before.ends_with(kMetaspace)) {
      return at;
    }
  }
  return text.size();
}

bool has_piece(const SentencePieceModel& model, std::string_view piece) {
  for (std::int32_t id = 0; id < model.size(); ++id) {
    if (model.piece(id) == piece && model.piece_kind(id) == SentencePieceKind::kNormal) {
      return true;
    }
  }
  return false;
}

std::string with_spaces(std::string_view piece) {
  std::string out;
  while (!piece.empty()) {
    const std::size_t at = std::min(piece.find(kMetaspace), piece.size());
    out += piece.substr(0, at);
    piece.remove_prefix(at);
    if (!piece.empty()) {
      out.push_back(' ');
      piece.remove_prefix(kMetaspace.size());
    }
  }
  return out;
}

// Returns the byte of a byte piece: "<0x0A>" → 10.
std::string byte_of_piece(std::string_view piece) {
  unsigned value = 0;
  if (piece.size() == 6) {
    std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
  }
  return std::string(1, static_cast<char>(value));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> SentencePieceTokenizer::create(std::string_view serialized,
                                                                          const TokenizerConfig& config) {
  std::unique_ptr<SentencePieceTokenizer> tokenizer(new SentencePieceTokenizer());
  COPPICE_RETURN_IF_ERROR(tokenizer->load_models(serialized, config));
  COPPICE_RETURN_IF_ERROR(tokenizer->fill_pieces());
  COPPICE_RETURN_IF_ERROR(tokenizer->add_tokens(config));
  COPPICE_RETURN_IF_ERROR(tokenizer->set_roles(config));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

absl::Status SentencePieceTokenizer::load_models(std::string_view serialized, const TokenizerConfig& config) {
  const std::optional<SentencePieceFlags> flags = read_sentencepiece_flags(serialized);
  if (!flags.has_value()) {
    return invalid_field(kFile, "not a sentencepiece model");
  }
  if (flags->has_denormalizer || flags->whitespace_as_suffix || !flags->escape_whitespaces) {
    return invalid_field(kFile,
                         "denormalizer_spec, treat_whitespace_as_suffix and "
                         "escape_whitespaces=false are not supported");
  }
  if (const std::string problem = charsmap_problem(flags->charsmap); !problem.empty()) {
    return invalid_field(kFile, "normalizer_spec.precompiled_charsmap cannot be trusted: " + problem);
  }
  if (flags->user_defined_nesting > kNestingMax) {
    return invalid_field(kFile, fmt::format("more than {} user-defined pieces begin one another", kNestingMax));
  }
  flags_ = *flags;
  // Pairs merge when a piece is made of both. If no piece has a space behind another character, nothing merges across
  // the place before a word, and what stands on one side of it does not matter to the other. Where normalisation may
  // look further, the pieces are chosen for the whole text, or a space is unknown and the library makes one token of it
  // and of what is unknown beside it, a text is not cut.
  cuts_at_spaces_ =
      flags_.is_bpe && !flags_.has_space_inside && flags_.charsmap.empty() && !flags_.remove_extra_whitespaces;
  charsmap_ = Charsmap(flags_.charsmap);
  flags_.charsmap = {};  // its bytes are not ours
  legacy_ = config.legacy.value_or(true);
  std::string error;
  model_ = SentencePieceModel::load(with_settings(serialized, flags->charsmap, flags->add_dummy_prefix), error);
  if (model_ != nullptr) {
    model_without_prefix_ = SentencePieceModel::load(with_settings(serialized, flags->charsmap, false), error);
  }
  if (model_ == nullptr || model_without_prefix_ == nullptr) {
    return invalid_field(kFile, error);
  }
  if (model_->size() <= 0 || model_->size() > kVocabularyMax) {
    return invalid_field(kFile, fmt::format("{} pieces", model_->size()));
  }
  cuts_at_spaces_ = cuts_at_spaces_ && has_piece(*model_, kMetaspace);
  rules_.invalid_bytes = InvalidBytes::kEachByte;
  rules_.first_until_text = flags_.remove_extra_whitespaces;
  return absl::OkStatus();
}

absl::Status SentencePieceTokenizer::fill_pieces() {
  tokens_.resize(static_cast<std::size_t>(model_->size()));
  const bool drops_space = flags_.add_dummy_prefix || flags_.remove_extra_whitespaces;
  for (TokenId id = 0; id < model_->size(); ++id) {
    Token& token = tokens_[id];
    token.piece = model_->piece(id);
    if (!is_valid_utf8(token.piece)) {  // the library would find it where a NUL cuts it short
      return invalid_field(kFile, fmt::format("piece {} is not UTF-8", id));
    }
    token.form = TokenForm::kText;
    switch (model_->piece_kind(id)) {
      case SentencePieceKind::kByte:
        token.form = TokenForm::kByte;
        token.bytes = byte_of_piece(token.piece);
        break;
      case SentencePieceKind::kNormal:
        token.bytes = with_spaces(token.piece);
        token.drops_space_first = drops_space && token.piece.starts_with(kMetaspace);
        break;
      case SentencePieceKind::kControl:
      case SentencePieceKind::kUnknown:
        token.bytes = token.piece;
        token.is_special = true;
        break;
    }
  }
  return absl::OkStatus();
}

absl::Status SentencePieceTokenizer::add_tokens(const TokenizerConfig& config) {
  std::size_t size = tokens_.size();
  for (const AddedToken& token : config.added_tokens) {
    size = std::max(size, static_cast<std::size_t>(token.id) + 1);
  }
  if (size > 2 * (tokens_.size() + config.added_tokens.size()) + 65'536) {
    return invalid_field("tokenizer_config.json",
                         fmt::format("added token id {} lies far outside the vocabulary", size - 1));
  }
  tokens_.resize(size);
  for (const AddedToken& added : config.added_tokens) {
    Token& token = tokens_[added.id];
    if (token.form != TokenForm::kAbsent && token.piece != added.content) {
      return invalid_field(
          "tokenizer_config.json",
          fmt::format("token {} is \"{}\" there and \"{}\" in tokenizer.model", added.id, added.content, token.piece));
    }
    const bool is_control = token.is_special;
    if (token.form == TokenForm::kAbsent) {
      token = {added.content, added.content, TokenForm::kText, false, false, false};
    }
    token.is_cut_out = true;
    token.is_special = added.special || is_control;
    AddedToken pattern = added;
    pattern.special = token.is_special;
    matcher_.add(pattern.content, pattern);
  }
  return absl::OkStatus();
}

// Adds a token with a role, or a control piece of the model: special, recognised in text only when asked for.
void SentencePieceTokenizer::add_role(const std::string& content) {
  const std::optional<TokenId> id = token_to_id(content);
  if (!id.has_value() || content.empty()) {
    return;
  }
  tokens_[*id].is_special = true;
  tokens_[*id].is_cut_out = true;
  AddedToken token;
  token.content = content;
  token.id = *id;
  token.special = true;
  matcher_.add(content, token);  // no effect if an added token has this content
}

absl::Status SentencePieceTokenizer::set_roles(const TokenizerConfig& config) {
  ids_ = TokenTable(tokens_.size());
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].form != TokenForm::kAbsent) {
      ids_.insert(tokens_[id].piece, static_cast<TokenId>(id));
    }
  }
  const auto role = [&](const std::string& content, TokenId fallback) {
    add_role(content);
    return content.empty() ? fallback : token_to_id(content).value_or(-1);
  };
  special_.bos = role(config.bos_token, model_->bos_id());
  special_.eos = role(config.eos_token, model_->eos_id());
  special_.unk = role(config.unk_token, model_->unk_id());
  special_.pad = role(config.pad_token, model_->pad_id());
  for (const std::string& content : config.additional_special_tokens) {
    add_role(content);
  }
  special_.add_bos = config.add_bos_token.value_or(special_.bos >= 0);
  special_.add_eos = config.add_eos_token.value_or(false);
  if ((special_.add_bos && special_.bos < 0) || (special_.add_eos && special_.eos < 0)) {
    return invalid_field("tokenizer_config.json",
                         "add_bos_token or add_eos_token is true for a token that is not there");
  }
  for (TokenId id = 0; id < model_->size(); ++id) {
    if (tokens_[id].is_special) {
      add_role(tokens_[id].piece);
    }
    // The library recognises user-defined pieces in any text; a user's text must not produce a special one.
    if (tokens_[id].is_special && model_->piece_kind(id) == SentencePieceKind::kNormal) {
      AddedToken hidden;
      hidden.id = id;
      hidden_matcher_.add(tokens_[id].piece, hidden);
    }
  }
  return absl::OkStatus();
}

bool SentencePieceTokenizer::has_token(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < tokens_.size() && tokens_[id].form != TokenForm::kAbsent;
}

absl::StatusOr<std::vector<TokenId>> SentencePieceTokenizer::encode(std::string_view utf8,
                                                                    EncodeOptions options) const {
  if (utf8.size() > kEncodeBytesMax) {
    return absl::InvalidArgumentError(fmt::format("the text has {} bytes, more than {}", utf8.size(), kEncodeBytesMax));
  }
  std::string repaired;
  if (!is_valid_utf8(utf8)) {
    repaired = replace_invalid_utf8(utf8);
    utf8 = repaired;
  }
  std::vector<TokenId> ids;
  if (options.add_special && special_.add_bos) {
    ids.push_back(special_.bos);
  }
  std::vector<TextRange> plain;
  std::span<const TextRange> plain_left = options.plain;
  COPPICE_RETURN_IF_ERROR(matcher_.split(utf8, options.parse_special, options.plain, [&](const Section& section) {
    if (section.id >= 0) {
      ids.push_back(section.id);
      return absl::OkStatus();
    }
    const std::string_view text = utf8.substr(section.begin, section.end - section.begin);
    take_ranges(plain_left, section, plain);
    return encode_text(text, section.begin == 0, plain, ids);
  }));
  if (options.add_special && special_.add_eos) {
    ids.push_back(special_.eos);
  }
  return ids;
}

std::vector<std::size_t> SentencePieceTokenizer::cuts_of(std::string_view text,
                                                         std::span<const TextRange> plain) const {
  std::vector<std::size_t> cuts;
  const auto cut_in = [&](std::size_t begin) { cuts.push_back(begin + utf8_step(text, begin).length); };
  const absl::Status status = hidden_matcher_.split(text, true, {}, [&](const Section& section) {
    if (section.id >= 0) {
      cut_in(section.begin);
    }
    return absl::OkStatus();
  });
  COPPICE_CHECK(status.ok(), "a visitor that cannot fail has failed");
  for (const TextRange& range : plain) {
    const TokenId id = ids_.find(text.substr(range.begin, range.end - range.begin));
    if (id >= 0 && id < model_->size() && model_->piece_kind(id) == SentencePieceKind::kNormal) {
      cut_in(range.begin);
    }
  }
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

absl::Status SentencePieceTokenizer::encode_text(std::string_view text, bool at_start, std::span<const TextRange> plain,
                                                 std::vector<TokenId>& ids) const {
  bool with_prefix = legacy_ || at_start;
  std::size_t begin = 0;
  for (const std::size_t cut : cuts_of(text, plain)) {
    COPPICE_RETURN_IF_ERROR(
        encode_run(with_prefix ? *model_ : *model_without_prefix_, text.substr(begin, cut - begin), ids));
    with_prefix = false;
    begin = cut;
  }
  return encode_run(with_prefix ? *model_ : *model_without_prefix_, text.substr(begin), ids);
}

// The library's memory is hundreds of times its text: it gets a run at a time.
absl::Status SentencePieceTokenizer::encode_run(const SentencePieceModel& model, std::string_view text,
                                                std::vector<TokenId>& ids) const {
  const SentencePieceModel* reader = &model;
  while (cuts_at_spaces_ && text.size() > kRunBytes) {
    const std::size_t end = next_word(text, kRunBytes);
    COPPICE_RETURN_IF_ERROR(encode_whole(*reader, text.substr(0, end), ids));
    text.remove_prefix(end);
    if (text.empty()) {
      return absl::OkStatus();
    }
    reader = model_without_prefix_.get();
  }
  return encode_whole(*reader, text, ids);
}

std::size_t SentencePieceTokenizer::encode_memory(std::string_view utf8) const {
  std::size_t longest = std::max(utf8.size(), charsmap_.normalized_bytes(utf8));
  if (cuts_at_spaces_) {
    longest = 0;
    for (std::size_t begin = 0; begin < utf8.size();) {
      const std::size_t end = next_word(utf8, begin + 1);
      longest = std::max(longest, end - begin);
      begin = end;
    }
    longest = std::min(longest + kRunBytes, utf8.size());
  }
  return longest * kLibraryMemoryOfByte + utf8.size() * kMemoryOfByte;
}

absl::Status SentencePieceTokenizer::encode_whole(const SentencePieceModel& model, std::string_view text,
                                                  std::vector<TokenId>& ids) {
  std::vector<TokenId> run;
  std::string error;
  if (!model.encode(text, run, error)) {
    return absl::InternalError(fmt::format("sentencepiece: {}", error));
  }
  ids.insert(ids.end(), run.begin(), run.end());
  return absl::OkStatus();
}

std::string SentencePieceTokenizer::piece(TokenId id) const {
  return has_token(id) ? tokens_[id].piece : std::string();
}

bool SentencePieceTokenizer::is_special(TokenId id) const {
  return has_token(id) && tokens_[id].is_special;
}

std::optional<TokenId> SentencePieceTokenizer::token_to_id(std::string_view piece) const {
  const TokenId id = ids_.find(piece);
  return id >= 0 ? std::optional<TokenId>(id) : std::nullopt;
}

TokenText SentencePieceTokenizer::token_text(TokenId id, bool is_first) const {
  if (!has_token(id)) {
    return {};
  }
  const Token& token = tokens_[id];
  std::string_view bytes = token.bytes;
  if (is_first && token.drops_space_first) {
    bytes.remove_prefix(1);
  }
  return {token.form, token.is_special, legacy_ && token.is_cut_out, bytes, token.is_cut_out};
}

}  // namespace coppice::text
