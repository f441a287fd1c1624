// Walking text, character classes, case mapping and search.
#include "text/jinja/unicode.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <utf8proc.h>

#include "text/utf8.h"

namespace coppice::jinja {
namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

utf8proc_category_t category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_cased(char32_t code) {
  const auto character = static_cast<utf8proc_int32_t>(code);
  return utf8proc_isupper(character) != 0 || utf8proc_islower(character) != 0 || category(code) == UTF8PROC_CATEGORY_LT;
}

// utf8proc maps one character to one. The few that Python maps to several, or by their neighbours, are written here.
class CaseWriter {
 public:
  explicit CaseWriter(std::string* out) : out_(out) {}

  // What has no capital of its own, like the sharp s, becomes the capitals of its case folding.
  void upper(char32_t code) {
    const std::u32string letters = folded(code);
    for (const char32_t letter : letters.empty() ? std::u32string(1, code) : letters) {
      map(letter, utf8proc_toupper);
    }
  }

  void title(char32_t code) {
    constexpr char32_t kSmallIota = 0x3B9, kIotaBelow = 0x345;  // a folded iota goes below a capital
    const utf8proc_int32_t title = utf8proc_totitle(static_cast<utf8proc_int32_t>(code));
    const bool has_title = utf8proc_category(title) == UTF8PROC_CATEGORY_LT;
    const std::u32string letters = has_title ? std::u32string() : folded(code);
    map(letters.empty() ? code : letters[0], letters.empty() ? utf8proc_totitle : utf8proc_toupper);
    for (std::size_t i = 1; i < letters.size(); ++i) {
      if (is_cased(letters[0])) {
        text::append_utf8(*out_, letters[i] == kSmallIota ? kIotaBelow : letters[i]);
      } else {
        map(letters[i], utf8proc_toupper);
      }
    }
  }

  // The character of `text` that begins at `position`.
  void lower(std::string_view text, std::size_t position) {
    constexpr char32_t kDottedCapitalI = 0x130, kCombiningDot = 0x307;  // the one capital of two small characters
    constexpr char32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2;      // the one letter with a form for word ends
    std::size_t next = position;
    const char32_t code = next_code_point(text, &next);
    if (code == kCapitalSigma && position > 0) {
      std::size_t before = previous_start(text, position);
      const bool after_letter = is_cased(next_code_point(text, &before));
      const bool before_letter = next < text.size() && is_cased(next_code_point(text, &next));
      if (after_letter && !before_letter) {
        return text::append_utf8(*out_, kFinalSigma);
      }
    }
    map(code, utf8proc_tolower);
    if (code == kDottedCapitalI) {
      text::append_utf8(*out_, kCombiningDot);
    }
  }

 private:
  void map(char32_t code, utf8proc_int32_t (*mapping)(utf8proc_int32_t)) {
    text::append_utf8(*out_, static_cast<char32_t>(mapping(static_cast<utf8proc_int32_t>(code))));
  }

  // The case folding of a small letter that has no capital of its own, like the sharp s ("ss"); else empty.
  static std::u32string folded(char32_t code) {
    std::array<utf8proc_int32_t, 8> codes{};
    int last_class = 0;
    utf8proc_ssize_t size = 0;
    if (code >= 0x80 && (category(code) == UTF8PROC_CATEGORY_LL || category(code) == UTF8PROC_CATEGORY_LT)) {
      size = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), codes.data(), codes.size(), UTF8PROC_CASEFOLD,
                                     &last_class);
    }
    return size < 2 ? std::u32string() : std::u32string(codes.begin(), codes.begin() + size);
  }

  std::string* out_;
};

}  // namespace

std::size_t code_point_count(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_continuation));
}

std::size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

char32_t next_code_point(std::string_view text, std::size_t* position) {
  const text::Utf8Step step = text::utf8_step(text, *position);
  *position += step.length;
  return step.code_point;
}

std::size_t previous_start(std::string_view text, std::size_t position) {
  do {
    --position;
  } while (position > 0 && is_continuation(text[position]));
  return position;
}

std::size_t byte_offset(std::string_view text, std::size_t count) {
  std::size_t position = 0;
  for (; count > 0 && position < text.size(); --count) {
    position += sequence_length(text[position]);
  }
  return position;
}

bool is_space(char32_t code) {
  return text::is_white_space(code) || (code >= 0x1C && code <= 0x1F);
}

bool is_printable(char32_t code) {
  const utf8proc_category_t kind = category(code);
  return code == ' ' || (kind != UTF8PROC_CATEGORY_CN && kind < UTF8PROC_CATEGORY_ZS);  // separators, then controls
}

Value to_case(Heap& heap, const StringRef& text, LetterCase letter_case) {
  constexpr std::size_t kPieceBytes = 1024;  // mapped outside of the budget at a time
  const bool is_filter = letter_case == LetterCase::kTitleFilter;
  TextBuilder result(heap);
  std::string mapped;
  CaseWriter writer(&mapped);
  bool in_word = false;
  std::string_view word = text->text;  // what a small letter's form depends on; all but a word's first letter in title
  std::size_t next = 0;
  for (std::size_t i = 0; i < text->text.size(); i = next) {
    const char32_t code = next_code_point(text->text, &next);
    const bool breaks =
        is_filter && (is_space(code) || std::u32string_view(U"-({[<").find(code) != std::u32string_view::npos);
    if (letter_case == LetterCase::kUpper || (is_filter && !in_word)) {
      writer.upper(code);
      word.remove_prefix(is_filter ? next - (text->text.size() - word.size()) : 0);
    } else if (letter_case == LetterCase::kLower || in_word) {
      writer.lower(word, i - (text->text.size() - word.size()));
    } else {
      writer.title(code);
    }
    in_word = letter_case == LetterCase::kTitle ? is_cased(code) : !breaks;
    if (mapped.size() > kPieceBytes || next == text->text.size()) {
      result.append(mapped);
      if (!heap.budget().charge_walk(mapped.size())) {
        break;
      }
      mapped.clear();
    }
  }
  return result.finish(text->markup);
}

std::string_view strip_left(std::string_view text) {
  for (std::size_t next = 0; !text.empty() && is_space(next_code_point(text, &next)); next = 0) {
    text.remove_prefix(next);
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    const std::size_t start = previous_start(text, text.size());
    std::size_t next = start;
    if (!is_space(next_code_point(text, &next))) {
      break;
    }
    text = text.substr(0, start);
  }
  return text;
}

std::size_t find_text(Budget& budget, std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size() || needle.empty()) {
    return from > text.size() ? std::string_view::npos : from;
  }
  // memmem() is linear where std::string_view::find() is not.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  const std::size_t at = found == nullptr ? std::string_view::npos
                                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  return budget.charge_walk(std::min(at, text.size()) - from) ? at : std::string_view::npos;
}

std::string_view next_line(Budget& budget, std::string_view text, std::size_t* position) {
  const std::size_t start = *position;
  std::size_t end = start;
  for (bool ended = false; !ended && *position < text.size();) {
    end = *position;
    const char32_t code = next_code_point(text, position);
    ended = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
            code == 0x2029;
    end = ended ? end : *position;
    *position += code == '\r' && *position < text.size() && text[*position] == '\n' ? 1 : 0;
  }
  static_cast<void>(budget.charge_walk(*position - start));  // a failure ends the caller's loop
  return text.substr(start, end - start);
}

}  // namespace coppice::jinja
