// GGUF files put together by hand, well-formed or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::tests {

template <typename T>
std::string raw(T number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

inline std::string gguf_text(std::string_view text) {
  return raw(std::uint64_t{text.size()}) + std::string(text);
}

// Puts a file together. What it says of counts can be set apart from what comes.
struct GgufBytes {
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::string keys;
  std::uint64_t key_count = 0;
  std::string tensors;
  std::uint64_t tensor_count = 0;
  std::uint64_t alignment = 32;
  std::string data;

  // `type`: as in files; `value`: its bytes.
  GgufBytes& key(std::string_view name, std::uint32_t type, const std::string& value) {
    keys += gguf_text(name) + raw(type) + value;
    ++key_count;
    return *this;
  }
  GgufBytes& key(std::string_view name, std::string_view text) { return key(name, 8, gguf_text(text)); }
  GgufBytes& key(std::string_view name, std::uint32_t number) { return key(name, 4, raw(number)); }

  // `sizes`: columns first, as in files.
  GgufBytes& tensor(std::string_view name, const std::vector<std::uint64_t>& sizes, std::uint32_t type,
                    std::uint64_t offset) {
    tensors += gguf_text(name) + raw(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) {
      tensors += raw(size);
    }
    tensors += raw(type) + raw(offset);
    ++tensor_count;
    return *this;
  }

  std::string file() const {
    std::string all = magic + raw(version) + raw(tensor_count) + raw(key_count) + keys + tensors;
    if (!data.empty()) {
      all.resize((all.size() + alignment - 1) / alignment * alignment, '\0');
    }
    return all + data;
  }
};

}  // namespace coppice::tests
