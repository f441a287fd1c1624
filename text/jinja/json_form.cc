// tojson: json.dumps() byte for byte (no HTML escaping, as transformers overrides the filter).
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"

namespace coppice::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonStyle& style) : heap_(heap), style_(style) {}

  void write(const Value& value, int depth) {
    if (!heap_.budget().check_value_depth(depth)) {
      return;
    }
    if (value.is_dict()) {
      write_object(as_dict(value), depth);
    } else if (value.is(ObjectKind::kList) || value.is(ObjectKind::kTuple)) {
      const std::vector<Value>& items = items_of(value);
      write_items("[", "]", items.size(), depth, [&](std::size_t i) { write(items[i], depth + 1); });
    } else if (value.is_string()) {
      write_string(value.text());
    } else {
      append(scalar(value));
    }
  }
  std::string take() { return std::move(text_); }

 private:
  std::string scalar(const Value& value) {
    if (value.is_none() || value.is_boolean()) {
      return value.is_none() ? "null" : value.integer() != 0 ? "true" : "false";
    }
    if (!value.is_number()) {
      heap_.fail(fmt::format("a value of type {} cannot be written as JSON", type_name(value)));
      return "";
    }
    if (value.is_real() && !std::isfinite(value.as_real())) {
      return std::isnan(value.as_real()) ? "NaN" : value.as_real() < 0 ? "-Infinity" : "Infinity";
    }
    return to_repr(heap_, value);
  }

  void append(std::string_view text) { text_ += heap_.budget().charge_text(text.size()) ? text : ""; }

  void write_string(const std::string& text) { append(nlohmann::json(text).dump(-1, ' ', style_.ensure_ascii)); }

  // A new line indented for `depth`, when the style has lines.
  void write_line(int depth) {
    text_ += style_.indent ? "\n" : "";
    for (int i = 0; style_.indent && i < depth; ++i) {
      append(*style_.indent);
    }
  }

  template <typename WriteItem>
  void write_items(std::string_view open, std::string_view close, std::size_t count, int depth, WriteItem write_item) {
    append(open);
    for (std::size_t i = 0; i < count && !heap_.budget().failed(); ++i) {
      append(i > 0 ? style_.item_separator : "");
      write_line(depth + 1);
      write_item(i);
    }
    if (count > 0) {
      write_line(depth);
    }
    text_ += close;
  }

  void write_object(const Dictionary& dictionary, int depth) {
    const std::vector<std::size_t> order = entry_order(dictionary);
    write_items("{", "}", order.size(), depth, [&](std::size_t i) {
      const auto& [key, value] = dictionary.entries[order[i]];
      write_string(key.is_string() ? key.text() : scalar(key));
      append(style_.key_separator);
      write(value, depth + 1);
    });
  }

  std::vector<std::size_t> entry_order(const Dictionary& dictionary) {
    std::vector<std::size_t> order(dictionary.entries.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (style_.sort_keys) {
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return less(heap_, dictionary.entries[a].first, dictionary.entries[b].first);
      });
    }
    return order;
  }

  Heap& heap_;
  const JsonStyle& style_;
  std::string text_;
};

}  // namespace

std::string to_json(Heap& heap, const Value& value, const JsonStyle& style) {
  JsonWriter writer(heap, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace coppice::jinja
