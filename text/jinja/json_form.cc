// tojson: json.dumps() of the standard library, byte for byte (no HTML escaping, as transformers overrides the filter).
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonStyle& style) : heap_(heap), style_(style) {}

  absl::Status write(const Value& value, int depth) {
    if (depth > heap_.limits().value_depth_max) {
      return absl::ResourceExhaustedError("a value is nested too deep for tojson");
    }
    const std::size_t before = text_.size();
    if (value.is_list() || value.is_tuple()) {
      return write_array(as_sequence(value).items, depth);
    }
    if (value.is_dict()) {
      return write_object(as_dict(value), depth);
    }
    if (value.is_string()) {
      write_string(value.text());
    } else {
      COPPICE_ASSIGN_OR_RETURN(std::string scalar, scalar_text(value));
      text_ += scalar;
    }
    return heap_.budget().charge_text(text_.size() - before);
  }
  std::string take() { return std::move(text_); }

 private:
  static absl::StatusOr<std::string> scalar_text(const Value& value) {
    if (value.is_none()) {
      return "null";
    }
    if (value.is_boolean()) {
      return value.boolean() ? "true" : "false";
    }
    if (value.is_integer()) {
      return std::to_string(value.integer());
    }
    if (value.is_unsigned()) {
      return std::to_string(value.unsigned_integer());
    }
    if (!value.is_real()) {
      return template_error(fmt::format("a value of type {} cannot be written as JSON", type_name(value)));
    }
    const double number = value.real();
    if (!std::isfinite(number)) {
      return std::isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity";
    }
    return real_to_text(number);
  }

  void write_string(std::string_view text) {
    text_ += '"';
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t start = i;
      const std::uint32_t code = next_code_point(text, &i);
      if (code == '"' || code == '\\') {
        text_ += '\\';
        text_ += static_cast<char>(code);
      } else if (code < 0x20 || (style_.ensure_ascii && code > 0x7E)) {
        write_escape(code);
      } else {
        text_ += text.substr(start, i - start);
      }
    }
    text_ += '"';
  }

  void write_escape(std::uint32_t code) {
    switch (code) {
      case '\n':
        text_ += "\\n";
        return;
      case '\r':
        text_ += "\\r";
        return;
      case '\t':
        text_ += "\\t";
        return;
      case '\b':
        text_ += "\\b";
        return;
      case '\f':
        text_ += "\\f";
        return;
      default:
        break;
    }
    if (code >= 0x10000) {
      const std::uint32_t rest = code - 0x10000;
      text_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800U + (rest >> 10U), 0xDC00U + (rest & 0x3FFU));
    } else {
      text_ += fmt::format("\\u{:04x}", code);
    }
  }

  // A new line indented for `depth`, when the style has lines. The text is charged, since the indent may be long.
  absl::Status write_line(int depth) {
    if (!style_.indent) {
      return absl::OkStatus();
    }
    COPPICE_RETURN_IF_ERROR(heap_.budget().charge_text(style_.indent->size() * static_cast<std::size_t>(depth)));
    text_ += '\n';
    for (int i = 0; i < depth; ++i) {
      text_ += *style_.indent;
    }
    return absl::OkStatus();
  }

  absl::Status write_separator(bool first, int depth) {
    if (!first) {
      COPPICE_RETURN_IF_ERROR(heap_.budget().charge_text(style_.item_separator.size()));
      text_ += style_.item_separator;
    }
    return write_line(depth);
  }

  absl::Status write_array(const std::vector<Value>& items, int depth) {
    COPPICE_RETURN_IF_ERROR(heap_.budget().charge(1));
    text_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      COPPICE_RETURN_IF_ERROR(write_separator(i == 0, depth + 1));
      COPPICE_RETURN_IF_ERROR(write(items[i], depth + 1));
    }
    if (!items.empty()) {
      COPPICE_RETURN_IF_ERROR(write_line(depth));
    }
    text_ += ']';
    return absl::OkStatus();
  }

  absl::Status write_object(const Dictionary& dictionary, int depth) {
    COPPICE_RETURN_IF_ERROR(heap_.budget().charge(1));
    COPPICE_ASSIGN_OR_RETURN(const std::vector<std::size_t> order, entry_order(dictionary));
    text_ += '{';
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto& [key, value] = dictionary.entries[order[i]];
      COPPICE_RETURN_IF_ERROR(write_separator(i == 0, depth + 1));
      COPPICE_RETURN_IF_ERROR(write_key(key));
      COPPICE_RETURN_IF_ERROR(heap_.budget().charge_text(style_.key_separator.size()));
      text_ += style_.key_separator;
      COPPICE_RETURN_IF_ERROR(write(value, depth + 1));
    }
    if (!order.empty()) {
      COPPICE_RETURN_IF_ERROR(write_line(depth));
    }
    text_ += '}';
    return absl::OkStatus();
  }

  absl::Status write_key(const Value& key) {
    if (key.is_string()) {
      write_string(key.text());
      return heap_.budget().charge_text(key.text().size());
    }
    if (!key.is_number() && !key.is_none()) {
      return template_error(fmt::format("a {} cannot be a key in JSON", type_name(key)));
    }
    COPPICE_ASSIGN_OR_RETURN(std::string name, scalar_text(key));
    write_string(name);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::size_t>> entry_order(const Dictionary& dictionary) {
    std::vector<std::size_t> order(dictionary.entries.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
    }
    if (!style_.sort_keys) {
      return order;
    }
    absl::Status failure;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      absl::StatusOr<bool> before = less(heap_, dictionary.entries[a].first, dictionary.entries[b].first);
      failure.Update(before.status());
      return before.ok() && *before;
    });
    COPPICE_RETURN_IF_ERROR(failure);
    return order;
  }

  Heap& heap_;
  const JsonStyle& style_;
  std::string text_;
};

}  // namespace

absl::StatusOr<std::string> to_json(Heap& heap, const Value& value, const JsonStyle& style) {
  JsonWriter writer(heap, style);
  COPPICE_RETURN_IF_ERROR(writer.write(value, 0));
  return writer.take();
}

}  // namespace coppice::text
