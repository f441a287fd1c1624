// Encoding in order: cut added tokens out of the raw text, normalise the rest, cut normalised added tokens out of that,
// pre-tokenise the rest, encode each piece by BPE.
#include "text/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/growth.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

// Bytes of memory (tokenizer_memory_test.cc measures them). For a byte of text as it is rewritten: normalised, and cut;
// a string has room for twice as much at worst. For a symbol of BPE: its id and its candidate for merging, or two
// pieces of the text, and a third of a token of the answer.
constexpr std::size_t kMemoryOfByte = 4;
constexpr std::size_t kMemoryOfSymbol = 18;

// Ids index arrays, so sparse ids are refused: one token with id 2,000,000 would cost memory for two million.
std::size_t ids_allowed(std::size_t token_count) {
  return 2 * token_count + 65'536;
}

}  // namespace

// State of one call of encode().
struct BpeTokenizer::EncodeState {
  bool parse_special = false;
  std::vector<TextRange> plain;  // EncodeOptions::plain of the present section, counted from its begin
  std::vector<TokenId> ids;
  CutText cut;
  BpeModel::Scratch scratch;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> BpeTokenizer::create(BpeTokenizerParts parts) {
  parts.bpe.byte_level = parts.pre_tokenizer.byte_level();
  COPPICE_ASSIGN_OR_RETURN(BpeModel model, BpeModel::create(parts.bpe));
  std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(model), parts));
  COPPICE_RETURN_IF_ERROR(tokenizer->fill_tokens(parts));
  COPPICE_RETURN_IF_ERROR(tokenizer->decode_pieces(parts.decoder));
  COPPICE_RETURN_IF_ERROR(tokenizer->add_matchers(parts.added_tokens));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

BpeTokenizer::BpeTokenizer(BpeModel model, BpeTokenizerParts& parts)
    : model_(std::move(model)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      prefix_(std::move(parts.prefix)),
      suffix_(std::move(parts.suffix)),
      special_(parts.special),
      rules_(parts.decoder.rules()) {}

absl::Status BpeTokenizer::fill_tokens(const BpeTokenizerParts& parts) {
  const std::size_t count = parts.bpe.vocabulary.size() + parts.added_tokens.size();
  TokenId last = -1;
  for (const auto& [piece, id] : parts.bpe.vocabulary) {
    last = std::max(last, id);
  }
  for (const AddedToken& token : parts.added_tokens) {
    last = std::max(last, token.id);
  }
  if (static_cast<std::size_t>(last) + 1 > ids_allowed(count) || last < 0) {
    return invalid_field("model.vocab", fmt::format("{} tokens, but an id of {}", count, last));
  }
  tokens_.resize(static_cast<std::size_t>(last) + 1);
  ids_ = TokenTable(count);
  const auto put = [this](const std::string& piece, TokenId id) -> Token& {
    ids_.insert(piece, id);
    tokens_[id].piece = piece;
    tokens_[id].form = TokenForm::kText;
    return tokens_[id];
  };
  for (const auto& [piece, id] : parts.bpe.vocabulary) {
    if (has_token(id)) {
      return invalid_field("model.vocab",
                           fmt::format("\"{}\" and \"{}\" have the same id {}", piece, tokens_[id].piece, id));
    }
    put(piece, id);
  }
  for (const AddedToken& token : parts.added_tokens) {
    const TokenId known = ids_.find(token.content);
    if ((known >= 0 && known != token.id) || (known < 0 && has_token(token.id))) {
      return invalid_field("added_tokens", fmt::format("\"{}\" has id {}, which does not agree with the vocabulary",
                                                       token.content, token.id));
    }
    Token& added = put(token.content, token.id);
    added.is_special = token.special;
    added.is_added = true;
  }
  for (const std::vector<TokenId>* around : {&prefix_, &suffix_}) {
    for (const TokenId id : *around) {
      if (!has_token(id)) {
        return invalid_field("post_processor", fmt::format("no token has id {}", id));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status BpeTokenizer::decode_pieces(const PieceDecoder& decoder) {
  if (decoder.first_differs()) {
    first_bytes_.resize(tokens_.size());
  }
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    Token& token = tokens_[id];
    if (token.form == TokenForm::kAbsent) {
      continue;
    }
    COPPICE_ASSIGN_OR_RETURN(PieceDecoder::Decoded decoded, decoder.decode(token.piece, false));
    token.form = decoded.form;
    token.bytes = std::move(decoded.bytes);
    if (!first_bytes_.empty()) {
      COPPICE_ASSIGN_OR_RETURN(decoded, decoder.decode(token.piece, true));
      first_bytes_[id] = std::move(decoded.bytes);
    }
  }
  return absl::OkStatus();
}

absl::Status BpeTokenizer::add_matchers(const std::vector<AddedToken>& added_tokens) {
  for (const bool special : {true, false}) {  // special first: of equal patterns the first added is found
    for (const AddedToken& token : added_tokens) {
      if (token.special != special) {
        continue;
      }
      if (!token.normalized) {
        raw_matcher_.add(token.content, token);
        continue;
      }
      COPPICE_ASSIGN_OR_RETURN(const std::string pattern, normalizer_.normalize(token.content));
      normalized_matcher_.add(pattern, token);
    }
  }
  return absl::OkStatus();
}

bool BpeTokenizer::has_token(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < tokens_.size() && tokens_[id].form != TokenForm::kAbsent;
}

absl::StatusOr<std::vector<TokenId>> BpeTokenizer::encode(std::string_view utf8, EncodeOptions options) const {
  if (utf8.size() > kEncodeBytesMax) {
    return absl::InvalidArgumentError(fmt::format("the text has {} bytes, more than {}", utf8.size(), kEncodeBytesMax));
  }
  std::string repaired;
  if (!is_valid_utf8(utf8)) {
    repaired = replace_invalid_utf8(utf8);
    utf8 = repaired;
  }
  EncodeState state;
  state.parse_special = options.parse_special;
  state.ids.reserve(utf8.size() / 3 + 8);
  if (options.add_special) {
    state.ids = prefix_;
  }
  std::span<const TextRange> plain_left = options.plain;
  COPPICE_RETURN_IF_ERROR(raw_matcher_.split(utf8, options.parse_special, options.plain, [&](const Section& section) {
    if (section.id >= 0) {
      state.ids.push_back(section.id);
      return absl::OkStatus();
    }
    take_ranges(plain_left, section, state.plain);
    return encode_section(utf8.substr(section.begin, section.end - section.begin), section.begin == 0, state);
  }));
  if (options.add_special) {
    state.ids.insert(state.ids.end(), suffix_.begin(), suffix_.end());
  }
  return std::move(state.ids);
}

std::size_t BpeTokenizer::encode_memory(std::string_view utf8) const {
  const auto symbols = [this](std::string_view content) { return model_.symbols_of(content); };
  Growth growth(utf8, symbols);
  normalizer_.grow(growth);
  pre_tokenizer_.grow(growth);
  return growth.bytes() * kMemoryOfByte + growth.symbols() * kMemoryOfSymbol;
}

absl::Status BpeTokenizer::encode_section(std::string_view section, bool at_start, EncodeState& state) const {
  if (normalizer_.empty()) {
    return encode_normalized(section, at_start, state);
  }
  COPPICE_ASSIGN_OR_RETURN(const std::string normalized, normalizer_.normalize(section, state.plain));
  return encode_normalized(normalized, at_start, state);
}

absl::Status BpeTokenizer::encode_normalized(std::string_view text, bool at_start, EncodeState& state) const {
  if (normalized_matcher_.empty()) {
    return encode_plain(text, at_start, state);
  }
  return normalized_matcher_.split(text, state.parse_special, state.plain, [&](const Section& section) {
    if (section.id >= 0) {
      state.ids.push_back(section.id);
      return absl::OkStatus();
    }
    const std::string_view plain = text.substr(section.begin, section.end - section.begin);
    return encode_plain(plain, at_start && section.begin == 0, state);
  });
}

absl::Status BpeTokenizer::encode_plain(std::string_view text, bool at_start, EncodeState& state) const {
  state.cut.text = text;
  state.cut.at_start = at_start;
  COPPICE_RETURN_IF_ERROR(pre_tokenizer_.cut(state.cut));
  const std::string_view cut_text = state.cut.text;
  for (const Span& piece : state.cut.pieces) {
    model_.encode_piece(cut_text.substr(piece.begin, piece.end - piece.begin), state.ids, state.scratch);
  }
  return absl::OkStatus();
}

std::string BpeTokenizer::piece(TokenId id) const {
  return has_token(id) ? tokens_[id].piece : std::string();
}

bool BpeTokenizer::is_special(TokenId id) const {
  return has_token(id) && tokens_[id].is_special;
}

std::optional<TokenId> BpeTokenizer::token_to_id(std::string_view piece) const {
  const TokenId id = ids_.find(piece);
  return id >= 0 ? std::optional<TokenId>(id) : std::nullopt;
}

TokenText BpeTokenizer::token_text(TokenId id, bool is_first) const {
  if (!has_token(id)) {
    return {};
  }
  const Token& token = tokens_[id];
  const bool use_first = is_first && !first_bytes_.empty();
  return {token.form, token.is_special, false, use_first ? first_bytes_[id] : token.bytes, token.is_added};
}

}  // namespace coppice::text
