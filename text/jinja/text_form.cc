// str() and repr().
#include "text/jinja/text_form.h"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

std::string real_to_text(double value) {
  if (!std::isfinite(value)) {
    return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  }
  std::array<char, 32> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const bool negative = text.starts_with('-');
  text.remove_prefix(negative ? 1 : 0);
  const std::size_t mark = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(mark + 1)).c_str());
  std::string digits(1, text[0]);
  if (mark > 1) {
    digits += text.substr(2, mark - 2);
  }
  std::string result = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    result += digits.substr(0, 1);
    if (count > 1) {
      result += "." + digits.substr(1);
    }
    return result + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) {
    return result + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  if (count <= exponent + 1) {
    return result + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  }
  const auto whole = static_cast<std::size_t>(exponent + 1);
  return result + digits.substr(0, whole) + "." + digits.substr(whole);
}

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
    } else if (code < 0x100) {
      result += fmt::format("\\x{:02x}", code);
    } else {
      result += code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
    }
  }
  return result + quote;
}

std::string escape_html(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '"':
        result += "&#34;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

namespace {

class ReprWriter {
 public:
  explicit ReprWriter(Heap& heap) : heap_(heap) {}

  absl::Status write(const Value& value, int depth) {
    if (depth > heap_.limits().value_depth_max) {
      return absl::ResourceExhaustedError("a value is nested too deep to print");
    }
    const std::size_t before = text_.size();
    COPPICE_RETURN_IF_ERROR(value.is_object() ? write_object(*value.object(), depth) : write_scalar(value));
    return value.is_object() ? heap_.budget().charge(1) : heap_.budget().charge_text(text_.size() - before);
  }
  std::string take() { return std::move(text_); }

 private:
  absl::Status write_scalar(const Value& value) {
    if (value.is_none()) {
      text_ += "None";
    } else if (value.is_undefined()) {
      text_ += "Undefined";
    } else if (value.is_boolean()) {
      text_ += value.boolean() ? "True" : "False";
    } else if (value.is_integer()) {
      text_ += std::to_string(value.integer());
    } else if (value.is_unsigned()) {
      text_ += std::to_string(value.unsigned_integer());
    } else if (value.is_real()) {
      text_ += real_to_text(value.real());
    } else {
      const std::string quoted = quote_text(value.text());
      text_ += value.string()->markup ? fmt::format("Markup({})", quoted) : quoted;
    }
    return absl::OkStatus();
  }

  absl::Status write_object(Object& object, int depth) {
    switch (object.kind) {
      case ObjectKind::kList:
        return write_items(static_cast<Sequence&>(object).items, "[", "]", depth);
      case ObjectKind::kTuple: {
        const auto& items = static_cast<Sequence&>(object).items;
        return write_items(items, "(", items.size() == 1 ? ",)" : ")", depth);
      }
      case ObjectKind::kDictKeys:
        return write_items(static_cast<Sequence&>(object).items, "dict_keys([", "])", depth);
      case ObjectKind::kDictValues:
        return write_items(static_cast<Sequence&>(object).items, "dict_values([", "])", depth);
      case ObjectKind::kDictItems:
        return write_items(static_cast<Sequence&>(object).items, "dict_items([", "])", depth);
      case ObjectKind::kRange:
        text_ += fmt::format("range({})", fmt::join(static_cast<Sequence&>(object).range, ", "));
        return absl::OkStatus();
      case ObjectKind::kDict:
        return write_dict(static_cast<Dictionary&>(object), depth);
      case ObjectKind::kNamespace:
        text_ += "<Namespace ";
        COPPICE_RETURN_IF_ERROR(write_dict(*static_cast<Namespace&>(object).attributes, depth + 1));
        text_ += ">";
        return absl::OkStatus();
      case ObjectKind::kIterator:
        text_ += fmt::format("<generator object {}>", static_cast<Iterator&>(object).name);
        return absl::OkStatus();
      case ObjectKind::kCallable: {
        const auto& callable = static_cast<Callable&>(object);
        text_ += callable.macro ? fmt::format("<Macro {}>", quote_text(callable.name))
                                : fmt::format("<function {}>", callable.name);
        return absl::OkStatus();
      }
      case ObjectKind::kLoop:
        text_ += "<LoopContext>";
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  absl::Status write_items(const std::vector<Value>& items, std::string_view open, std::string_view close, int depth) {
    text_ += open;
    for (std::size_t i = 0; i < items.size(); ++i) {
      text_ += i > 0 ? ", " : "";
      COPPICE_RETURN_IF_ERROR(write(items[i], depth + 1));
    }
    text_ += close;
    return absl::OkStatus();
  }

  absl::Status write_dict(const Dictionary& dictionary, int depth) {
    text_ += "{";
    for (std::size_t i = 0; i < dictionary.entries.size(); ++i) {
      text_ += i > 0 ? ", " : "";
      COPPICE_RETURN_IF_ERROR(write(dictionary.entries[i].first, depth + 1));
      text_ += ": ";
      COPPICE_RETURN_IF_ERROR(write(dictionary.entries[i].second, depth + 1));
    }
    text_ += "}";
    return absl::OkStatus();
  }

  Heap& heap_;
  std::string text_;
};

}  // namespace

absl::StatusOr<std::string> to_repr(Heap& heap, const Value& value) {
  ReprWriter writer(heap);
  COPPICE_RETURN_IF_ERROR(writer.write(value, 0));
  return writer.take();
}

absl::StatusOr<std::string> to_text(Heap& heap, const Value& value) {
  if (value.is_string()) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(value.text().size()));
    return value.text();
  }
  if (value.is_undefined()) {
    return "";
  }
  return to_repr(heap, value);
}

}  // namespace coppice::text
