// Facts about a model and their text form (inspect.h).
#include "models/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
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

// The tensors of a model as load_packed_weights() stores them.
class InMemory {
 public:
  InMemory(const kernels::ModelFormats& formats, const Multiplies& multiplies)
      : packing_(formats.packing()), multiplies_(multiplies) {}

  // Of a matrix.
  kernels::WeightFormat format_of(const StoredWeight& weight, const kernels::PackingOptions& packing) const {
    const kernels::WeightFormat storage = packing.storage_of(weight.format);
    return kernels::is_quantised(storage) && !multiplies_(storage) ? kernels::dense_format(packing.compute) : storage;
  }
  kernels::PackingOptions packing_of(const WeightSpec& spec) const {
    return spec.name == kHeadName || spec.role == WeightRole::kEmbedding ? head_packing(packing_) : packing_;
  }

  // A matrix with the scales beside it.
  std::size_t matrix_bytes(const WeightSpec& spec, const StoredWeight& weight) const {
    const kernels::WeightFormat format = format_of(weight, packing_of(spec));
    auto scales = static_cast<std::size_t>(format.scale_count(spec.rows, spec.columns));
    std::size_t width = sizeof(float);
    if (format.kind == kernels::WeightKind::kInt4 && (format != weight.format || weight.has_half_scales)) {
      width = sizeof(std::uint16_t);                           // quantised while it is loaded, or so stored
      scales = format == weight.format ? scales / 2 : scales;  // a zero in the middle needs no least
    }
    return format.bytes(spec.rows, spec.columns) + scales * width;
  }

  // The embedding's rows.
  std::size_t table_bytes(const WeightSpec& spec, const StoredWeight& weight) const {
    const bool keeps_blocks =
        !packing_.storage && kernels::is_quantised(weight.format) && weight.format.scale_count(1, 1) == 0;
    return (keeps_blocks ? weight.format : kernels::dense_format(packing_.compute)).bytes(spec.rows, spec.columns);
  }

 private:
  const kernels::PackingOptions packing_;
  const Multiplies& multiplies_;
};

// Counts a matrix that is stored in few bits.
void count_quantised(const StoredWeight& weight, kernels::WeightFormat in_memory, ModelFacts& facts) {
  if (weight.widened_from.empty() && !kernels::is_quantised(weight.format)) {
    return;
  }
  ++facts.quantised_matrices;
  if (kernels::is_quantised(in_memory)) {
    return;
  }
  std::string from = weight.name();
  if (weight.widened_from.empty() && weight.format.group != 0 && weight.format.kind != kernels::WeightKind::kFp8) {
    from += fmt::format(" in groups of {}", weight.format.group);
  }
  const auto found = std::ranges::find_if(facts.widened, [&](const Widening& one) { return one.from == from; });
  if (found != facts.widened.end()) {
    ++found->matrices;
  } else {
    facts.widened.push_back({from, in_memory, 1});
  }
}

}  // namespace

ModelFacts model_facts(const ModelConfig& config, const StoredWeights& stored, const kernels::ModelFormats& formats,
                       const Multiplies& multiplies) {
  ModelFacts facts;
  facts.config = config;
  facts.stored_name = stored.name();
  facts.formats = formats;
  facts.stored_bytes = stored.bytes();
  const InMemory memory(formats, multiplies);
  StoredWeights in_memory;  // for the name of what most of it is
  for (const WeightSpec& spec : weight_specs(config)) {
    const StoredWeight& weight = stored.of(spec.name);
    facts.parameters += spec.elements();
    if (spec.is_vector()) {
      facts.weight_bytes += static_cast<std::size_t>(spec.elements()) * sizeof(float);
      continue;
    }
    if (spec.role == WeightRole::kEmbedding) {
      facts.table_bytes = memory.table_bytes(spec, weight);
      facts.weight_bytes += facts.table_bytes;
    }
    if (spec.role == WeightRole::kMatrix || config.tied_embeddings) {
      const kernels::WeightFormat format = memory.format_of(weight, memory.packing_of(spec));
      const std::size_t bytes = memory.matrix_bytes(spec, weight);
      count_quantised(weight, format, facts);
      in_memory.add(spec.name, {.format = format, .bytes = bytes});
      facts.weight_bytes += bytes;
    }
  }
  facts.memory_name = in_memory.name();
  facts.kv_bytes_per_token = kv_geometry(config, formats.kv, 1, 1).bytes_per_token();
  return facts;
}

std::string widening_note(const ModelFacts& facts) {
  std::vector<std::string> parts;
  std::int64_t widened = 0;
  for (const Widening& one : facts.widened) {
    parts.push_back(fmt::format("{} from {} to {}", one.matrices, one.from, kernels::format_name(one.to)));
    widened += one.matrices;
  }
  return parts.empty() ? ""
                       : fmt::format("{} of {} quantised matrices are widened when they are loaded: {}", widened,
                                     facts.quantised_matrices, fmt::join(parts, ", "));
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
  line("stored", fmt::format("{} in {}", format_bytes(facts.stored_bytes), facts.stored_name));
  line("weights", fmt::format("{} in memory as {}", format_bytes(facts.weight_bytes), facts.memory_name));
  if (const std::string note = widening_note(facts); !note.empty()) {
    line("", note);
  }
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
