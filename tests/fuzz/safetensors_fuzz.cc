// Fuzz target: safetensors files and index files. The input is read three ways: as a whole file, as the header of a
// file with 64 bytes of data, and as an index. What is accepted must keep the format's promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "models/safetensors.h"

namespace {

constexpr std::size_t kDataBytes = 64;

void require(bool promise) {
  if (!promise) {
    std::abort();
  }
}

void check_file(std::span<const std::byte> file) {
  const auto parsed = coppice::models::parse_safetensors(file, "input");
  if (!parsed.ok()) {
    require(!parsed.status().message().empty());
    return;
  }
  require(parsed->data_begin <= file.size());
  const std::uint64_t data_bytes = file.size() - parsed->data_begin;
  std::uint64_t claimed = 0;
  for (const auto& [name, entry] : parsed->entries) {
    require(entry.begin <= entry.end && entry.end <= data_bytes);
    claimed += entry.end - entry.begin;
  }
  require(claimed == data_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> input;
  for (std::size_t i = 0; i < size; ++i) {
    input.push_back(static_cast<std::byte>(data[i]));
  }
  check_file(input);
  std::vector<std::byte> wrapped;
  for (std::size_t i = 0; i < sizeof(std::uint64_t); ++i) {
    wrapped.push_back(static_cast<std::byte>((size >> (8 * i)) & 0xFFU));
  }
  wrapped.insert(wrapped.end(), input.begin(), input.end());
  wrapped.resize(wrapped.size() + kDataBytes);
  check_file(wrapped);
  std::string text;
  for (const std::byte byte : input) {
    text.push_back(static_cast<char>(byte));
  }
  if (const auto index = coppice::models::parse_safetensors_index(text, "input"); index.ok()) {
    for (const auto& [tensor, file] : *index) {
      require(!file.empty() && file.find('/') == std::string::npos && file != "..");
    }
  }
  return 0;
}
