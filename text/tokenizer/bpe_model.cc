// BPE with two mergers: an array scan for short pieces, which make up nearly all text, and a heap over a row of symbols
// for long ones. Both take the lowest rank first, leftmost of equals, so they return the same ids.
#include "text/tokenizer/bpe_model.h"

#include <algorithm>

#include "base/release.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/byte_alphabet.h"
#include "text/tokenizer/json_access.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

// Symbols in a piece. At most this many are merged by the scan, which is quadratic but needs no heap.
constexpr std::size_t kShortSymbolsMax = 48;
// Candidates for which the heap stays from one piece to the next, so that its 48 KiB are not allocated again and again.
constexpr std::size_t kCandidatesKept = 4096;
constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // "▁"

// Returns the end of the word that begins at `begin`: the next "▁" that follows a character other than "▁".
std::size_t word_end(std::string_view text, std::size_t begin) {
  std::size_t search = begin;
  while (true) {
    const std::size_t at = text.find(kMetaspace, search);
    if (at == std::string_view::npos) {
      return text.size();
    }
    if (at > begin && !text.substr(begin, at - begin).ends_with(kMetaspace)) {
      return at;
    }
    search = at + kMetaspace.size();
  }
}

// Symbols in the place of their characters: the id of a symbol stands at its first. At the second and the last
// character of a longer one stands its length, negative; between them something negative. So a list needs no links.
class SymbolRow {
 public:
  explicit SymbolRow(std::vector<TokenId>& ids) : ids_(ids) {}

  std::size_t size() const { return ids_.size(); }
  bool begins_at(std::int32_t at) const { return ids_[at] >= 0; }
  // REQUIRES of all below: a symbol begins there. Each returns -1 for none.
  TokenId id(std::int32_t at) const { return ids_[at]; }
  std::int32_t next(std::int32_t at) const {
    const std::int32_t next = at + length(at);
    return next < static_cast<std::int32_t>(ids_.size()) ? next : -1;
  }
  std::int32_t previous(std::int32_t at) const {
    const TokenId last = at > 0 ? ids_[at - 1] : 0;
    return last >= 0 ? at - 1 : at + last;
  }

  // REQUIRES: right == next(left).
  void merge(std::int32_t left, std::int32_t right, TokenId id) {
    const std::int32_t merged = right - left + length(right);
    ids_[right] = -1;
    ids_[left] = id;
    ids_[left + 1] = -merged;
    ids_[left + merged - 1] = -merged;
  }

  // Leaves the ids of the symbols alone.
  void close_up() {
    std::size_t count = 0;
    for (std::int32_t at = 0; at >= 0;) {
      const std::int32_t next_at = next(at);
      ids_[count++] = ids_[at];
      at = next_at;
    }
    ids_.resize(count);
  }

 private:
  std::int32_t length(std::int32_t at) const {
    const auto second = static_cast<std::size_t>(at) + 1;
    return second < ids_.size() && ids_[second] < 0 ? -ids_[second] : 1;
  }

  std::vector<TokenId>& ids_;
};

// REQUIRES: valid UTF-8.
std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<std::uint8_t>(byte) & 0xC0) != 0x80; }));
}

// Grows the list by a quarter: there are many symbols, and their memory was asked for.
void append(std::vector<TokenId>& ids, TokenId id) {
  if (ids.size() == ids.capacity()) {
    ids.reserve(ids.size() + ids.size() / 4 + 16);
  }
  ids.push_back(id);
}

std::string byte_token(unsigned byte) {
  return fmt::format("<0x{:02X}>", byte);
}

}  // namespace

absl::StatusOr<BpeModel> BpeModel::create(const BpeDescription& description) {
  BpeModel model;
  model.fuse_unk_ = description.fuse_unk;
  model.ignore_merges_ = description.ignore_merges;
  model.byte_level_ = description.byte_level;
  COPPICE_RETURN_IF_ERROR(model.add_vocabulary(description));
  COPPICE_RETURN_IF_ERROR(model.add_merges(description));
  model.find_word_boundary(description);
  model.find_whole_pieces(description);
  return model;
}

absl::Status BpeModel::add_vocabulary(const BpeDescription& description) {
  vocabulary_ = TokenTable(description.vocabulary.size());
  for (const auto& [piece, id] : description.vocabulary) {
    vocabulary_.insert(piece, id);
  }
  for (unsigned code = 0; code < ascii_ids_.size(); ++code) {
    ascii_ids_[code] = vocabulary_.find(std::string(1, static_cast<char>(code)));
  }
  bool every_byte = true;
  for (unsigned byte = 0; byte < byte_ids_.size(); ++byte) {
    const std::string raw(1, static_cast<char>(byte));
    byte_ids_[byte] = vocabulary_.find(byte_level_ ? piece_of_bytes(raw) : byte_token(byte));
    every_byte = every_byte && byte_ids_[byte] >= 0;
  }
  if (byte_level_ && description.byte_fallback && !every_byte) {
    return invalid_field("model.byte_fallback", "is not supported for a byte-level vocabulary without all 256 bytes");
  }
  byte_fallback_ = description.byte_fallback && !byte_level_;
  if (description.unk_token.has_value()) {
    unk_ = vocabulary_.find(*description.unk_token);
    if (unk_ < 0) {
      return invalid_field("model.unk_token", fmt::format("\"{}\" is not in the vocabulary", *description.unk_token));
    }
  }
  return absl::OkStatus();
}

absl::Status BpeModel::add_merges(const BpeDescription& description) {
  merges_ = MergeTable(description.merges.size());
  std::int32_t rank = 0;
  for (const auto& [left, right] : description.merges) {
    const TokenId left_id = vocabulary_.find(left);
    const TokenId right_id = vocabulary_.find(right);
    const TokenId merged_id = vocabulary_.find(left + right);
    if (left_id < 0 || right_id < 0 || merged_id < 0) {
      const std::string& missing = left_id < 0 ? left : right_id < 0 ? right : left + right;
      return invalid_field(fmt::format("model.merges[{}]", rank),
                           fmt::format("\"{}\" is not in the vocabulary", missing));
    }
    merges_.insert(left_id, right_id, {rank, merged_id});
    ++rank;
  }
  return absl::OkStatus();
}

// Vocabularies converted from sentencepiece have no pre-tokenizer: a whole text is one piece. If no merge joins "x" and
// "▁y", where x does not end in "▁", merges never cross such a place. Words are then encoded one by one, which gives
// the same ids without a heap over the whole text.
void BpeModel::find_word_boundary(const BpeDescription& description) {
  if (byte_level_ || ignore_merges_ || vocabulary_.find(kMetaspace) < 0 || unk_ == vocabulary_.find(kMetaspace)) {
    return;
  }
  cut_before_metaspace_ = std::none_of(description.merges.begin(), description.merges.end(), [](const auto& merge) {
    return merge.second.starts_with(kMetaspace) && !merge.first.ends_with(kMetaspace);
  });
}

// Enters the tokens that a single look-up may encode: those that the merges produce from their own text, or, with
// ignore_merges, all. Most words of a text are among them.
void BpeModel::find_whole_pieces(const BpeDescription& description) {
  whole_pieces_ = TokenTable(description.vocabulary.size());
  Scratch scratch;
  std::vector<TokenId> ids;
  for (const auto& [piece, id] : description.vocabulary) {
    const std::optional<std::string> raw = byte_level_ ? bytes_of_piece(piece) : std::optional<std::string>(piece);
    if (!raw.has_value() || raw->empty() || !(byte_level_ || is_valid_utf8(*raw))) {
      continue;
    }
    const TokenId effective = vocabulary_.find(piece);
    ids.clear();
    if (!ignore_merges_) {
      encode_unsplit(*raw, ids, scratch);
    }
    if (ignore_merges_ || (ids.size() == 1 && ids[0] == effective)) {
      whole_pieces_.insert(*raw, effective);
    }
  }
}

void BpeModel::encode_piece(std::string_view piece, std::vector<TokenId>& out, Scratch& scratch) const {
  std::size_t begin = 0;
  while (begin < piece.size()) {
    const std::size_t end = cut_before_metaspace_ ? word_end(piece, begin) : piece.size();
    const std::string_view word = piece.substr(begin, end - begin);
    const TokenId whole = whole_pieces_.find(word);
    if (whole >= 0) {
      out.push_back(whole);
    } else {
      encode_unsplit(word, out, scratch);
    }
    begin = end;
  }
}

void BpeModel::encode_unsplit(std::string_view piece, std::vector<TokenId>& out, Scratch& scratch) const {
  scratch.ids.clear();
  if (piece.size() > kShortSymbolsMax) {
    scratch.ids.reserve(byte_level_ ? piece.size() : count_characters(piece));
  }
  initial_symbols(piece, scratch.ids);
  if (scratch.ids.size() <= kShortSymbolsMax) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  if (scratch.heap.capacity() > kCandidatesKept) {
    base::release(scratch.heap);
  }
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

std::size_t BpeModel::symbols_of(std::string_view piece) const {
  std::vector<TokenId> ids;
  initial_symbols(piece, ids);
  return ids.size();
}

// Hugging Face holds an unknown character back until the next known one, to fuse runs. Characters that fall back to
// bytes do not release it, so their ids may precede it. This code does the same.
void BpeModel::initial_symbols(std::string_view piece, std::vector<TokenId>& ids) const {
  std::optional<TokenId> unknown;
  std::size_t at = 0;
  while (at < piece.size()) {
    const std::size_t length = byte_level_ ? 1 : utf8_step(piece, at).length;
    const std::string_view character = piece.substr(at, length);
    at += length;
    const auto first = static_cast<std::uint8_t>(character[0]);
    const TokenId id = byte_level_                 ? byte_ids_[first]
                       : first < ascii_ids_.size() ? ascii_ids_[first]
                                                   : vocabulary_.find(character);
    if (id < 0) {
      add_unknown(character, unknown, ids);
      continue;
    }
    if (unknown.has_value()) {
      append(ids, *unknown);
      unknown.reset();
    }
    append(ids, id);
  }
  if (unknown.has_value()) {
    append(ids, *unknown);
  }
}

void BpeModel::add_unknown(std::string_view character, std::optional<TokenId>& unknown,
                           std::vector<TokenId>& ids) const {
  if (byte_fallback_) {
    const auto has_token = [this](char byte) { return byte_ids_[static_cast<std::uint8_t>(byte)] >= 0; };
    if (std::all_of(character.begin(), character.end(), has_token)) {
      for (const char byte : character) {
        append(ids, byte_ids_[static_cast<std::uint8_t>(byte)]);
      }
      return;
    }
  }
  if (unk_ < 0) {
    return;  // a model without an unknown token drops the character
  }
  if (unknown.has_value() && !fuse_unk_) {
    append(ids, *unknown);
  }
  unknown = unk_;
}

void BpeModel::merge_short(Scratch& scratch) const {
  std::vector<TokenId>& ids = scratch.ids;
  std::vector<Merge>& merges = scratch.merges;  // merges[i] joins ids[i] and ids[i + 1]
  merges.clear();
  for (std::size_t index = 0; index + 1 < ids.size(); ++index) {
    merges.push_back(merges_.find(ids[index], ids[index + 1]));
  }
  while (!merges.empty()) {
    // Cast to unsigned, "no merge" (-1) is the largest rank.
    const auto best = std::min_element(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
      return static_cast<std::uint32_t>(a.rank) < static_cast<std::uint32_t>(b.rank);
    });
    if (best->rank < 0) {
      break;
    }
    const auto at = static_cast<std::size_t>(best - merges.begin());
    ids[at] = best->id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges.erase(best);
    if (at < merges.size()) {
      merges[at] = merges_.find(ids[at], ids[at + 1]);
    }
    if (at > 0) {
      merges[at - 1] = merges_.find(ids[at - 1], ids[at]);
    }
  }
}

void BpeModel::merge_long(Scratch& scratch) const {
  SymbolRow symbols(scratch.ids);
  std::vector<Scratch::Candidate>& heap = scratch.heap;
  heap.clear();
  heap.reserve(symbols.size());
  const auto is_stale = [&](const Scratch::Candidate& candidate) {  // one of its symbols has merged with another since
    if (!symbols.begins_at(candidate.position)) {
      return true;
    }
    const std::int32_t right = symbols.next(candidate.position);
    return right < 0 || merges_.find(symbols.id(candidate.position), symbols.id(right)).id != candidate.id;
  };
  const auto offer = [&](std::int32_t left, std::int32_t right) {
    const Merge merge = merges_.find(symbols.id(left), symbols.id(right));
    if (merge.rank < 0) {
      return;
    }
    if (heap.size() == heap.capacity()) {  // rather than grow: there are fewer pairs than symbols were
      std::erase_if(heap, is_stale);
      std::make_heap(heap.begin(), heap.end());
    }
    heap.push_back({merge.rank, left, merge.id});
    std::push_heap(heap.begin(), heap.end());
  };
  for (std::int32_t index = 0; index + 1 < static_cast<std::int32_t>(symbols.size()); ++index) {
    offer(index, index + 1);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Scratch::Candidate top = heap.back();
    heap.pop_back();
    if (is_stale(top)) {
      continue;
    }
    symbols.merge(top.position, symbols.next(top.position), top.id);
    if (const std::int32_t next = symbols.next(top.position); next >= 0) {
      offer(top.position, next);
    }
    if (const std::int32_t previous = symbols.previous(top.position); previous >= 0) {
      offer(previous, top.position);
    }
  }
  symbols.close_up();
}

}  // namespace coppice::text
