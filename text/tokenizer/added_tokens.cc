// A trie of bytes. Patterns begin with one of few bytes, so most of a text costs one comparison a byte.
#include "text/tokenizer/added_tokens.h"

#include <algorithm>

#include "base/status_macros.h"
#include "text/tokenizer/word_character.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

// Returns the code point that ends at `end`.
// REQUIRES: valid UTF-8, end > 0.
char32_t code_point_before(std::string_view text, std::size_t end, std::size_t& begin) {
  begin = end - 1;
  while (begin > 0 && (static_cast<std::uint8_t>(text[begin]) & 0xC0) == 0x80) {
    --begin;
  }
  return utf8_step(text, begin).code_point;
}

bool is_single_word(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t before = 0;
  const bool joined_left = begin > 0 && is_word_character(code_point_before(text, begin, before));
  const bool joined_right = end < text.size() && is_word_character(utf8_step(text, end).code_point);
  return !joined_left && !joined_right;
}

// Looks at nothing before `floor`.
std::size_t skip_space_left(std::string_view text, std::size_t end, std::size_t floor) {
  while (end > floor) {
    std::size_t begin = 0;
    if (!is_white_space(code_point_before(text, end, begin))) {
      break;
    }
    end = begin;
  }
  return end;
}

std::size_t skip_space_right(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Utf8Step step = utf8_step(text, at);
    if (!is_white_space(step.code_point)) {
      break;
    }
    at += step.length;
  }
  return at;
}

}  // namespace

void take_ranges(std::span<const TextRange>& ranges, const Section& section, std::vector<TextRange>& taken) {
  taken.clear();
  while (!ranges.empty() && ranges.front().begin < section.end) {
    const std::size_t begin = std::max(ranges.front().begin, section.begin);
    taken.push_back({begin - section.begin, std::max(ranges.front().end, begin) - section.begin});
    ranges = ranges.subspan(1);
  }
}

AddedTokenMatcher::AddedTokenMatcher() : nodes_(1) {}

std::int32_t AddedTokenMatcher::child(std::int32_t node, char byte) const {
  std::int32_t at = nodes_[node].first_child;
  while (at >= 0 && nodes_[at].byte != byte) {
    at = nodes_[at].next_sibling;
  }
  return at;
}

void AddedTokenMatcher::add(std::string_view pattern, const AddedToken& token) {
  if (pattern.empty()) {
    return;
  }
  begins_[static_cast<std::uint8_t>(pattern[0])] = true;
  std::int32_t node = 0;
  for (const char byte : pattern) {
    std::int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      nodes_.push_back({-1, nodes_[node].first_child, -1, byte});
      nodes_[node].first_child = next;
    }
    node = next;
  }
  if (nodes_[node].token < 0) {
    nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
    tokens_.push_back(token);
  }
}

std::int32_t AddedTokenMatcher::longest_at(std::string_view text, std::size_t at, std::size_t& length) const {
  std::int32_t best = -1;
  std::int32_t node = 0;
  for (std::size_t end = at; end < text.size(); ++end) {
    node = child(node, text[end]);
    if (node < 0) {
      break;
    }
    if (nodes_[node].token >= 0) {
      best = nodes_[node].token;
      length = end + 1 - at;
    }
  }
  return best;
}

absl::Status AddedTokenMatcher::split(std::string_view text, bool with_special, std::span<const TextRange> plain,
                                      absl::FunctionRef<absl::Status(const Section&)> visit) const {
  std::size_t done = 0;  // text before `done` was visited
  std::size_t at = 0;
  while (at < text.size() && !tokens_.empty()) {
    while (!plain.empty() && plain.front().end <= at) {
      plain = plain.subspan(1);
    }
    const std::size_t limit = plain.empty() ? text.size() : std::max(plain.front().begin, at);
    std::size_t length = 1;
    const bool may_begin = at < limit && begins_[static_cast<std::uint8_t>(text[at])];
    const std::int32_t found = may_begin ? longest_at(text.substr(0, limit), at, length) : -1;
    if (found < 0) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + length;
    at = end;
    const AddedToken& token = tokens_[found];
    if ((token.special && !with_special) || (token.single_word && !is_single_word(text, begin, end))) {
      continue;
    }
    if (token.lstrip) {
      begin = std::max(skip_space_left(text, begin, done), done);
    }
    if (token.rstrip) {
      end = skip_space_right(text, std::max(end, done));  // up to `done` is white space that was skipped before
    }
    if (done < begin) {
      COPPICE_RETURN_IF_ERROR(visit({done, begin, -1}));
    }
    COPPICE_RETURN_IF_ERROR(visit({begin, end, token.id}));
    done = end;
  }
  return done < text.size() ? visit({done, text.size(), -1}) : absl::OkStatus();
}

}  // namespace coppice::text
