// Methods of str that look at or change characters: case, classes, stripping, padding.
#include <algorithm>
#include <array>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/methods.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

std::string_view strip(std::string_view text, const std::string_view* characters, bool left, bool right) {
  if (characters == nullptr) {
    text = left ? strip_left(text) : text;
    return right ? strip_right(text) : text;
  }
  std::vector<std::uint32_t> set = decode_utf8(*characters);
  std::sort(set.begin(), set.end());
  const auto in_set = [&](std::size_t position) {
    return std::binary_search(set.begin(), set.end(), next_code_point(text, &position));
  };
  while (left && !text.empty() && in_set(0)) {
    text.remove_prefix(sequence_length(text.front()));
  }
  while (right && !text.empty()) {
    const std::size_t start = previous_start(text, text.size());
    if (!in_set(start)) {
      break;
    }
    text = text.substr(0, start);
  }
  return text;
}

namespace {

// A method without arguments that maps the text.
template <std::string (*map)(std::string_view)>
Result mapped(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("method", arguments, {}).status());
  return heap.string(map(self.text()), self.string()->markup);
}

template <bool left, bool right>
Result stripped(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("strip", arguments, {"/chars"}));
  if (bound.is_none(0)) {
    return heap.string(std::string(strip(self.text(), nullptr, left, right)), self.string()->markup);
  }
  COPPICE_ASSIGN_OR_RETURN(std::string_view characters, bound.text(0));
  return heap.string(std::string(strip(self.text(), &characters, left, right)), self.string()->markup);
}

// True when the text is not empty and every character passes.
template <bool (*test)(std::uint32_t)>
Result all_are(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("method", arguments, {}).status());
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size()));
  const std::vector<std::uint32_t> codes = decode_utf8(self.text());
  return Value(!codes.empty() && std::all_of(codes.begin(), codes.end(), test));
}

bool is_alphanumeric(std::uint32_t code) {
  return is_alpha(code) || is_decimal(code) || is_digit(code) || is_numeric(code);
}
bool is_word(std::uint32_t code) {
  return is_alphanumeric(code) || code == '_';
}

// islower() and isupper(): some cased character, and none of the other case.
template <bool upper>
Result has_case(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("method", arguments, {}).status());
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size()));
  return Value(is_cased_text(self.text(), upper));
}

Result is_title_text(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("istitle", arguments, {}).status());
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(self.text().size()));
  bool in_word = false;
  bool any = false;
  for (const std::uint32_t code : decode_utf8(self.text())) {
    const bool starts = is_upper(code) || is_title(code);
    if ((starts && in_word) || (is_lower(code) && !in_word)) {
      return Value(false);
    }
    in_word = starts || is_lower(code);
    any |= in_word;
  }
  return Value(any);
}

Result is_identifier(Heap&, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("isidentifier", arguments, {}).status());
  const std::vector<std::uint32_t> codes = decode_utf8(self.text());
  return Value(!codes.empty() && (is_alpha(codes[0]) || codes[0] == '_') &&
               std::all_of(codes.begin(), codes.end(), is_word));
}

Result is_ascii_text(Heap&, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("isascii", arguments, {}).status());
  return Value(self.string()->ascii());
}

Result is_printable_text(Heap& heap, const Value& self, const Arguments& arguments) {
  return self.text().empty() ? Result(Value(true)) : all_are<is_printable>(heap, self, arguments);
}

absl::StatusOr<FormatSpec> width_spec(Heap& heap, const BoundArguments& bound) {
  FormatSpec spec;
  COPPICE_ASSIGN_OR_RETURN(spec.width, bound.integer(0, 0));
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(static_cast<std::size_t>(std::max<std::int64_t>(spec.width, 0))));
  if (bound.has(1)) {
    COPPICE_ASSIGN_OR_RETURN(std::string_view fill, bound.text(1));
    spec.fill = fill;
    if (code_point_count(fill) != 1) {
      return template_error("the fill must be one character");
    }
  }
  return spec;
}

template <char align>
Result justified(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("justify", arguments, {"/width", "/fill"}, 1));
  COPPICE_ASSIGN_OR_RETURN(FormatSpec spec, width_spec(heap, bound));
  spec.align = align;
  const auto length = static_cast<std::int64_t>(self.string()->length);
  if (align == '^' && spec.width > length) {  // str.center() puts an odd blank by the parity of the width
    const std::int64_t missing = spec.width - length;
    const std::int64_t left = missing / 2 + (missing & spec.width & 1);
    spec.align = '>';
    FormatSpec right = spec;
    right.align = '<';
    spec.width = length + left;
    return heap.string(pad(right, pad(spec, self.text(), '>'), '<'), self.string()->markup);
  }
  return heap.string(pad(spec, self.text(), '<'), self.string()->markup);
}

Result zero_filled(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("zfill", arguments, {"/width"}, 1));
  COPPICE_ASSIGN_OR_RETURN(FormatSpec spec, width_spec(heap, bound));
  spec.fill = "0";
  const bool sign = self.text().starts_with('-') || self.text().starts_with('+');
  spec.width -= sign ? 1 : 0;
  return heap.string(self.text().substr(0, sign ? 1 : 0) + pad(spec, self.text().substr(sign ? 1 : 0), '>'));
}

Result expanded_tabs(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("expandtabs", arguments, {"tabsize"}));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t size, bound.integer(0, 8));
  if (size > FormatSpec::kSizeMax) {
    return absl::ResourceExhaustedError("a tab size is too large");
  }
  std::string result;
  std::int64_t column = 0;
  const std::string& text = self.text();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\t') {
      const std::int64_t blanks = size > 0 ? size - column % size : 0;
      COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(static_cast<std::size_t>(blanks)));
      result.append(static_cast<std::size_t>(blanks), ' ');
      column += blanks;
      continue;
    }
    result += text[i];
    const bool continuation = (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U;
    column = text[i] == '\n' || text[i] == '\r' ? 0 : column + (continuation ? 0 : 1);
  }
  return heap.string(std::move(result));
}

constexpr auto kMethods = std::to_array<MethodName>({
    {"upper", mapped<to_upper>},        {"lower", mapped<to_lower>},
    {"title", mapped<to_title>},        {"capitalize", mapped<to_capitalized>},
    {"swapcase", mapped<swap_case>},    {"strip", stripped<true, true>},
    {"lstrip", stripped<true, false>},  {"rstrip", stripped<false, true>},
    {"isalpha", all_are<is_alpha>},     {"isalnum", all_are<is_alphanumeric>},
    {"isdigit", all_are<is_digit>},     {"isdecimal", all_are<is_decimal>},
    {"isnumeric", all_are<is_numeric>}, {"isspace", all_are<is_space>},
    {"isprintable", is_printable_text}, {"isascii", is_ascii_text},
    {"islower", has_case<false>},       {"isupper", has_case<true>},
    {"istitle", is_title_text},         {"isidentifier", is_identifier},
    {"ljust", justified<'<'>},          {"rjust", justified<'>'>},
    {"center", justified<'^'>},         {"zfill", zero_filled},
    {"expandtabs", expanded_tabs},      {"format", format_method},
    {"format_map", format_map_method},
});

}  // namespace

Method find_text_method(std::string_view name) {
  for (const MethodName& entry : kMethods) {
    if (entry.name == name) {
      return entry.method;
    }
  }
  return nullptr;
}

}  // namespace coppice::text
