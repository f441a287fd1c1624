// JSON pointers, RFC 6901, in URI fragments.
#include "server/output/schema_reference.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace coppice::server {
namespace {

using openai::Json;

constexpr int kReferencesMax = 16;  // one behind the other to the object's schema: far more than schemas in use have

// "%7B" as its byte.
std::string without_percents(std::string_view text) {
  constexpr std::size_t kDigits = 2;  // hexadecimal ones of a byte
  constexpr int kHexBase = 16;        // of the digits
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string_view digits = text.substr(at + 1, kDigits);
    unsigned char byte = 0;
    const bool is_code =
        text[at] == '%' && digits.size() == kDigits &&
        std::from_chars(digits.data(), digits.data() + kDigits, byte, kHexBase).ptr == digits.data() + kDigits;
    out += is_code ? static_cast<char>(byte) : text[at];
    at += is_code ? kDigits : 0;
  }
  return out;
}

std::string member_name(std::string_view step) {
  std::string name;
  for (std::size_t at = 0; at < step.size(); ++at) {
    const char code = step[at] == '~' && at + 1 < step.size() ? step[at + 1] : '\0';
    const bool is_code = code == '0' || code == '1';
    name += !is_code ? step[at] : code == '0' ? '~' : '/';
    at += is_code ? 1 : 0;
  }
  return name;
}

const Json* item_of(const Json& array, std::string_view step) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  return error == std::errc() && end == step.data() + step.size() && index < array.size() ? &array[index] : nullptr;
}

}  // namespace

Referred referred_schema(const Json& root, std::string_view reference) {
  if (!reference.starts_with('#')) {
    return {};
  }
  const std::string pointer = without_percents(reference.substr(1));
  if (!pointer.empty() && pointer.front() != '/') {
    return {};
  }
  Referred out{.schema = &root, .members = 0};
  for (std::size_t begin = 1; begin <= pointer.size() && out.schema != nullptr;) {
    const std::size_t end = std::min(pointer.find('/', begin), pointer.size());
    const std::string_view step = std::string_view(pointer).substr(begin, end - begin);
    const Json& at = *out.schema;
    out.schema = nullptr;
    if (at.is_object()) {
      out.members += at.size();
      const auto found = at.find(member_name(step));
      out.schema = found == at.end() ? nullptr : &*found;
    } else if (at.is_array()) {
      out.schema = item_of(at, step);
    }
    begin = end + 1;
  }
  return out;
}

ObjectSchema object_schema(const Json& root) {
  ObjectSchema out{.schema = &root, .pointer = ""};
  for (int i = 0; i < kReferencesMax && out.schema != nullptr && out.schema->is_object(); ++i) {
    const auto reference = out.schema->find("$ref");
    const auto parts = out.schema->find("allOf");
    if (reference != out.schema->end() && reference->is_string()) {
      const auto& text = reference->get_ref<const std::string&>();
      out.schema = referred_schema(root, text).schema;
      out.pointer = text.substr(text.empty() ? 0 : 1);
    } else if (parts != out.schema->end() && parts->is_array() && parts->size() == 1) {
      out.schema = &parts->front();
      out.pointer += "/allOf/0";
    } else {
      break;
    }
  }
  return out;
}

std::string pointer_step(std::string_view member) {
  std::string step = "/";
  for (const char c : member) {
    step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return step;
}

}  // namespace coppice::server
