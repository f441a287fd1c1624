// A config and weights from a GGUF file's keys and tensors: what is missing, wrong or not supported is named.
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "models/gguf_weights.h"
#include "models/rope.h"
#include "tests/support/gguf_bytes.h"
#include "tests/support/safetensors_bytes.h"

namespace coppice::models {
namespace {

using tests::GgufBytes;
using tests::raw;
using tests::TemporaryFolder;

constexpr std::uint32_t kF32 = 0;

// Places of tensors are filled in by add().
struct File {
  GgufBytes bytes;

  File& add(const std::string& name, const std::vector<std::uint64_t>& sizes, float value = 0.5F) {
    std::uint64_t count = 1;
    for (const std::uint64_t size : sizes) {
      count *= size;
    }
    bytes.tensor(name, sizes, kF32, bytes.data.size());
    for (std::uint64_t i = 0; i < count; ++i) {
      bytes.data += raw(value + static_cast<float>(i));
    }
    bytes.data.resize((bytes.data.size() + 31) / 32 * 32);
    return *this;
  }
};

// Hidden 8, 2 heads of 4 numbers, 1 key head, one layer, 6 tokens.
File small(const std::string& family = "llama", bool has_sizes = true) {
  File file;
  file.bytes.key("general.architecture", family);
  if (has_sizes) {
    file.bytes.key(family + ".embedding_length", 8).key(family + ".feed_forward_length", 16);
    file.bytes.key(family + ".block_count", 1).key(family + ".attention.head_count", 2);
    file.bytes.key(family + ".attention.head_count_kv", 1).key(family + ".context_length", 64);
    file.bytes.key(family + ".attention.layer_norm_rms_epsilon", 6, raw(1e-5F));
    file.bytes.key(family + ".rope.freq_base", 6, raw(500000.0F));
  }
  file.bytes.key("tokenizer.ggml.eos_token_id", 3).key("tokenizer.ggml.eot_token_id", 4);
  file.add("token_embd.weight", {8, 6}).add("output_norm.weight", {8});
  file.add("blk.0.attn_norm.weight", {8}).add("blk.0.ffn_norm.weight", {8});
  file.add("blk.0.attn_q.weight", {8, 8}).add("blk.0.attn_k.weight", {8, 4}).add("blk.0.attn_v.weight", {8, 4});
  file.add("blk.0.attn_output.weight", {8, 8}).add("blk.0.ffn_gate.weight", {8, 16});
  file.add("blk.0.ffn_up.weight", {8, 16}).add("blk.0.ffn_down.weight", {16, 8});
  return file;
}

class OpenedFile {
 public:
  explicit OpenedFile(const File& file) {
    std::ofstream(path(), std::ios::binary) << file.bytes.file();
    absl::StatusOr<GgufModel> opened = GgufModel::open(path());
    INFO(opened.status().ToString());
    REQUIRE(opened.ok());
    model = std::make_unique<GgufModel>(*std::move(opened));
  }

  std::unique_ptr<GgufModel> model;

 private:
  std::filesystem::path path() const { return folder_.path() / "m.gguf"; }
  TemporaryFolder folder_;
};

std::string problem_of(const File& file) {
  const OpenedFile opened(file);
  const absl::StatusOr<ModelConfig> config = gguf_config(*opened.model);
  return std::string(config.ok() ? open_gguf_weights(*opened.model, *config).status().message()
                                 : config.status().message());
}

TEST_CASE("a config from a GGUF file") {
  const OpenedFile opened(small());
  const ModelConfig config = gguf_config(*opened.model).value();
  CHECK(config.architecture == "LlamaForCausalLM");
  CHECK(config.vocab == 6);
  CHECK(config.hidden == 8);
  CHECK(config.intermediate == 16);
  CHECK(config.layers == 1);
  CHECK(config.query_heads == 2);
  CHECK(config.key_heads == 1);
  CHECK(config.head_dim == 4);
  CHECK(config.max_positions == 64);
  CHECK(config.norm_epsilon == 1e-5F);
  CHECK(config.rope.theta == 500000.0);
  CHECK(config.tied_embeddings);
  CHECK(config.eos == std::vector<TokenId>{3, 4});
  const OpenedFile qwen(small("qwen3"));
  CHECK(gguf_config(*qwen.model).value().head_dim == 4);  // not the family's default
}

TEST_CASE("rows of queries and keys get Hugging Face's order") {
  for (const auto& [family, second] : {std::pair("llama", 2), std::pair("qwen3", 1)}) {
    File file = small(family);
    file.add("blk.0.attn_q_norm.weight", {4}).add("blk.0.attn_k_norm.weight", {4});
    const OpenedFile opened(file);
    const ModelConfig config = gguf_config(*opened.model).value();
    const auto weights = open_gguf_weights(*opened.model, config).value();
    for (const WeightSpec& spec : weight_specs(config)) {
      const WeightTensor tensor = weights->fetch(spec).value();
      float number = 0;
      const bool is_cut =
          spec.name.find("q_proj") != std::string::npos || spec.name.find("k_proj") != std::string::npos;
      const std::int64_t row = spec.is_vector() ? 0 : 1;
      std::memcpy(&number, tensor.view().bytes.data() + row * spec.columns * 4, sizeof number);
      INFO(family << " " << spec.name);
      CHECK(number == 0.5F + static_cast<float>((is_cut ? second : row) * spec.columns));
      weights->release(spec);
    }
  }
}

TEST_CASE("Llama 3's scaling as divisors of frequencies") {
  File file = small();
  file.add("rope_freqs.weight", {2}, 4.0F);
  const OpenedFile opened(file);
  const RopeConfig rope = gguf_config(*opened.model).value().rope;
  REQUIRE(rope.divisors == std::vector<float>{4.0F, 5.0F});
  RopeConfig plain = rope;
  plain.divisors.clear();
  CHECK(rope_inverse_frequency(rope)[0] == rope_inverse_frequency(plain)[0] / 4.0F);
  CHECK(rope_inverse_frequency(rope)[1] == rope_inverse_frequency(plain)[1] / 5.0F);
}

std::string texts(const std::vector<std::string>& list) {
  std::string bytes = raw(std::uint32_t{8}) + raw(std::uint64_t{list.size()});
  for (const std::string& text : list) {
    bytes += tests::gguf_text(text);
  }
  return bytes;
}

TEST_CASE("the end of a turn is found by its spelling where no key names it") {
  File file;
  file.bytes.key("tokenizer.ggml.tokens", 9, texts({"a", "<|im_end|>", "b"}));
  const File rest = small();
  // The same file without the key of the end of a turn, which small() has.
  File whole = rest;
  const std::string key =
      tests::gguf_text("tokenizer.ggml.eot_token_id") + raw(std::uint32_t{4}) + raw(std::uint32_t{4});
  whole.bytes.keys.erase(whole.bytes.keys.find(key), key.size());
  whole.bytes.keys += file.bytes.keys;
  const OpenedFile opened(whole);
  CHECK(gguf_config(*opened.model).value().eos == std::vector<TokenId>{1, 3});
}

TEST_CASE("what a GGUF file lacks or has too much of is named") {
  CHECK_THAT(problem_of(small("gemma")), Catch::Contains("architecture \"gemma\" is not supported"));
  CHECK_THAT(problem_of(small("llama", false)), Catch::Contains("key llama.embedding_length is missing"));
  struct Row {
    std::function<void(File&)> change;
    const char* part;
  };
  const Row rows[] = {
      {[](File& file) { file.bytes.key("llama.expert_count", 8); }, "mixture of experts"},
      {[](File& file) { file.bytes.key("llama.rope.scaling.type", "longrope"); }, "rope type \"longrope\""},
      {[](File& file) { file.bytes.key("llama.rope.scaling.type", "\xFF"); }, "rope type"},
      {[](File& file) {
         file.bytes.key("tokenizer.ggml.tokens", 9, texts({"1", "2", "3", "4", "5", "6", "7"}));
       },
       "7 tokens, but token_embd.weight has 6 rows"},
      {[](File& file) { file.bytes.key("llama.attention.key_length", "x"); }, "expected a whole number"},
      {[](File& file) { file.bytes.key("llama.attention.sliding_window", 32); }, "sliding window"},
      {[](File& file) { file.add("rope_freqs.weight", {3}); }, "rope_freqs.weight: expected F32 and 2 numbers"},
      {[](File& file) { file.add("rope_freqs.weight", {2}, -0.5F); }, "no factor of a frequency"},
      {[](File& file) { file.add("blk.0.attn_q.bias", {8}); }, "blk.0.attn_k.bias is missing"},
      {[](File& file) { file.bytes.key("llama.attention.key_length", 8); }, "attn_q.weight: expected shape [16, 8]"}};
  for (const Row& row : rows) {
    File file = small();
    row.change(file);
    CHECK_THAT(problem_of(file), Catch::Contains(row.part));
  }
}

}  // namespace
}  // namespace coppice::models
