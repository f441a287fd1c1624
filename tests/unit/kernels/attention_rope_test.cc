// rope_and_store against float64, the Hugging Face convention, and the KV cache's own copies.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/kv_cache.h"

namespace coppice::kernels {
namespace {

float from_bf16(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Every format that the CPU keeps, and the queries that go with it.
struct CacheCase {
  KvFormat kv;
  ComputeType query;
};
constexpr CacheCase kCacheCases[] = {
    {{KvKind::kF32}, ComputeType::kF32}, {{KvKind::kBF16}, ComputeType::kBF16}, {{KvKind::kInt8}, ComputeType::kBF16}};

// Reads K or V back through the layout as kv_layout.h describes it.
float read_cache(cpu::CpuKvCache& cache, std::int32_t layer, std::int32_t head, KvSlot slot, std::int32_t dim,
                 bool is_key) {
  const cpu::KvLayout& layout = cache.layout();
  const std::uint32_t* page = cache.head(layer, head) + slot / layout.page_size * layout.page_words;
  const std::int32_t offset = slot % layout.page_size;
  const std::int32_t block = offset / 16;
  const std::int32_t lane = offset % 16;
  const std::int32_t per = layout.per_word;
  const std::uint32_t word = is_key ? page[block * layout.key_block_words + dim / per * 16 + lane]
                                    : page[layout.page_blocks * layout.key_block_words +
                                           block * layout.value_block_words + lane / per * layout.dim_lanes + dim];
  if (per == 1) {
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  if (per == 4) {
    const std::int32_t blocks = is_key ? block + 1 : layout.page_blocks;
    const std::uint32_t* end =
        page + blocks * layout.key_block_words + (is_key ? 0 : (block + 1) * layout.value_block_words);
    float scale;
    std::memcpy(&scale, end - 16 + lane, sizeof scale);
    return scale * static_cast<float>(static_cast<std::int8_t>(word >> 8 * ((is_key ? dim : lane) % 4)));
  }
  return from_bf16(static_cast<std::uint16_t>(word >> 16 * ((is_key ? dim : lane) % 2)));
}

// One head as Hugging Face computes it: angle = float32(position) * inverse_frequency in float32; the rest in float64.
std::vector<double> rotated(const float* x, const float* weight, float epsilon, std::int32_t position,
                            const std::vector<float>& inverse_frequency, double factor, std::size_t dims) {
  std::vector<double> head(x, x + dims);
  if (weight != nullptr) {
    double squares = 0;
    for (const double number : head) {
      squares += number * number;
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(dims) + static_cast<double>(epsilon));
    for (std::size_t i = 0; i < dims; ++i) {
      head[i] *= scale * static_cast<double>(weight[i]);
    }
  }
  const std::size_t half = inverse_frequency.size();
  for (std::size_t i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * inverse_frequency[i];
    const double cosine = std::cos(static_cast<double>(angle)) * factor;
    const double sine = std::sin(static_cast<double>(angle)) * factor;
    const double first = head[i];
    const double second = head[half + i];
    head[i] = first * cosine - second * sine;
    head[half + i] = second * cosine + first * sine;
  }
  return head;
}

struct RopeCase {
  std::int32_t head_dim;
  std::int32_t rotary_dim;
  bool norms;
  CacheCase cache;
  std::int32_t page_size;
  double factor;
};

// The largest error of a head's numbers in the cache, as a part of what its format allows.
double error_in_cache(KvKind kind, const std::vector<double>& found, const std::vector<double>& expected) {
  double highest = 0;
  for (const double number : expected) {
    highest = std::max(highest, std::abs(number));
  }
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double allowed = kind == KvKind::kF32    ? 2e-6 * std::max(1.0, std::abs(expected[i]))
                           : kind == KvKind::kBF16 ? 0x1.0p-8 * std::max(1.0, std::abs(expected[i]))
                                                   : highest * (0.5 / 127 + 2e-6);
    worst = std::max(worst, std::abs(found[i] - expected[i]) / allowed);
  }
  return worst;
}

void check_case(const RopeCase& given, cpu::Isa isa) {
  constexpr std::int32_t kQueryHeads = 4;
  constexpr std::int32_t kKeyHeads = 2;
  constexpr std::int32_t kTokens = 37;
  auto backend = cpu::make_cpu_backend({2, isa}).value();
  auto cache =
      backend->device().make_kv_cache({2, kKeyHeads, given.head_dim, given.page_size, 20, given.cache.kv}).value();
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal;
  const std::int32_t columns = (kQueryHeads + 2 * kKeyHeads) * given.head_dim;
  std::vector<float> qkv(static_cast<std::size_t>(kTokens * columns));
  for (float& number : qkv) {
    number = normal(random);
  }
  std::vector<float> norm(static_cast<std::size_t>(given.head_dim));
  for (float& number : norm) {
    number = 1.0F + 0.2F * normal(random);
  }
  std::vector<float> frequency;
  for (std::int32_t i = 0; i < given.rotary_dim / 2; ++i) {
    frequency.push_back(static_cast<float>(std::pow(1e4, -2.0 * i / given.rotary_dim)));
  }
  std::vector<std::int32_t> positions;
  std::vector<KvSlot> slots;
  for (std::int32_t token = 0; token < kTokens; ++token) {
    positions.push_back(token == kTokens - 1 ? 1000000 : token * 997);
    slots.push_back((token * 7 + 3) % (20 * given.page_size));
  }
  RopeParameters parameters;
  parameters.query_heads = kQueryHeads;
  parameters.key_heads = kKeyHeads;
  parameters.head_dim = given.head_dim;
  parameters.rotary_dim = given.rotary_dim;
  parameters.inverse_frequency = frequency.data();
  parameters.attention_factor = static_cast<float>(given.factor);
  parameters.query_norm = given.norms ? norm.data() : nullptr;
  parameters.key_norm = given.norms ? norm.data() : nullptr;
  Buffer query =
      backend->device().allocate(static_cast<std::size_t>(kTokens * kQueryHeads * given.head_dim) * 4).value();
  // Twice: the second call finds its cosines and sines ready.
  for (std::int32_t layer = 0; layer < 2; ++layer) {
    backend->operations().rope_and_store({qkv.data(), ComputeType::kF32, kTokens, columns, columns}, positions, slots,
                                         parameters, *cache, layer,
                                         query.matrix(given.cache.query, kTokens, kQueryHeads * given.head_dim));
  }
  const bool f32_query = given.cache.query == ComputeType::kF32;
  const double tolerance = f32_query ? 2e-6 : 0x1.0p-8;
  auto& pages = static_cast<cpu::CpuKvCache&>(*cache);
  const auto dims = static_cast<std::size_t>(given.head_dim);
  double worst = 0;
  double worst_in_cache = 0;
  const auto compare = [&](double found, double expected) {
    worst = std::max(worst, std::abs(found - expected) / std::max(1.0, std::abs(expected)));
  };
  for (std::int32_t token = 0; token < kTokens; ++token) {
    const float* row = qkv.data() + token * columns;
    const auto place = static_cast<std::size_t>(token);
    for (std::int32_t head = 0; head < kQueryHeads; ++head) {
      const auto expected = rotated(row + head * given.head_dim, parameters.query_norm, parameters.norm_epsilon,
                                    positions[place], frequency, given.factor, dims);
      for (std::size_t dim = 0; dim < dims; ++dim) {
        const std::size_t index = (place * kQueryHeads + static_cast<std::size_t>(head)) * dims + dim;
        compare(f32_query ? static_cast<double>(static_cast<const float*>(query.data())[index])
                          : static_cast<double>(from_bf16(static_cast<const std::uint16_t*>(query.data())[index])),
                expected[dim]);
      }
    }
    for (std::int32_t head = 0; head < kKeyHeads; ++head) {
      const float* key = row + (kQueryHeads + head) * given.head_dim;
      const auto expected =
          rotated(key, parameters.key_norm, parameters.norm_epsilon, positions[place], frequency, given.factor, dims);
      const float* value = key + kKeyHeads * given.head_dim;
      const std::vector<double> expected_values(value, value + given.head_dim);
      for (std::int32_t layer = 0; layer < 2; ++layer) {
        std::vector<double> keys;
        std::vector<double> values;
        for (std::int32_t dim = 0; dim < given.head_dim; ++dim) {
          keys.push_back(static_cast<double>(read_cache(pages, layer, head, slots[place], dim, true)));
          values.push_back(static_cast<double>(read_cache(pages, layer, head, slots[place], dim, false)));
        }
        worst_in_cache = std::max({worst_in_cache, error_in_cache(given.cache.kv.kind, keys, expected),
                                   error_in_cache(given.cache.kv.kind, values, expected_values)});
      }
    }
  }
  INFO("dim " << given.head_dim << " rotary " << given.rotary_dim << " " << format_name(given.cache.kv) << " errors "
              << worst << " " << worst_in_cache);
  CHECK(worst <= tolerance);
  CHECK(worst_in_cache <= 1.0);
}

TEST_CASE("Q and K are normalised, rotated and stored, V is stored", "[rope]") {
  for (const cpu::Isa isa : {cpu::Isa::kGeneric, cpu::Isa::kAvx2, cpu::Isa::kAvx512, cpu::Isa::kAvx512Bf16}) {
    if (isa > cpu::best_isa()) {
      continue;
    }
    for (const CacheCase& cache : kCacheCases) {
      check_case({128, 128, true, cache, 16, 1.0}, isa);
      check_case({64, 64, false, cache, 32, 1.25}, isa);
      check_case({80, 20, false, cache, 64, 1.0}, isa);
      check_case({8, 0, false, cache, 128, 1.0}, isa);
      check_case({256, 64, true, cache, 16, 1.0}, isa);
      check_case({24, 24, true, cache, 16, 1.0}, isa);
    }
  }
}

TEST_CASE("values are stored finite, keys as they are", "[rope]") {
  for (const auto& [kv, dtype] : kCacheCases) {
    auto backend = cpu::make_cpu_backend({1}).value();
    auto cache = backend->device().make_kv_cache({1, 1, 8, 16, 2, kv}).value();
    std::vector<float> qkv(24, 1.0F);
    qkv[8] = std::numeric_limits<float>::quiet_NaN();
    qkv[16] = std::numeric_limits<float>::quiet_NaN();
    qkv[17] = std::numeric_limits<float>::infinity();
    qkv[18] = -std::numeric_limits<float>::infinity();
    RopeParameters parameters;
    parameters.query_heads = 1;
    parameters.key_heads = 1;
    parameters.head_dim = 8;
    Buffer query = backend->device().allocate(64).value();
    const std::int32_t place = 21;
    backend->operations().rope_and_store({qkv.data(), ComputeType::kF32, 1, 24, 24}, std::span(&place, 1),
                                         std::span(&place, 1), parameters, *cache, 0, query.matrix(dtype, 1, 8));
    auto& pages = static_cast<cpu::CpuKvCache&>(*cache);
    CHECK(std::isnan(read_cache(pages, 0, 0, place, 0, true)));
    CHECK(std::isfinite(read_cache(pages, 0, 0, place, 0, false)));
    CHECK(read_cache(pages, 0, 0, place, 1, false) > 1e38F);
    CHECK(std::isfinite(read_cache(pages, 0, 0, place, 1, false)));
    CHECK(read_cache(pages, 0, 0, place, 2, false) < -1e38F);
    CHECK(std::isfinite(read_cache(pages, 0, 0, place, 2, false)));
    // Beside numbers so large, 1 is nothing in 8 bits.
    CHECK(read_cache(pages, 0, 0, place, 3, false) == (kv.kind == KvKind::kInt8 ? 0.0F : 1.0F));
  }
}

TEST_CASE("a row without a slot stores nothing", "[rope]") {
  for (const auto& [kv, dtype] : kCacheCases) {
    auto backend = cpu::make_cpu_backend({1}).value();
    auto cache = backend->device().make_kv_cache({1, 1, 8, 16, 2, kv}).value();
    std::vector<float> qkv(std::size_t{3} * 24, 1.0F);
    RopeParameters parameters;
    parameters.query_heads = 1;
    parameters.key_heads = 1;
    parameters.head_dim = 8;
    Buffer query = backend->device().allocate(256).value();
    const std::vector<std::int32_t> positions = {0, 0, 2};
    const std::vector<KvSlot> slots = {kNoSlot, 17, kNoSlot};
    backend->operations().rope_and_store({qkv.data(), ComputeType::kF32, 3, 24, 24}, positions, slots, parameters,
                                         *cache, 0, query.matrix(dtype, 3, 8));
    auto& pages = static_cast<cpu::CpuKvCache&>(*cache);
    for (KvSlot slot = 0; slot < 32; ++slot) {
      CHECK(read_cache(pages, 0, 0, slot, 3, true) == Approx(slot == 17 ? 1.0F : 0.0F).epsilon(1e-6));
      CHECK(read_cache(pages, 0, 0, slot, 3, false) == Approx(slot == 17 ? 1.0F : 0.0F).epsilon(1e-6));
    }
  }
}

TEST_CASE("pages and slots are copied in all layers and heads", "[kv]") {
  for (const auto& [kv, dtype] : kCacheCases) {
    constexpr std::int32_t kDim = 24;
    constexpr std::int32_t kSlots = 5 * 32;
    auto backend = cpu::make_cpu_backend({2}).value();
    auto cache = backend->device().make_kv_cache({3, 2, kDim, 32, 5, kv}).value();
    RopeParameters parameters;
    parameters.query_heads = 2;
    parameters.key_heads = 2;
    parameters.head_dim = kDim;
    // Every number says where it was written: exact in bf16, within half a unit of the largest in 8 bits.
    const auto number = [](std::int32_t layer, KvSlot slot, std::int32_t column) {
      return static_cast<float>((layer * 31 + slot * 7 + column) % 251);
    };
    std::vector<std::int32_t> slots;
    for (KvSlot slot = 0; slot < kSlots; ++slot) {
      slots.push_back(slot);
    }
    Buffer query = backend->device().allocate(kSlots * 2 * kDim * 4).value();
    for (std::int32_t layer = 0; layer < 3; ++layer) {
      std::vector<float> qkv(kSlots * 6 * kDim);
      for (KvSlot slot = 0; slot < kSlots; ++slot) {
        for (std::int32_t column = 0; column < 4 * kDim; ++column) {
          qkv[static_cast<std::size_t>((slot * 6 + 2) * kDim + column)] = number(layer, slot, column);
        }
      }
      backend->operations().rope_and_store({qkv.data(), ComputeType::kF32, kSlots, 6 * kDim, 6 * kDim}, slots, slots,
                                           parameters, *cache, layer, query.matrix(dtype, kSlots, 2 * kDim));
    }
    auto& pages = static_cast<cpu::CpuKvCache&>(*cache);
    const auto contents = [&] {
      std::vector<float> all;
      for (std::int32_t layer = 0; layer < 3; ++layer) {
        for (KvSlot slot = 0; slot < kSlots; ++slot) {
          for (std::int32_t column = 0; column < 4 * kDim; ++column) {
            all.push_back(
                read_cache(pages, layer, column / kDim % 2, slot, column % kDim, /*is_key=*/column < 2 * kDim));
          }
        }
      }
      return all;
    };
    const std::vector<float> before = contents();
    const auto place = [&](std::int32_t layer, KvSlot slot, std::int32_t column) {
      return static_cast<std::size_t>((layer * kSlots + slot) * 4 * kDim + column);
    };
    std::vector<KvSlot> source = slots;  // what each slot should hold now
    backend->device().copy_page(*cache, 1, 4);
    for (std::int32_t i = 0; i < 32; ++i) {
      source[static_cast<std::size_t>(128 + i)] = 32 + i;
    }
    // Out of order, across halves of a word, and a chain: 70 → 71 → 90.
    const std::vector<SlotMove> moves = {{3, 64}, {8, 65}, {100, 66}, {70, 71}, {71, 90}};
    backend->device().move_slots(*cache, moves);
    for (const SlotMove& move : moves) {
      source[static_cast<std::size_t>(move.to)] = source[static_cast<std::size_t>(move.from)];
    }
    const std::vector<float> after = contents();
    const float allowed = kv.kind == KvKind::kInt8 ? 250.0F / 127 / 2 * 1.001F : 0.0F;
    bool written = true;
    bool right = true;
    for (std::int32_t layer = 0; layer < 3; ++layer) {
      for (KvSlot slot = 0; slot < kSlots; ++slot) {
        for (std::int32_t column = 0; column < 4 * kDim; ++column) {
          const KvSlot from = source[static_cast<std::size_t>(slot)];
          written = written && std::abs(before[place(layer, slot, column)] - number(layer, slot, column)) <= allowed;
          right = right && after[place(layer, slot, column)] == before[place(layer, from, column)];
        }
      }
    }
    INFO(format_name(kv));
    CHECK(written);
    CHECK(right);
  }
}

TEST_CASE("a cache that cannot be is refused", "[kv]") {
  auto backend = cpu::make_cpu_backend({1}).value();
  const auto code = [&](const KvGeometry& geometry) {
    return backend->device().make_kv_cache(geometry).status().code();
  };
  CHECK(code({1, 1, 12, 16, 4, {KvKind::kBF16}}) == absl::StatusCode::kInvalidArgument);
  CHECK(code({1, 1, 264, 16, 4, {KvKind::kBF16}}) == absl::StatusCode::kInvalidArgument);
  CHECK(code({1, 1, 64, 8, 4, {KvKind::kBF16}}) == absl::StatusCode::kInvalidArgument);
  CHECK(code({1, 1, 64, 48, 4, {KvKind::kBF16}}) == absl::StatusCode::kInvalidArgument);
  CHECK(code({1, 1, 64, 16, 4, {KvKind::kF16}}) == absl::StatusCode::kInvalidArgument);
  CHECK(code({128, 128, 256, 128, 1 << 20, {KvKind::kF32}}) == absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace coppice::kernels
