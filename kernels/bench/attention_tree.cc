// Reading the short forms of trees and head counts.
#include <charconv>
#include <limits>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/attention_bench.h"

namespace coppice::kernels {
namespace {

constexpr std::size_t kLevelsMax = 64;        // far more than any benchmark's tree has
constexpr std::int32_t kNumberMax = 1 << 24;  // of nodes or tokens; their products fit 64 bits

absl::StatusOr<std::int32_t> parse_number(std::string_view text, std::string_view whole) {
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= 0 || number > kNumberMax) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\": \"{}\" is not a whole number from 1 to {}", whole, text, kNumberMax));
  }
  return number;
}

absl::StatusOr<std::vector<std::int32_t>> parse_list(std::string_view text, std::string_view whole) {
  std::vector<std::int32_t> numbers;
  for (;;) {
    const std::size_t comma = text.find(',');
    COPPICE_ASSIGN_OR_RETURN(const std::int32_t number, parse_number(text.substr(0, comma), whole));
    numbers.push_back(number);
    if (numbers.size() > kLevelsMax) {
      return absl::InvalidArgumentError(fmt::format("a tree has at most {} levels", kLevelsMax));
    }
    if (comma == std::string_view::npos) {
      return numbers;
    }
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

std::int64_t AttentionTree::sequence_tokens() const {
  std::int64_t sum = 0;
  for (const std::int32_t count : tokens) {
    sum += count;
  }
  return sum;
}

std::int64_t AttentionTree::unique_tokens() const {
  std::int64_t sum = 0;
  for (std::size_t level = 0; level < tokens.size(); ++level) {
    sum += std::int64_t{nodes[level]} * tokens[level];
  }
  return sum;
}

absl::StatusOr<AttentionTree> parse_attention_tree(std::string_view text) {
  const std::size_t middle = text.find('_');
  if (middle == std::string_view::npos || text.find('_', middle + 1) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        fmt::format("tree \"{}\": give nodes per level, one \"_\", tokens per level, as in \"1,256_2048,256\"", text));
  }
  AttentionTree tree;
  COPPICE_ASSIGN_OR_RETURN(tree.nodes, parse_list(text.substr(0, middle), text));
  COPPICE_ASSIGN_OR_RETURN(tree.tokens, parse_list(text.substr(middle + 1), text));
  if (tree.nodes.size() != tree.tokens.size()) {
    return absl::InvalidArgumentError(fmt::format("tree \"{}\": {} levels of nodes, {} levels of tokens", text,
                                                  tree.nodes.size(), tree.tokens.size()));
  }
  for (std::size_t level = 1; level < tree.nodes.size(); ++level) {
    if (tree.nodes[level] < tree.nodes[level - 1]) {
      return absl::InvalidArgumentError(
          fmt::format("tree \"{}\": level {} has fewer nodes ({}) than the level above it ({})", text, level + 1,
                      tree.nodes[level], tree.nodes[level - 1]));
    }
  }
  if (tree.sequence_tokens() > kNumberMax || tree.unique_tokens() > std::numeric_limits<std::int32_t>::max() / 2) {
    return absl::InvalidArgumentError(fmt::format("tree \"{}\" has too many tokens", text));
  }
  return tree;
}

absl::StatusOr<HeadCounts> parse_head_counts(std::string_view text) {
  const std::size_t middle = text.find('/');
  if (middle == std::string_view::npos) {
    return absl::InvalidArgumentError(fmt::format("heads \"{}\": give query heads / key heads, as in \"32/8\"", text));
  }
  HeadCounts heads;
  COPPICE_ASSIGN_OR_RETURN(heads.query_heads, parse_number(text.substr(0, middle), text));
  COPPICE_ASSIGN_OR_RETURN(heads.key_heads, parse_number(text.substr(middle + 1), text));
  if (heads.query_heads % heads.key_heads != 0 || heads.query_heads > 4096) {
    return absl::InvalidArgumentError(
        fmt::format("heads \"{}\": query heads must be a multiple of key heads, at most 4096", text));
  }
  return heads;
}

}  // namespace coppice::kernels
