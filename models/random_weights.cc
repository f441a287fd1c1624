// Seeded random weights (weights.h): each element is a function of (seed, tensor name, index), so that tensors can be
// made in any order, by any number of threads, one at a time.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/float_formats.h"
#include "models/weight_blocks.h"
#include "models/weights.h"

namespace coppice::models {
namespace {

using kernels::ComputeType;
using kernels::WeightFormat;

constexpr float kDeviation = 0.02F;                  // standard deviation: transformers' initializer_range
constexpr std::int64_t kElementsPerDraw = 4;         // 64 bits: four elements of 16 bits
constexpr std::int64_t kParallelElements = 1 << 18;  // below this, starting threads costs more than it saves

// SplitMix64's output function (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014),
// used as a hash of a counter.
constexpr std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

// FNV-1a.
constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return hash;
}

// Uniform in (-√3, √3) · kDeviation from 16 bits: mean 0, standard deviation kDeviation.
inline float scaled(std::uint64_t bits) {
  constexpr float kHalfRange = 1.7320508F * kDeviation;  // √3 deviations: half the width of a uniform distribution
  const auto centred = static_cast<float>(static_cast<std::int32_t>(bits & 0xFFFFU) - 32768) + 0.5F;
  return centred * (kHalfRange / 32768.0F);
}

// Writes `value` as element `i` of a tensor in `type`.
inline void store(ComputeType type, float value, std::int64_t i, std::byte* data) {
  switch (type) {
    case ComputeType::kF32:
      static_cast<float*>(static_cast<void*>(data))[i] = value;
      return;
    case ComputeType::kBF16:
      static_cast<std::uint16_t*>(static_cast<void*>(data))[i] = float_to_bf16(value);
      return;
    case ComputeType::kF16:
      static_cast<std::uint16_t*>(static_cast<void*>(data))[i] = kernels::float_to_f16(value);
      return;
  }
}

void fill(std::uint64_t stream, ComputeType type, std::int64_t count, std::byte* data) {
  const std::int64_t draws = (count + kElementsPerDraw - 1) / kElementsPerDraw;
#pragma omp parallel for schedule(static) if (count > kParallelElements)
  for (std::int64_t draw = 0; draw < draws; ++draw) {
    std::uint64_t bits = mix(stream + static_cast<std::uint64_t>(draw));
    const std::int64_t begin = draw * kElementsPerDraw;
    const std::int64_t end = begin + kElementsPerDraw < count ? begin + kElementsPerDraw : count;
    for (std::int64_t i = begin; i < end; ++i, bits >>= 16) {
      store(type, scaled(bits), i, data);
    }
  }
}

void fill_ones(ComputeType type, std::int64_t count, std::byte* data) {
  for (std::int64_t i = 0; i < count; ++i) {
    store(type, 1.0F, i, data);
  }
}

class RandomWeights final : public WeightSource {
 public:
  RandomWeights(const ModelConfig& config, std::uint64_t seed, ComputeType type)
      : seed_(seed), type_(type), format_(kernels::dense_format(type)), stored_(stored_as(config, format_)) {}

  absl::StatusOr<WeightTensor> fetch(const WeightSpec& spec) override {
    const std::size_t bytes = format_.bytes(spec.rows, spec.columns);
    std::byte* data = blocks_.lend(spec.name, bytes);
    if (spec.role == WeightRole::kNorm) {
      fill_ones(type_, spec.elements(), data);
    } else {
      fill(mix(seed_ ^ hash_name(spec.name)), type_, spec.elements(), data);
    }
    return WeightTensor({{data, bytes}, format_, spec.rows, spec.columns, {}});
  }
  void release(const WeightSpec& spec) override { blocks_.give_back(spec.name); }
  const StoredWeights& stored() const override { return stored_; }

 private:
  WeightBlocks blocks_;
  std::uint64_t seed_;
  ComputeType type_;
  WeightFormat format_;
  StoredWeights stored_;
};

}  // namespace

std::unique_ptr<WeightSource> make_random_weights(const ModelConfig& config, std::uint64_t seed,
                                                  kernels::ComputeType type) {
  return std::make_unique<RandomWeights>(config, seed, type);
}

}  // namespace coppice::models
