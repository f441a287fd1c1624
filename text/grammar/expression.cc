// A recursive descent over ECMAScript's syntax that writes each part again as it is read.
#include "text/grammar/expression.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "text/grammar/code_points.h"
#include "text/grammar/expression_part.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr int kGroupDepthMax = 64;  // the parser calls itself for each

const CodePointSet& escaped_in_json() {
  static const CodePointSet set({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  return set;
}

const CodePointSet& line_ends() {
  static const CodePointSet set({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
  return set;
}

// ECMAScript's \d, \w and \s.
std::optional<CodePointSet> class_of_letter(char32_t letter) {
  switch (letter) {
    case 'd':
      return CodePointSet({{'0', '9'}});
    case 'w':
      return CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    case 's':
      return CodePointSet({{'\t', '\r'},
                           {' ', ' '},
                           {0xA0, 0xA0},
                           {0x1680, 0x1680},
                           {0x2000, 0x200A},
                           {0x2028, 0x2029},
                           {0x202F, 0x202F},
                           {0x205F, 0x205F},
                           {0x3000, 0x3000},
                           {0xFEFF, 0xFEFF}});
    case 'D':
    case 'W':
    case 'S':
      return class_of_letter(letter + ('a' - 'A'))->complement();
    default:
      return std::nullopt;
  }
}

std::optional<char32_t> control_of_letter(char32_t letter) {
  switch (letter) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '0':
      return 0;
    default:
      return std::nullopt;
  }
}

absl::Status unsupported(const std::string& what) {
  return absl::InvalidArgumentError(what);
}

bool is_letter_or_digit(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

using Part = ExpressionPart;

class Parser {
 public:
  Parser(std::u32string pattern, ExpressionUse use, ExpressionMatch match)
      : pattern_(std::move(pattern)), use_(use), match_(match) {}

  absl::StatusOr<Part> parse() {
    COPPICE_ASSIGN_OR_RETURN(Part whole, alternatives());
    if (at_ != pattern_.size()) {
      return unsupported("a `)` that closes nothing");
    }
    return whole;
  }

 private:
  bool done() const { return at_ == pattern_.size(); }
  bool next_is(char32_t c) const { return !done() && pattern_[at_] == c; }
  bool take(char32_t c) {
    if (!next_is(c)) {
      return false;
    }
    ++at_;
    return true;
  }
  CodePointSet allowed(const CodePointSet& set) const {
    return use_ == ExpressionUse::kJsonString ? set.without(escaped_in_json()) : set;
  }
  std::string any_characters() const { return allowed(CodePointSet().complement()).expression() + "*"; }

  absl::StatusOr<Part> alternatives();
  absl::StatusOr<Part> sequence();
  absl::StatusOr<Part> atom();
  absl::StatusOr<Part> group();
  absl::StatusOr<Part> of_set(const CodePointSet& set) const;
  absl::Status quantify(Part& part);
  absl::StatusOr<std::pair<std::int64_t, std::int64_t>> bounds();
  std::optional<std::int64_t> number();
  absl::StatusOr<CodePointSet> character_class();
  absl::StatusOr<CodePointSet> escape(bool in_class);
  absl::StatusOr<char32_t> hexadecimal(char32_t kind);
  absl::Status check_size(std::int64_t size) const;

  std::u32string pattern_;
  ExpressionUse use_;
  ExpressionMatch match_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

absl::Status Parser::check_size(std::int64_t size) const {
  if (size > kExpressionSizeMax) {
    return absl::OutOfRangeError("the expression with its repetitions written out is longer than " +
                                 std::to_string(kExpressionSizeMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<Part> Parser::alternatives() {
  if (depth_ > kGroupDepthMax) {
    return absl::OutOfRangeError("groups are nested deeper than " + std::to_string(kGroupDepthMax));
  }
  ExpressionParts parts(ExpressionParts::Kind::kAlternatives);
  do {
    COPPICE_ASSIGN_OR_RETURN(const Part part, sequence());
    parts.add(part);
    COPPICE_RETURN_IF_ERROR(check_size(parts.size()));
  } while (take('|'));
  return std::move(parts).join();
}

absl::StatusOr<Part> Parser::sequence() {
  const bool searches = match_ == ExpressionMatch::kSearch && depth_ == 0;
  ExpressionParts parts(ExpressionParts::Kind::kSequence);
  const bool has_start = depth_ == 0 && take('^');
  bool has_end = false;
  while (!done() && !next_is('|') && !next_is(')')) {
    if (has_end) {
      return unsupported("an anchor inside");
    }
    if (depth_ == 0 && take('$')) {
      has_end = true;
      continue;
    }
    COPPICE_ASSIGN_OR_RETURN(Part part, atom());
    COPPICE_RETURN_IF_ERROR(quantify(part));
    parts.add(part);
    COPPICE_RETURN_IF_ERROR(check_size(parts.size()));
  }
  Part whole = std::move(parts).join();
  // Only a whole expression searches, which nothing repeats.
  if (searches && !has_start) {
    whole.text = any_characters() + whole.text;
  }
  // One run of any characters is enough where nothing stands between.
  if (searches && !has_end && (has_start || whole.size > 0)) {
    whole.text += any_characters();
  }
  return whole;
}

// ASCII letters of a class from which on most tokens of a vocabulary may match.
constexpr std::size_t kWideLetters = 10;

absl::StatusOr<Part> Parser::of_set(const CodePointSet& set) const {
  const CodePointSet kept = allowed(set);
  if (kept.empty()) {
    return unsupported(set.empty() ? "a class that matches nothing" : "a character that JSON writes with an escape");
  }
  return single_part(kept.expression(), kept.is_ascii() && kept.letters() < kWideLetters ? 1 : kWideClassSize);
}

absl::StatusOr<Part> Parser::atom() {
  const char32_t c = pattern_[at_];
  switch (c) {
    case '(':
      return group();
    case '[': {
      ++at_;
      COPPICE_ASSIGN_OR_RETURN(const CodePointSet set, character_class());
      return of_set(set);
    }
    case '\\': {
      ++at_;
      COPPICE_ASSIGN_OR_RETURN(const CodePointSet set, escape(false));
      return of_set(set);
    }
    case '.':
      ++at_;
      return of_set(line_ends().complement());
    case '^':
    case '$':
      return unsupported("an anchor inside");
    case '*':
    case '+':
    case '?':
    case '{':
      return unsupported("a repetition of nothing");
    default:
      ++at_;
      return of_set(CodePointSet({{c, c}}));
  }
}

absl::StatusOr<Part> Parser::group() {
  ++at_;
  if (take('?')) {
    const bool is_named = next_is('P') || next_is('<');
    take('P');
    if (is_named && take('<') && !next_is('=') && !next_is('!')) {
      while (!done() && (is_letter_or_digit(pattern_[at_]) || pattern_[at_] == '_')) {
        ++at_;
      }
      if (!take('>')) {
        return unsupported("a group whose name does not end");
      }
    } else if (is_named || !take(':')) {
      return unsupported("a group that looks around or sets flags");
    }
  }
  ++depth_;
  COPPICE_ASSIGN_OR_RETURN(Part inside, alternatives());
  --depth_;
  if (!take(')')) {
    return unsupported("a `(` that is not closed");
  }
  group_part(inside);
  return inside;
}

std::optional<std::int64_t> Parser::number() {
  std::optional<std::int64_t> value;
  while (!done() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
    value = std::min<std::int64_t>(value.value_or(0) * 10 + (pattern_[at_] - '0'), INT32_MAX);
    ++at_;
  }
  return value;
}

// The bounds of a `{`, which was taken; the second is -1 where there is none.
absl::StatusOr<std::pair<std::int64_t, std::int64_t>> Parser::bounds() {
  const std::optional<std::int64_t> min = number();
  std::int64_t max = min.value_or(0);
  if (take(',')) {
    max = number().value_or(-1);
  }
  if (!min || !take('}') || (max >= 0 && max < *min)) {
    return unsupported("a repetition whose bounds cannot be read");
  }
  const std::int64_t longest = use_ == ExpressionUse::kJsonString ? kJsonRepeatMax : kRepeatMax;
  if (std::max(*min, max) > longest) {
    return absl::OutOfRangeError("a repetition is longer than " + std::to_string(longest));
  }
  return std::pair(*min, max);
}

absl::Status Parser::quantify(Part& part) {
  std::int64_t min = 0;
  std::int64_t max = -1;
  if (take('*') || take('+') || take('?')) {
    const char32_t quantifier = pattern_[at_ - 1];
    min = quantifier == '+' ? 1 : 0;
    max = quantifier == '?' ? 1 : -1;
  } else if (take('{')) {
    COPPICE_ASSIGN_OR_RETURN(std::tie(min, max), bounds());
    part.size *= std::max<std::int64_t>({min, max, 1});
  } else {
    return absl::OkStatus();
  }
  take('?');  // lazy: the same texts
  repeat_part(part, min, max);
  return check_size(part.size);
}

absl::StatusOr<char32_t> Parser::hexadecimal(char32_t kind) {
  const bool is_braced = kind == 'u' && take('{');
  const std::size_t digits_max = is_braced ? 6 : kind == 'u' ? 4 : 2;  // \u{10FFFF}, \uFFFF, \xFF
  char32_t value = 0;
  std::size_t digits = 0;
  while (digits < digits_max && !done()) {
    const char32_t c = pattern_[at_];
    const bool is_digit = c >= '0' && c <= '9';
    const char32_t lower = c | 0x20;  // ASCII's bit of lower case
    if (!is_digit && !(lower >= 'a' && lower <= 'f')) {
      break;
    }
    value = value * 16 + (is_digit ? c - '0' : lower - 'a' + 10);
    ++digits;
    ++at_;
  }
  if (digits == 0 || (is_braced ? !take('}') : digits != digits_max) || value > 0x10FFFF) {
    return unsupported("an escape whose digits cannot be read");
  }
  return value;
}

absl::StatusOr<CodePointSet> Parser::escape(bool in_class) {
  if (done()) {
    return unsupported("a `\\` at the end");
  }
  const char32_t c = pattern_[at_++];
  if (std::optional<CodePointSet> set = class_of_letter(c)) {
    return *std::move(set);
  }
  const auto one = [](char32_t character) { return CodePointSet({{character, character}}); };
  if (const std::optional<char32_t> control = control_of_letter(c)) {
    return one(*control);
  }
  if (c == 'x' || c == 'u') {
    COPPICE_ASSIGN_OR_RETURN(const char32_t value, hexadecimal(c));
    return one(value);
  }
  if (c == 'b' && in_class) {
    return one('\b');
  }
  if (is_letter_or_digit(c)) {
    return unsupported(std::string("the escape \\") + static_cast<char>(c));
  }
  return one(c);
}

// The inside of a `[`, which was taken.
absl::StatusOr<CodePointSet> Parser::character_class() {
  const bool is_negated = take('^');
  CodePointSet set;
  while (!done() && !next_is(']')) {
    const auto unit = [this]() -> absl::StatusOr<std::pair<CodePointSet, std::optional<char32_t>>> {
      const std::size_t begin = at_;
      if (take('\\')) {
        COPPICE_ASSIGN_OR_RETURN(CodePointSet escaped, escape(true));
        const bool is_class = class_of_letter(pattern_[begin + 1]).has_value();
        return std::pair(escaped, is_class ? std::nullopt : escaped.only());
      }
      const char32_t c = pattern_[at_++];
      return std::pair(CodePointSet({{c, c}}), std::optional<char32_t>(c));
    };
    COPPICE_ASSIGN_OR_RETURN(const auto low, unit());
    if (!next_is('-') || at_ + 1 >= pattern_.size() || pattern_[at_ + 1] == ']') {
      set = set.joined(low.first);
      continue;
    }
    ++at_;
    COPPICE_ASSIGN_OR_RETURN(const auto high, unit());
    if (!low.second || !high.second || *low.second > *high.second) {
      return unsupported("a range of a class that cannot be read");
    }
    set = set.joined(CodePointSet({{*low.second, *high.second}}));
  }
  if (!take(']')) {
    return unsupported("a `[` that is not closed");
  }
  return is_negated ? set.complement() : set;
}

struct NameNode {
  std::map<char32_t, NameNode> children;
  bool is_name = false;
};

// The names' tree from `node` on, turned round: every continuation that does not end at a name.
std::string other_continuations(const NameNode& node) {
  CodePointSet begun;
  std::string text;
  for (const auto& [character, child] : node.children) {
    const CodePointSet one({{character, character}});
    begun = begun.joined(one);
    text += one.expression() + other_continuations(child) + "|";
  }
  const CodePointSet any = CodePointSet().complement().without(escaped_in_json());
  text += any.without(begun).expression() + any.expression() + "*";
  return "(" + text + (node.is_name ? ")" : std::string(")") + kOptional);
}

}  // namespace

absl::StatusOr<std::string> enforceable_expression(std::string_view pattern, ExpressionUse use, ExpressionMatch match,
                                                   std::int64_t* size) {
  std::u32string characters;
  for (std::size_t at = 0; at < pattern.size();) {
    const Utf8Step step = utf8_step(pattern, at);
    if (!step.valid) {
      return unsupported("text that is not UTF-8");
    }
    characters += step.code_point;
    at += step.length;
  }
  COPPICE_ASSIGN_OR_RETURN(Part whole, Parser(std::move(characters), use, match).parse());
  if (size != nullptr) {
    *size = whole.size;
  }
  return std::move(whole.text);
}

std::string expression_of_other_names(std::span<const std::string> names) {
  NameNode root;
  for (const std::string& name : names) {
    NameNode* node = &root;
    bool is_plain = true;
    for (std::size_t at = 0; at < name.size() && is_plain;) {
      const Utf8Step step = utf8_step(name, at);
      // What JSON has to escape cannot come in these names at all.
      is_plain = step.valid && !CodePointSet({{step.code_point, step.code_point}}).without(escaped_in_json()).empty();
      node = is_plain ? &node->children[step.code_point] : node;
      at += step.length;
    }
    node->is_name = node->is_name || is_plain;
  }
  return other_continuations(root);
}

}  // namespace coppice::text
