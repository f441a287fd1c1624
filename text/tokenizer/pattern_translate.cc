// Translates Oniguruma (Ruby syntax) to PCRE2 by allow-list: each construct is copied if it means the same in both,
// rewritten to one that does, or refused. The differences that matter:
//   \s        PCRE2's includes U+180E                          written out
//   \p{..}    PCRE2 10.42 is two Unicode versions behind        additions written out
//   {,n}      a literal in PCRE2                               {0,n}
//   X{n,m}+   possessive in PCRE2, a repeat of the repeat here (?:X{n,m})+
//   \h \w \b \v, [a&&b], [[..]], (?m), (?i) in the middle      another meaning: refused
#include <cstdint>
#include <optional>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/unicode_additions.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr std::int32_t kRepeatMax = 1000;   // RE2's limit of a counted repetition
constexpr std::size_t kGroupDepthMax = 32;  // nested groups; bounds the recursion
constexpr std::string_view kSpaceSet =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kNotSpaceSet =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";

bool is_ascii_letter_or_digit(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string escaped(char32_t c) {
  std::string out;
  if (is_ascii_letter_or_digit(c) || c >= 0x80) {
    append_utf8(out, c);
    return out;
  }
  return c > 0x20 && c < 0x7F ? std::string{'\\', static_cast<char>(c)}
                              : fmt::format("\\x{{{:X}}}", static_cast<std::uint32_t>(c));
}

// The meaning of an escape: one character, or a set written as the inside of a class.
struct Escape {
  std::optional<char32_t> character;
  std::string set;
  bool negated = false;    // the set's complement; only outside a class
  bool is_anchor = false;  // `set` is written unchanged
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> run() {
    if (!is_valid_utf8(pattern_)) {
      return refuse("bytes that are not UTF-8");
    }
    if (take("(?i)")) {
      out_ = "(?i)";
      caseless_ = true;
    }
    while (at_ < pattern_.size()) {
      COPPICE_RETURN_IF_ERROR(translate_one());
    }
    if (!groups_.empty()) {
      return refuse("a group without end");
    }
    return out_;
  }

 private:
  struct Group {
    std::size_t begin;  // in out_
    bool caseless;      // outside of the group
    bool is_lookaround;
  };

  absl::Status refuse(std::string_view construct) const {
    return absl::InvalidArgumentError(
        fmt::format("pattern \"{}\": {} at offset {} is not supported", pattern_, construct, at_));
  }

  bool take(std::string_view token) {
    if (!pattern_.substr(at_).starts_with(token)) {
      return false;
    }
    at_ += token.size();
    return true;
  }

  char32_t take_character() {
    const Utf8Step step = utf8_step(pattern_, at_);
    at_ += step.length;
    return step.code_point;
  }

  bool at_end() const { return at_ >= pattern_.size(); }

  // One atom, anchor, group bracket or "|", with the quantifier that follows it.
  absl::Status translate_one() {
    const std::size_t atom = out_.size();
    if (take("|") || take("^") || take("$")) {
      out_.push_back(pattern_[at_ - 1]);
      previous_letter_ = 0;
      return absl::OkStatus();
    }
    if (take("(")) {
      previous_letter_ = 0;
      return open_group();
    }
    if (take(")")) {
      return close_group();
    }
    if (take("[")) {
      previous_letter_ = 0;
      COPPICE_RETURN_IF_ERROR(character_class());
      return quantifier(atom);
    }
    if (take(".")) {
      previous_letter_ = 0;
      out_.push_back('.');
      return quantifier(atom);
    }
    if (take("\\")) {
      COPPICE_ASSIGN_OR_RETURN(const Escape escape, escape_sequence(false));
      if (escape.is_anchor) {
        out_ += escape.set;
        return absl::OkStatus();
      }
      COPPICE_RETURN_IF_ERROR(append_atom(escape));
      return quantifier(atom);
    }
    const char32_t c = take_character();
    if (c == '*' || c == '+' || c == '?' || c == '{') {
      return refuse("a repeat of nothing");
    }
    COPPICE_RETURN_IF_ERROR(append_atom(Escape{c, "", false, false}));
    return quantifier(atom);
  }

  absl::Status append_atom(const Escape& escape) {
    if (!escape.character.has_value()) {
      previous_letter_ = 0;
      out_ += fmt::format("[{}{}]", escape.negated ? "^" : "", escape.set);
      return absl::OkStatus();
    }
    const char32_t letter = *escape.character | 0x20;
    if (caseless_ && folds_together(previous_letter_, letter)) {
      return refuse("letters that fold into one character, without regard to case,");
    }
    previous_letter_ = letter;
    out_ += escaped(*escape.character);
    return absl::OkStatus();
  }

  // Oniguruma lets "ss" match "ß" and "fi" the ligature when case is ignored; PCRE2 does not.
  static bool folds_together(char32_t first, char32_t second) {
    return (first == 's' && (second == 's' || second == 't')) ||
           (first == 'f' && (second == 'f' || second == 'i' || second == 'l'));
  }

  absl::Status open_group() {
    if (groups_.size() >= kGroupDepthMax) {
      return refuse("deeper nesting");
    }
    Group group{out_.size(), caseless_, false};
    for (const std::string_view head : {"?:", "?>"}) {
      if (take(head)) {
        out_ += fmt::format("({}", head);
        groups_.push_back(group);
        return absl::OkStatus();
      }
    }
    for (const std::string_view head : {"?=", "?!", "?<=", "?<!"}) {
      if (take(head)) {
        out_ += fmt::format("({}", head);
        group.is_lookaround = true;
        groups_.push_back(group);
        return absl::OkStatus();
      }
    }
    if (take("?i:")) {
      out_ += "(?i:";
      caseless_ = true;
    } else if (pattern_.substr(at_).starts_with("?")) {
      return refuse("this kind of group");
    } else {
      out_ += "(?:";
    }
    groups_.push_back(group);
    return absl::OkStatus();
  }

  absl::Status close_group() {
    if (groups_.empty()) {
      return refuse("\")\" without \"(\"");
    }
    const Group group = groups_.back();
    groups_.pop_back();
    caseless_ = group.caseless;
    previous_letter_ = 0;
    out_.push_back(')');
    if (group.is_lookaround) {
      const std::string_view rest = pattern_.substr(at_);
      if (!rest.empty() && std::string_view("*+?{").find(rest[0]) != std::string_view::npos) {
        return refuse("a repeated look-around");
      }
      return absl::OkStatus();
    }
    return quantifier(group.begin);
  }

  // The quantifier at the cursor, if there is one, of the atom that begins at out_[atom].
  absl::Status quantifier(std::size_t atom) {
    bool is_interval = false;
    if (take("*") || take("+") || take("?")) {
      out_.push_back(pattern_[at_ - 1]);
    } else if (take("{")) {
      COPPICE_RETURN_IF_ERROR(interval());
      is_interval = true;
    } else {
      return absl::OkStatus();
    }
    previous_letter_ = 0;
    if (take("?")) {
      if (is_interval && interval_is_exact_) {
        return refuse("\"{n}?\"");  // (?:X{n})? in Ruby's syntax, a lazy X{n} in PCRE2's
      }
      out_.push_back('?');
    } else if (take("+")) {
      if (is_interval) {
        out_.insert(atom, "(?:");
        out_ += ")+";
      } else {
        out_.push_back('+');
      }
    }
    const std::string_view rest = pattern_.substr(at_);
    if (!rest.empty() && std::string_view("*+?{").find(rest[0]) != std::string_view::npos) {
      return refuse("a repeat of a repeat");
    }
    return absl::OkStatus();
  }

  // "n}", "n,}", "n,m}" or ",m}", after the opening brace.
  absl::Status interval() {
    const std::optional<std::int32_t> least = number();
    const bool comma = take(",");
    const std::optional<std::int32_t> most = comma ? number() : std::nullopt;
    if (!take("}") || (!least.has_value() && !most.has_value())) {
      return refuse("this use of \"{\"");
    }
    if (least.value_or(0) > kRepeatMax || most.value_or(0) > kRepeatMax ||
        (most.has_value() && *most < least.value_or(0))) {
      return refuse("this repeat count");
    }
    out_ += fmt::format("{{{}", least.value_or(0));
    if (comma) {
      out_.push_back(',');
      if (most.has_value()) {
        out_ += fmt::format("{}", *most);
      }
    }
    out_.push_back('}');
    interval_is_exact_ = !comma;
    return absl::OkStatus();
  }

  std::optional<std::int32_t> number() {
    std::optional<std::int32_t> value;
    while (!at_end() && pattern_[at_] >= '0' && pattern_[at_] <= '9' && value.value_or(0) <= kRepeatMax) {
      value = value.value_or(0) * 10 + (pattern_[at_] - '0');
      ++at_;
    }
    return value;
  }

  absl::Status character_class() {
    out_.push_back('[');
    if (take("^")) {
      out_.push_back('^');
    }
    bool first = true;
    while (first || at_end() || pattern_[at_] != ']') {
      if (at_end()) {
        return refuse("a character class without end");
      }
      COPPICE_RETURN_IF_ERROR(class_item());
      first = false;
    }
    ++at_;
    out_.push_back(']');
    return absl::OkStatus();
  }

  // One character, set or range.
  absl::Status class_item() {
    COPPICE_ASSIGN_OR_RETURN(const Escape item, class_atom());
    const std::string_view rest = pattern_.substr(at_);
    const bool is_range = rest.size() >= 2 && rest[0] == '-' && rest[1] != ']';
    if (!item.character.has_value()) {
      if (is_range) {
        return refuse("\"-\" behind a set");
      }
      out_ += item.set;
      return absl::OkStatus();
    }
    out_ += escaped(*item.character);
    if (!is_range) {
      return absl::OkStatus();
    }
    ++at_;
    COPPICE_ASSIGN_OR_RETURN(const Escape last, class_atom());
    if (!last.character.has_value() || *last.character < *item.character) {
      return refuse("this range");
    }
    out_ += fmt::format("-{}", escaped(*last.character));
    return absl::OkStatus();
  }

  absl::StatusOr<Escape> class_atom() {
    if (take("\\")) {
      return escape_sequence(true);
    }
    if (pattern_.substr(at_).starts_with("[")) {
      return refuse("a set inside a character class");
    }
    if (pattern_.substr(at_).starts_with("&&")) {
      return refuse("\"&&\" in a character class");
    }
    return Escape{take_character(), "", false, false};
  }

  absl::StatusOr<Escape> escape_sequence(bool in_class) {
    if (at_end()) {
      return refuse("\"\\\" at the end");
    }
    const char32_t c = take_character();
    switch (c) {
      case 't':
        return Escape{U'\t', "", false, false};
      case 'n':
        return Escape{U'\n', "", false, false};
      case 'r':
        return Escape{U'\r', "", false, false};
      case 'f':
        return Escape{U'\f', "", false, false};
      case 's':
        return Escape{std::nullopt, std::string(kSpaceSet), false, false};
      case 'S':
        return Escape{std::nullopt, std::string(kNotSpaceSet), false, false};
      case 'd':
        return property("Nd", false, in_class);
      case 'D':
        return property("Nd", true, in_class);
      case 'p':
      case 'P':
        return property_escape(c == 'P', in_class);
      case 'x':
      case 'u':
        return code_point_escape(c == 'u');
      case 'A':
      case 'z':
      case 'Z':
        if (!in_class) {
          return Escape{std::nullopt, fmt::format("\\{}", static_cast<char>(c)), false, true};
        }
        break;
      default:
        break;
    }
    if (is_ascii_letter_or_digit(c) || c < 0x20 || c >= 0x7F) {
      return refuse("the escape before this place");
    }
    return Escape{c, "", false, false};
  }

  absl::StatusOr<Escape> property_escape(bool negated, bool in_class) {
    if (!take("{")) {
      return refuse("\\p without \"{\"");
    }
    if (take("^")) {
      negated = !negated;
    }
    const std::size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) {
      return refuse("\\p without end");
    }
    const std::string_view name = pattern_.substr(at_, end - at_);
    at_ = end + 1;
    return property(name, negated, in_class);
  }

  absl::StatusOr<Escape> property(std::string_view name, bool negated, bool in_class) {
    const auto additions = unicode_additions(name);
    if (!additions.has_value()) {
      return refuse(fmt::format("the Unicode property \"{}\"", name));
    }
    if (negated && in_class) {
      return refuse("a negated property inside a character class");
    }
    Escape escape{std::nullopt, fmt::format("\\p{{{}}}", name), negated, false};
    for (const CodePointRange& range : *additions) {
      escape.set += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<std::uint32_t>(range.first),
                                static_cast<std::uint32_t>(range.last));
    }
    return escape;
  }

  // \xHH, \x{H...} or \uHHHH.
  absl::StatusOr<Escape> code_point_escape(bool is_four_digits) {
    const bool braced = !is_four_digits && take("{");
    const std::size_t digits_max = is_four_digits ? 4 : braced ? 6 : 2;
    char32_t value = 0;
    std::size_t digits = 0;
    while (!at_end() && digits < digits_max) {
      const char c = pattern_[at_];
      const char32_t digit = c >= '0' && c <= '9'   ? c - '0'
                             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                             : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                    : 16;
      if (digit == 16) {
        break;
      }
      value = value * 16 + digit;
      ++digits;
      ++at_;
    }
    const bool is_complete = braced ? take("}") && digits > 0 : digits == digits_max;
    // \x80 to \xFF without braces are bytes to Oniguruma, not characters.
    if (!is_complete || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000) ||
        (!braced && !is_four_digits && value >= 0x80)) {
      return refuse("the code point before this place");
    }
    return Escape{value, "", false, false};
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  std::string out_;
  std::vector<Group> groups_;
  bool caseless_ = false;
  char32_t previous_letter_ = 0;    // lower case, when the atom before is that letter
  bool interval_is_exact_ = false;  // the last interval was {n}
};

}  // namespace

absl::StatusOr<std::string> translate_pattern(std::string_view oniguruma) {
  return Translator(oniguruma).run();
}

}  // namespace coppice::text
