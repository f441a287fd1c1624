// str() and repr().
#include "text/jinja/text_form.h"

#include <cmath>

#include <fmt/format.h>

#include "absl/strings/str_replace.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {

std::string real_to_text(double value) {
  std::string text = fmt::format("{}", std::isnan(value) ? std::fabs(value) : value);
  // fmt and Python agree on digits and exponents; Python marks a whole number as a float.
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string escape_html(std::string_view text) {
  return absl::StrReplaceAll({text.data(), text.size()},
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"'", "&#39;"}, {"\"", "&#34;"}});
}

namespace {

std::string quote_text(std::string_view text) {
  const char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string result(1, quote);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const std::uint32_t code = next_code_point(text, &i);
    if (code == static_cast<std::uint32_t>(quote) || code == '\\') {
      result += '\\';
      result += static_cast<char>(code);
    } else if (code == '\n' || code == '\r' || code == '\t') {
      result += code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t";
    } else if (is_printable(code)) {
      result += text.substr(start, i - start);
    } else {
      result += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    }
  }
  return result + quote;
}

class ReprWriter {
 public:
  explicit ReprWriter(Heap& heap) : heap_(heap) {}

  void write(const Value& value, int depth) {
    if (!heap_.budget().check_value_depth(depth)) {
      return;
    }
    const std::size_t before = text_.size();
    if (value.is_dict()) {
      write_dict(as_dict(value), depth);
    } else if (value.is_sequence() && !value.is(ObjectKind::kRange)) {
      write_items(value, depth);
    } else {
      text_ += scalar(value);
    }
    // A container has charged its items.
    static_cast<void>(heap_.budget().charge_text(value.is_object() ? 0 : text_.size() - before));
  }
  std::string take() { return std::move(text_); }

 private:
  std::string scalar(const Value& value) {
    if (value.is_string()) {
      return value.string()->markup ? fmt::format("Markup({})", quote_text(value.text())) : quote_text(value.text());
    }
    if (value.is_real()) {
      return real_to_text(value.as_real());
    }
    if (value.is_unsigned()) {
      return fmt::format("{}", value.unsigned_integer());
    }
    if (value.is_number()) {
      return value.is_integer() ? fmt::format("{}", value.integer()) : value.integer() != 0 ? "True" : "False";
    }
    if (value.is_object()) {
      heap_.fail(fmt::format("printing a '{}' is not supported in chat templates", type_name(value)));
    }
    return value.is_none() ? "None" : "Undefined";
  }

  void write_items(const Value& value, int depth) {
    const bool list = value.is(ObjectKind::kList);
    const bool tuple = value.is(ObjectKind::kTuple);
    text_ += list ? "[" : tuple ? "(" : fmt::format("{}([", type_name(value));
    const std::size_t start = text_.size();
    for (const Value& item : items_of(value)) {
      text_ += text_.size() > start ? ", " : "";
      write(item, depth + 1);
    }
    text_ += list ? "]" : !tuple ? "])" : items_of(value).size() == 1 ? ",)" : ")";
  }

  void write_dict(const Dictionary& dictionary, int depth) {
    text_ += "{";
    const std::size_t start = text_.size();
    for (const auto& [key, value] : dictionary.entries) {
      text_ += text_.size() > start ? ", " : "";
      write(key, depth + 1);
      text_ += ": ";
      write(value, depth + 1);
    }
    text_ += "}";
  }

  Heap& heap_;
  std::string text_;
};

}  // namespace

std::string to_repr(Heap& heap, const Value& value) {
  ReprWriter writer(heap);
  writer.write(value, 0);
  return writer.take();
}

std::string to_text(Heap& heap, const Value& value) {
  if (value.is_string()) {
    return heap.budget().charge_text(value.text().size()) ? value.text() : "";
  }
  return value.is_undefined() ? "" : to_repr(heap, value);
}

Value to_string_value(Heap& heap, const Value& value) {
  return value.is_string() ? value : heap.string(to_text(heap, value));
}

}  // namespace coppice::jinja
