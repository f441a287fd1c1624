// Facts about a model and their text form (inspect.h).
#include "models/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "models/head_packing.h"
#include "models/kv_geometry.h"
#include "models/weights.h"

namespace coppice::models {
namespace {

std::string format_bytes(std::size_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_parameters(std::int64_t count) {
  const auto value = static_cast<double>(count);
  if (count >= 1'000'000'000) {
    return fmt::format("{:.2f} billion", value / 1e9);
  }
  if (count >= 1'000'000) {
    return fmt::format("{:.1f} million", value / 1e6);
  }
  return fmt::format("{}", count);
}

std::string format_rope(const RopeConfig& rope) {
  switch (rope.scaling) {
    case RopeScaling::kNone:
      return fmt::format("theta {}", rope.theta);
    case RopeScaling::kLinear:
      return fmt::format("theta {}, linear scaling by {}", rope.theta, rope.factor);
    case RopeScaling::kLlama3:
      return fmt::format("theta {}, llama3 scaling by {} from {} positions", rope.theta, rope.factor,
                         rope.original_max_positions);
    case RopeScaling::kYarn:
      return fmt::format("theta {}, yarn scaling by {} from {} positions", rope.theta, rope.factor,
                         rope.original_max_positions);
  }
  return "";
}

std::string format_extras(const ModelConfig& config) {
  std::string extras;
  const auto add = [&](bool present, const char* text) {
    if (present) {
      extras += fmt::format("{}{}", extras.empty() ? "" : ", ", text);
    }
  };
  add(config.tied_embeddings, "tied embeddings");
  add(config.biases.qkv, "qkv bias");
  add(config.biases.output, "output bias");
  add(config.biases.mlp, "mlp bias");
  add(config.qk_norm, "q and k norms");
  return extras.empty() ? "none" : extras;
}

// A matrix with the scales beside it, of `scale_bytes` each.
std::size_t matrix_bytes(kernels::WeightFormat format, const WeightSpec& spec, std::size_t scale_bytes) {
  return format.bytes(spec.rows, spec.columns) +
         static_cast<std::size_t>(format.scale_count(spec.rows, spec.columns)) * scale_bytes;
}

// What the matrices of a model are stored as in memory. The embedding's table and a tied head's matrix are two.
struct MatrixFormats {
  kernels::WeightFormat table;
  kernels::WeightFormat matrix;
  kernels::WeightFormat head;
  std::size_t scale_bytes = sizeof(float);  // of a scale beside int4 and int8
};

// As load_packed_weights() stores them. REQUIRES: no blocks that are kept as they are.
MatrixFormats formats_in_memory(kernels::WeightFormat stored, const kernels::ModelFormats& formats) {
  const kernels::WeightFormat dense = kernels::dense_format(formats.compute);
  if (!formats.storage) {
    return {dense, stored, dense};  // makers of such files leave head and embedding as they were
  }
  const bool has_half_scales = formats.storage->kind == kernels::WeightKind::kInt4;  // quantised while it is loaded
  return {dense, *formats.storage, head_packing(formats.packing()).storage_of(dense),
          has_half_scales ? sizeof(std::uint16_t) : sizeof(float)};
}

std::size_t bytes_in_memory(const WeightSpec& spec, const ModelConfig& config, const MatrixFormats& formats) {
  switch (spec.role) {
    case WeightRole::kNorm:
    case WeightRole::kBias:
      return static_cast<std::size_t>(spec.elements()) * sizeof(float);
    case WeightRole::kEmbedding:
      return formats.table.bytes(spec.rows, spec.columns) +
             (config.tied_embeddings ? matrix_bytes(formats.head, spec, sizeof(float)) : 0);
    case WeightRole::kMatrix:
      return spec.name == kHeadName ? matrix_bytes(formats.head, spec, sizeof(float))
                                    : matrix_bytes(formats.matrix, spec, formats.scale_bytes);
  }
  return 0;
}

}  // namespace

ModelFacts model_facts(const ModelConfig& config, kernels::WeightFormat stored_format, std::size_t stored_bytes,
                       const kernels::ModelFormats& formats) {
  ModelFacts facts;
  facts.config = config;
  facts.stored_format = stored_format;
  facts.formats = formats;
  facts.stored_bytes = stored_bytes;
  const bool keeps_blocks =
      !formats.storage && kernels::is_quantised(stored_format) && stored_format.scale_count(1, 1) == 0;
  const kernels::WeightFormat stored =
      kernels::is_quantised(stored_format) ? stored_format : kernels::dense_format(formats.compute);
  const MatrixFormats in_memory = formats_in_memory(stored, formats);
  for (const WeightSpec& spec : weight_specs(config)) {
    facts.parameters += spec.elements();
    facts.weight_bytes += bytes_in_memory(spec, config, in_memory);
  }
  if (keeps_blocks) {  // of several formats: what the file has of each
    facts.weight_bytes = stored_bytes;
    facts.weight_bytes += config.tied_embeddings ? stored_format.bytes(config.vocab, config.hidden) : 0;
  }
  facts.kv_bytes_per_token = kv_geometry(config, formats.kv, 1, 1).bytes_per_token();
  return facts;
}

std::int64_t kv_tokens_that_fit(const ModelFacts& facts, std::size_t memory_bytes) {
  if (memory_bytes <= facts.weight_bytes) {
    return 0;
  }
  return static_cast<std::int64_t>((memory_bytes - facts.weight_bytes) / facts.kv_bytes_per_token);
}

std::string format_model_facts(const ModelFacts& facts, std::size_t memory_bytes) {
  const ModelConfig& config = facts.config;
  std::string text;
  const auto line = [&](const char* name, const std::string& value) { text += fmt::format("{:<14}{}\n", name, value); };
  line("architecture", config.architecture);
  line("parameters", fmt::format("{} ({})", format_parameters(facts.parameters), facts.parameters));
  line("layers", fmt::format("{}, hidden {}, intermediate {}", config.layers, config.hidden, config.intermediate));
  line("heads",
       fmt::format("{} query, {} key, {} numbers each", config.query_heads, config.key_heads, config.head_dim));
  line("extras", format_extras(config));
  line("vocabulary", fmt::format("{} tokens, begin {}, end [{}]", config.vocab,
                                 config.bos < 0 ? "none" : fmt::format("{}", config.bos), fmt::join(config.eos, ", ")));
  line("rope", format_rope(config.rope));
  line("context",
       fmt::format("{} tokens{}", config.max_positions,
                   config.sliding_window > 0 ? fmt::format(", sliding window of {}", config.sliding_window) : ""));
  line("stored", fmt::format("{} in {}", format_bytes(facts.stored_bytes), kernels::format_name(facts.stored_format)));
  line("weights", fmt::format("{} in memory as {}", format_bytes(facts.weight_bytes),
                              kernels::format_name(facts.formats.packing().storage_of(facts.stored_format))));
  line("kv cache",
       fmt::format("{} per token in {}, {} for the whole context", format_bytes(facts.kv_bytes_per_token),
                   kernels::format_name(facts.formats.kv),
                   format_bytes(facts.kv_bytes_per_token * static_cast<std::size_t>(config.max_positions))));
  if (memory_bytes > 0) {
    const std::int64_t tokens = kv_tokens_that_fit(facts, memory_bytes);
    line("fits", tokens == 0 ? fmt::format("no: {} do not hold the weights", format_bytes(memory_bytes))
                             : fmt::format("{} tokens of KV cache in {} beside the weights", tokens,
                                           format_bytes(memory_bytes)));
  }
  return text;
}

}  // namespace coppice::models
