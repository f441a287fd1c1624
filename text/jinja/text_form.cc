// str() and repr(), and JSON byte for byte as json.dumps() writes it: one walk over a value, two notations.
#include "text/jinja/text_form.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// A float as Python prints it: the shortest digits that read back equal.
std::string real_to_text(double value) {
  std::string text = fmt::format("{}", std::isnan(value) ? std::fabs(value) : value);
  // fmt and Python agree on digits and exponents; Python marks a whole number as a float.
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

// A string literal of Python.
void append_quoted(TextBuilder& out, std::string_view text) {
  const char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  out.append(std::string_view(&quote, 1));
  std::size_t copied = 0;  // what lies before is written
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const char32_t code = next_code_point(text, &i);
    const bool escaped = code == static_cast<char32_t>(quote) || code == '\\';
    if (!escaped && is_printable(code)) {
      continue;
    }
    out.append(text.substr(copied, start - copied));
    copied = i;
    if (escaped) {
      out.append("\\").append(text.substr(start, 1));
    } else if (code == '\n' || code == '\r' || code == '\t') {
      out.append(code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t");
    } else {
      const auto number = static_cast<std::uint32_t>(code);
      out.append(code < 0x100     ? fmt::format("\\x{:02x}", number)
                 : code < 0x10000 ? fmt::format("\\u{:04x}", number)
                                  : fmt::format("\\U{:08x}", number));
    }
  }
  out.append(text.substr(copied)).append(std::string_view(&quote, 1));
}

// A string of JSON, by pieces: nlohmann's escapes are Python's.
void append_json_string(TextBuilder& out, std::string_view text, bool ensure_ascii) {
  constexpr std::size_t kPieceCharacters = 1024;  // escaped outside of the budget at a time
  out.append("\"");
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, byte_offset(text, kPieceCharacters));
    const std::string quoted = nlohmann::json(piece).dump(-1, ' ', ensure_ascii);
    out.append(std::string_view(quoted).substr(1, quoted.size() - 2));
    text.remove_prefix(piece.size());
  }
  out.append("\"");
}

// Writes a value as repr() does, or as JSON when there is a style.
class ValueWriter {
 public:
  ValueWriter(Heap& heap, TextBuilder& out, const JsonStyle* json) : heap_(heap), out_(out), json_(json) {}

  void write(const Value& value, int depth) {
    if (!heap_.budget().check_value_depth(depth)) {
      return;
    }
    if (value.is_dict()) {
      write_dict(as_dict(value), depth);
    } else if (value.is(ObjectKind::kList) || value.is(ObjectKind::kTuple)) {
      write_sequence(value, depth);
    } else if (value.is_string()) {
      write_string(value.string());
    } else {
      out_.append(scalar(value));
    }
  }

 private:
  void write_string(const StringRef& string) {
    if (!heap_.budget().charge_walk(string->text.size())) {
      return;
    }
    if (json_ != nullptr) {
      append_json_string(out_, string->text, json_->ensure_ascii);
      return;
    }
    out_.append(string->markup ? "Markup(" : "");
    append_quoted(out_, string->text);
    out_.append(string->markup ? ")" : "");
  }

  std::string scalar(const Value& value) {
    if (value.is_none() || value.is_boolean()) {
      const bool is_true = value.is_boolean() && value.integer() != 0;
      return json_ != nullptr ? (value.is_none() ? "null"
                                 : is_true       ? "true"
                                                 : "false")
                              : (value.is_none() ? "None"
                                 : is_true       ? "True"
                                                 : "False");
    }
    if (value.is_real() && json_ != nullptr && !std::isfinite(value.as_real())) {
      return std::isnan(value.as_real()) ? "NaN" : value.as_real() < 0 ? "-Infinity" : "Infinity";
    }
    if (value.is_number()) {
      return value.is_real()    ? real_to_text(value.as_real())
             : value.is_large() ? value.digits()
                                : fmt::format("{}", value.integer());
    }
    if (json_ != nullptr) {
      heap_.fail(fmt::format("a value of type {} cannot be written as JSON", type_name(value)));
    } else if (value.is_object()) {
      heap_.fail(fmt::format("printing a '{}' is not supported in chat templates", type_name(value)));
    }
    return "Undefined";
  }

  // A new line indented for `depth`, when the notation has lines.
  void write_line(int depth) {
    if (json_ != nullptr && json_->indent) {
      out_.append("\n");
      for (int i = 0; i < depth; ++i) {
        out_.append(*json_->indent);
      }
    }
  }

  template <typename WriteItem>
  void write_items(std::string_view open, std::string_view close, std::size_t count, int depth, WriteItem write_item) {
    out_.append(open);
    for (std::size_t i = 0; i < count && heap_.budget().charge(1); ++i) {
      out_.append(i == 0 ? "" : json_ != nullptr ? std::string_view(json_->item_separator) : ", ");
      write_line(depth + 1);
      write_item(i);
    }
    if (count > 0) {
      write_line(depth);
    }
    out_.append(close);
  }

  void write_sequence(const Value& value, int depth) {
    const std::vector<Value>& items = items_of(value);
    const bool round = json_ == nullptr && value.is(ObjectKind::kTuple);
    write_items(round ? "(" : "[",
                !round              ? "]"
                : items.size() == 1 ? ",)"
                                    : ")",
                items.size(), depth, [&](std::size_t i) { write(items[i], depth + 1); });
  }

  void write_dict(const Dictionary& dictionary, int depth) {
    write_items("{", "}", dictionary.entries.size(), depth, [&](std::size_t i) {
      const auto& [key, value] = dictionary.entries[i];
      if (json_ != nullptr && !key.is_string()) {
        append_json_string(out_, scalar(key), false);
      } else {
        write(key, depth + 1);
      }
      out_.append(json_ != nullptr ? std::string_view(json_->key_separator) : ": ");
      write(value, depth + 1);
    });
  }

  Heap& heap_;
  TextBuilder& out_;
  const JsonStyle* const json_;
};

Value written(Heap& heap, const Value& value, const JsonStyle* json) {
  TextBuilder text(heap);
  ValueWriter(heap, text, json).write(value, 0);
  return text.finish();
}

// One conversion of the % operator, a character after "%".
void append_conversion(Heap& heap, TextBuilder& out, std::string_view conversion, const Value& value) {
  if (conversion == "s") {
    out.append(to_text(heap, value)->text);
  } else if (conversion == "d" && (value.is_integral() || value.is_large())) {
    out.append(to_text(heap, value.is_boolean() ? Value(value.integer()) : value)->text);
  } else if (conversion == "d" && !value.is_real()) {
    heap.fail_type("the conversion %d needs an int", value);
  } else {
    heap.fail(fmt::format("the conversion '%{}' is not supported in chat templates", conversion));
  }
}

}  // namespace

StringRef to_text(Heap& heap, const Value& value) {
  static const StringRef empty = make_program_string("");
  const Value text = value.is_string() || value.is_undefined() ? value : written(heap, value, nullptr);
  return text.is_string() ? text.string() : empty;
}

Value to_json(Heap& heap, const Value& value, const JsonStyle& style) {
  return written(heap, value, &style);
}

void append_escaped(TextBuilder& out, std::string_view text) {
  static constexpr std::string_view kSpecial = "&<>'\"";
  for (std::size_t at = text.find_first_of(kSpecial); at != std::string_view::npos; at = text.find_first_of(kSpecial)) {
    static constexpr std::array<std::string_view, 5> kEscapes = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    out.append(text.substr(0, at)).append(kEscapes[kSpecial.find(text[at])]);
    text.remove_prefix(at + 1);
  }
  out.append(text);
}

Value format_percent(Heap& heap, const StringRef& format, const Value& values) {
  const bool tuple = values.is(ObjectKind::kTuple);
  const std::size_t count = tuple ? items_of(values).size() : 1;
  std::size_t used = 0;
  TextBuilder result(heap);
  std::string_view rest = format->text;
  for (std::size_t at = rest.find('%'); at != std::string_view::npos; at = rest.find('%')) {
    result.append(rest.substr(0, at));
    rest.remove_prefix(at + 1);
    const std::string_view conversion = rest.substr(0, rest.empty() ? 0 : sequence_length(rest.front()));
    rest.remove_prefix(conversion.size());
    if (conversion == "%") {
      result.append("%");
    } else if (used == count || heap.budget().failed()) {
      return heap.fail("not enough arguments for the format of %");
    } else {
      append_conversion(heap, result, conversion, tuple ? items_of(values)[used] : values);
      ++used;
    }
  }
  const bool may_be_unused = !tuple && (values.is_dict() || values.is_indexable() || values.is_undefined());
  if (used < count && !may_be_unused) {
    return heap.fail("not all arguments of % are used by the format");
  }
  return result.append(rest).finish();
}

}  // namespace coppice::jinja
