// Any bytes as a chat template: compiling and rendering must end soon, in text or in an error, without a crash. When
// the bytes are a template that renders, rendering again gives the same text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include <nlohmann/json.hpp>

#include "text/jinja/chat_template.h"

namespace {

const nlohmann::ordered_json& context() {
  static const auto value = nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": "Be kind. <think>x</think>"},
      {"role": "user", "content": [{"type": "text", "text": "é漢🎉 q"}, {"type": "image"}]},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "123456789", "function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
      {"role": "tool", "content": "ok", "tool_call_id": "123456789"}
    ],
    "tools": [{"type": "function", "function": {
      "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "array"}}}}}],
    "documents": null, "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>",
    "numbers": [1, 2, 3, -4, 5.5], "name": "World", "big": 18446744073709551615
  })");
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The byte view of the input: the one place where bytes become characters.
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  coppice::jinja::Limits limits;
  limits.steps_max = 20'000;
  limits.output_bytes_max = 1U << 16U;
  limits.value_bytes_max = 4U << 20U;
  limits.source_bytes_max = 1U << 16U;
  const auto compiled = coppice::jinja::ChatTemplate::compile(source, limits);
  if (!compiled.ok()) {
    return 0;
  }
  const auto first = compiled->render(context(), std::tm{});
  const auto second = compiled->render(context(), std::tm{});
  if (first.status() != second.status() ||
      (first.ok() && (*first != *second || first->size() > limits.output_bytes_max))) {
    std::abort();
  }
  return 0;
}
