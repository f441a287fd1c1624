// Fuzz target: GGUF files. What is accepted must keep the format's promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "models/gguf.h"

namespace {

void require(bool promise) {
  if (!promise) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = coppice::models::parse_gguf(std::as_bytes(std::span(data, size)), "input");
  if (!parsed.ok()) {
    require(!parsed.status().message().empty());
    return 0;
  }
  require(parsed->data_begin <= size);
  for (const auto& [name, entry] : parsed->entries) {
    require(entry.begin <= size && entry.bytes <= size - parsed->data_begin - entry.begin);
    require(entry.bytes % entry.type->bytes == 0);
  }
  return 0;
}
