// Rotation, per-head norm and the KV cache of the GPU on the emulator: queries against the CPU backend, keys and values
// against what the CPU computes for the same numbers, moves of slots in the order of their list.
#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "kernels/cuda/launch.h"
#include "tests/simt/device_matrix.h"

namespace coppice::kernels::test {
namespace {

struct Heads {
  std::int32_t query_heads;
  std::int32_t key_heads;
  std::int32_t head_dim;
  std::int32_t rotary_dim;
  bool has_norm;
};

constexpr KvGeometry geometry_of(const Heads& heads, ComputeType dtype) {
  return {.layers = 2,
          .key_heads = heads.key_heads,
          .head_dim = heads.head_dim,
          .page_size = 16,
          .pages = 3,
          .format = kv_format_of(dtype)};
}

float number_at(const std::byte* data, ComputeType dtype, std::int64_t i) {
  if (dtype == ComputeType::kF32) {
    return reinterpret_cast<const float*>(data)[i];
  }
  const std::uint16_t bits = reinterpret_cast<const std::uint16_t*>(data)[i];
  return dtype == ComputeType::kBF16 ? from_bf16(bits) : from_f16(bits);
}

// Keys rotate as queries do: the CPU is asked to rotate the row's K (and V, unrotated) as if they were queries.
struct Expected {
  Tensor query;
  Tensor keys;
};
Expected rotate_on_cpu(Backend& cpu, const Tensor& qkv, const Heads& heads, std::span<const std::int32_t> positions,
                       std::span<const KvSlot> slots, const RopeParameters& parameters, ComputeType dtype) {
  Expected expected{Tensor(dtype, qkv.rows, heads.query_heads * heads.head_dim),
                    Tensor(dtype, qkv.rows, heads.key_heads * heads.head_dim)};
  auto cache = cpu.device().make_kv_cache(geometry_of(heads, dtype)).value();
  Tensor rows = qkv;
  cpu.operations().rope_and_store(rows.matrix(), positions, slots, parameters, *cache, 1, expected.query.matrix());
  // [K, K, V]: the keys in the place of the queries.
  const std::int64_t keys = std::int64_t{heads.key_heads} * heads.head_dim;
  Tensor shifted(ComputeType::kF32, qkv.rows, 3 * keys);
  for (std::int64_t row = 0; row < qkv.rows; ++row) {
    for (std::int64_t i = 0; i < keys; ++i) {
      for (std::int64_t part = 0; part < 3; ++part) {
        shifted.set(row, part * keys + i, qkv.at(row, qkv.columns - 2 * keys + i));
      }
    }
  }
  RopeParameters as_queries = parameters;
  as_queries.query_heads = heads.key_heads;
  as_queries.query_norm = parameters.key_norm;
  cpu.operations().rope_and_store(shifted.matrix(), positions, slots, as_queries, *cache, 0, expected.keys.matrix());
  return expected;
}

TEST_CASE("rotation and storing are the CPU's") {
  const auto cpu = make_backend(1);
  for (const Heads& heads : {Heads{4, 2, 64, 64, false}, Heads{3, 3, 80, 80, true}, Heads{8, 1, 128, 64, true},
                             Heads{2, 1, 16, 0, false}, Heads{2, 2, 256, 256, false}}) {
    for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16, ComputeType::kF16}) {
      simt::Session session({.seed = 21});
      constexpr std::int64_t kTokens = 4;
      const std::int64_t columns = (heads.query_heads + 2 * heads.key_heads) * std::int64_t{heads.head_dim};
      Tensor qkv = random_tensor(ComputeType::kF32, kTokens, columns, 22);
      qkv.set(1, columns - 1, INFINITY);  // a value: stored finite
      const std::vector<std::int32_t> positions = {0, 1, 777, 100003};
      const std::vector<KvSlot> slots = {5, 47, 16, 0};
      const Tensor norms = random_tensor(ComputeType::kF32, 2, heads.head_dim, 23);
      std::vector<float> frequency(static_cast<std::size_t>(std::max(1, heads.rotary_dim / 2)));
      for (std::size_t i = 0; i < frequency.size(); ++i) {
        frequency[i] = std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(heads.head_dim));
      }
      const auto* norm_data = reinterpret_cast<const float*>(norms.bytes.data());
      RopeParameters parameters{.query_heads = heads.query_heads,
                                .key_heads = heads.key_heads,
                                .head_dim = heads.head_dim,
                                .rotary_dim = heads.rotary_dim,
                                .inverse_frequency = frequency.data(),
                                .attention_factor = 1.25F,
                                .query_norm = heads.has_norm ? norm_data : nullptr,
                                .key_norm = heads.has_norm ? norm_data + heads.head_dim : nullptr};
      // f16 is unknown to the CPU backend: f32 is the judge.
      const Expected expected = rotate_on_cpu(*cpu, qkv, heads, positions, slots, parameters,
                                              dtype == ComputeType::kF16 ? ComputeType::kF32 : dtype);

      DeviceMatrix device_qkv(qkv, 3);
      DeviceMatrix device_norms(norms);
      DeviceMatrix query(dtype, kTokens, heads.query_heads * heads.head_dim, 8);
      const simt::Buffer<std::int32_t> device_positions(std::span<const std::int32_t>(positions), "positions");
      const simt::Buffer<KvSlot> device_slots(std::span<const KvSlot>(slots), "slots");
      const simt::Buffer<float> device_frequency(std::span<const float>(frequency), "frequency");
      const cuda::KvLayout layout = cuda::kv_layout(geometry_of(heads, dtype));
      simt::Buffer<std::byte> cache(static_cast<std::size_t>(layout.elements()) * element_bytes(dtype), "cache");
      cache.zero();
      parameters.inverse_frequency = device_frequency.data();
      const auto* device_norm = static_cast<const float*>(device_norms.matrix().data);
      parameters.query_norm = heads.has_norm ? device_norm : nullptr;
      parameters.key_norm = heads.has_norm ? device_norm + heads.head_dim : nullptr;
      REQUIRE(cuda::launch_rope(device_qkv.matrix(), {device_positions.data(), positions.size()},
                                {device_slots.data(), slots.size()}, parameters, cache.data(), layout,
                                kv_format_of(dtype), 1, query.matrix(), {}) == 0);
      CHECK(session.report() == "");

      const double tolerance = dtype == ComputeType::kF32 ? 3e-6 : dtype == ComputeType::kBF16 ? 0x1.0p-7 : 0x1.0p-10;
      const double largest = dtype == ComputeType::kF16 ? 65504.0 : 3e38;
      INFO(heads.query_heads << "/" << heads.key_heads << " heads of " << heads.head_dim);
      CHECK(largest_difference(query.tensor(), expected.query) < tolerance);
      double worst_key = 0;
      double worst_value = 0;
      for (std::int64_t token = 0; token < kTokens; ++token) {
        for (std::int32_t head = 0; head < heads.key_heads; ++head) {
          for (std::int32_t i = 0; i < heads.head_dim; ++i) {
            const KvSlot slot = slots[static_cast<std::size_t>(token)];
            const double key =
                number_at(cache.data(), dtype, layout.token(1, slot, head, cuda::KvLayout::kPlaneKey) + i);
            const double value =
                number_at(cache.data(), dtype, layout.token(1, slot, head, cuda::KvLayout::kPlaneValue) + i);
            const double want = expected.keys.at(token, head * heads.head_dim + i);
            worst_key = std::max(worst_key, std::abs(key - want) / std::max(1.0, std::abs(want)));
            const std::int64_t column = columns - (heads.key_heads - head) * std::int64_t{heads.head_dim} + i;
            const double given = qkv.at(token, column);
            worst_value =
                std::max(worst_value, std::isinf(given) ? (value >= largest && std::isfinite(value) ? 0.0 : 1.0)
                                                        : std::abs(value - given) / std::max(1.0, std::abs(given)));
          }
        }
      }
      CHECK(worst_key < tolerance);
      CHECK(worst_value <= (dtype == ComputeType::kF32 ? 0.0 : dtype == ComputeType::kBF16 ? 0x1.0p-8 : 0x1.0p-11));
    }
  }
}

TEST_CASE("a row without a slot stores nothing, and its query is rotated") {
  const auto cpu = make_backend(1);
  const Heads heads{4, 2, 64, 0, false};
  const KvGeometry geometry = geometry_of(heads, ComputeType::kF32);
  const Tensor qkv = random_tensor(ComputeType::kF32, 3, 8 * 64, 26);
  const std::vector<std::int32_t> positions = {0, 0, 3};
  const std::vector<KvSlot> slots = {kNoSlot, 18, kNoSlot};
  RopeParameters parameters{.query_heads = 4, .key_heads = 2, .head_dim = 64};
  simt::Session session({.seed = 27});
  DeviceMatrix device_qkv(qkv, 0);
  DeviceMatrix query(ComputeType::kF32, 3, 4 * 64, 0);
  const simt::Buffer<std::int32_t> device_positions(std::span<const std::int32_t>(positions), "positions");
  const simt::Buffer<KvSlot> device_slots(std::span<const KvSlot>(slots), "slots");
  const cuda::KvLayout layout = cuda::kv_layout(geometry);
  simt::Buffer<float> cache(static_cast<std::size_t>(layout.elements()), "cache");
  cache.zero();
  REQUIRE(cuda::launch_rope(device_qkv.matrix(), {device_positions.data(), 3}, {device_slots.data(), 3}, parameters,
                            cache.data(), layout, {KvKind::kF32}, 1, query.matrix(), {}) == 0);
  CHECK(session.report() == "");
  std::size_t stored = 0;
  for (std::size_t i = 0; i < cache.size(); ++i) {
    stored += cache[i] != 0.0F ? 1U : 0U;
  }
  CHECK(stored == 2 * 2 * 64);

  Tensor rows = qkv;
  Tensor rotated(ComputeType::kF32, 3, 4 * 64);
  const auto target = cpu->device().make_kv_cache(geometry).value();
  cpu->operations().rope_and_store(rows.matrix(), positions, slots, parameters, *target, 1, rotated.matrix());
  CHECK(query.tensor().bytes == rotated.bytes);
}

TEST_CASE("slots are moved in the order of the list, in every layer and head, and nothing else is") {
  for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16}) {
    simt::Session session({.seed = 24});
    const KvGeometry geometry = geometry_of({2, 2, 80, 80, false}, dtype);
    const cuda::KvLayout layout = cuda::kv_layout(geometry);
    const auto elements = static_cast<std::size_t>(layout.elements());
    const Tensor before = random_tensor(dtype, 1, layout.elements(), 25);
    simt::Buffer<std::byte> cache(elements * element_bytes(dtype), "cache");
    std::memcpy(cache.data(), before.bytes.data(), before.bytes.size());
    const std::vector<KvSlot> moves = {3, 17, 17, 40, 40, 2, 5, 17};
    const simt::Buffer<KvSlot> device_moves(std::span<const KvSlot>(moves), "moves");
    REQUIRE(cuda::launch_move_slots(cache.data(), layout, kv_format_of(dtype), device_moves.data(), 4, {}) == 0);
    CHECK(session.report() == "");

    std::vector<KvSlot> source(static_cast<std::size_t>(geometry.pages * geometry.page_size));
    std::iota(source.begin(), source.end(), 0);
    for (std::size_t i = 0; i < moves.size(); i += 2) {
      source[static_cast<std::size_t>(moves[i + 1])] = source[static_cast<std::size_t>(moves[i])];
    }
    std::int64_t wrong = 0;
    for (std::int32_t layer = 0; layer < geometry.layers; ++layer) {
      for (std::int32_t head = 0; head < geometry.key_heads; ++head) {
        for (std::size_t slot = 0; slot < source.size(); ++slot) {
          for (const std::int32_t which : {0, 1}) {
            const std::int64_t now = layout.token(layer, static_cast<KvSlot>(slot), head, which);
            const std::int64_t then = layout.token(layer, source[slot], head, which);
            for (std::int32_t i = 0; i < geometry.head_dim; ++i) {
              wrong += number_at(cache.data(), dtype, now + i) != before.at(0, then + i) ? 1 : 0;
            }
          }
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a page is copied in every layer, and nothing else is") {
  for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16}) {
    for (const std::int32_t head_dim : {80, 256}) {  // parts of a span of words, and several spans
      simt::Session session({.seed = 28});
      const KvGeometry geometry = geometry_of({3, 3, head_dim, 0, false}, dtype);
      const cuda::KvLayout layout = cuda::kv_layout(geometry);
      const Tensor before = random_tensor(dtype, 1, layout.elements(), 29);
      simt::Buffer<std::byte> cache(before.bytes.size(), "cache");
      std::memcpy(cache.data(), before.bytes.data(), before.bytes.size());
      REQUIRE(cuda::launch_copy_page(cache.data(), layout, kv_format_of(dtype), 2, 0, {}) == 0);
      CHECK(session.report() == "");

      std::vector<std::byte> expected(before.bytes.begin(), before.bytes.end());
      const std::size_t page = static_cast<std::size_t>(layout.page_elements()) * element_bytes(dtype);
      for (std::size_t layer = 0; layer < static_cast<std::size_t>(geometry.layers); ++layer) {
        std::memcpy(expected.data() + layer * 3 * page, before.bytes.data() + (layer * 3 + 2) * page, page);
      }
      CHECK(std::memcmp(cache.data(), expected.data(), expected.size()) == 0);
    }
  }
}

// Three pages of a cache behind `first_page` others, of all layers, once two rows have been stored in them, a slot
// moved and a page copied.
std::vector<std::byte> written_pages(PageId first_page) {
  constexpr ComputeType kType = ComputeType::kBF16;
  simt::Session session({.seed = 30});
  KvGeometry geometry = geometry_of({2, 2, 128, 128, false}, kType);
  geometry.pages += first_page;
  const cuda::KvLayout layout = cuda::kv_layout(geometry);
  simt::Buffer<std::byte> cache(static_cast<std::size_t>(layout.elements()) * element_bytes(kType), "cache");
  const auto page_bytes = static_cast<std::size_t>(layout.page_elements()) * element_bytes(kType);
  const auto place_of = [&](std::int32_t layer) {
    return cache.data() + static_cast<std::size_t>(layout.plane(layer, first_page, 0, 0)) * element_bytes(kType);
  };
  for (const std::int32_t layer : {0, 1}) {
    std::memset(place_of(layer), 0, 3 * page_bytes);
  }
  const KvSlot first = first_page * geometry.page_size;
  DeviceMatrix qkv(random_tensor(ComputeType::kF32, 2, 6 * 128, 31));
  DeviceMatrix query(kType, 2, 2 * 128);
  const std::vector<float> frequencies(64, 0.5F);
  const simt::Buffer<float> frequency(std::span<const float>(frequencies), "frequency");
  const std::vector<std::int32_t> places = {7, 900, first + 5, first + 47, first + 5, first + 20};
  const simt::Buffer<std::int32_t> words(std::span<const std::int32_t>(places), "positions, slots and a move");
  const RopeParameters parameters{
      .query_heads = 2, .key_heads = 2, .head_dim = 128, .rotary_dim = 128, .inverse_frequency = frequency.data()};
  REQUIRE(cuda::launch_rope(qkv.matrix(), {words.data(), 2}, {words.data() + 2, 2}, parameters, cache.data(), layout,
                            kv_format_of(kType), 1, query.matrix(), {}) == 0);
  REQUIRE(cuda::launch_move_slots(cache.data(), layout, kv_format_of(kType), words.data() + 4, 1, {}) == 0);
  REQUIRE(cuda::launch_copy_page(cache.data(), layout, kv_format_of(kType), first_page + 2, first_page + 0, {}) == 0);
  CHECK(session.report() == "");
  std::vector<std::byte> pages;
  for (const std::int32_t layer : {0, 1}) {
    pages.insert(pages.end(), place_of(layer), place_of(layer) + 3 * page_bytes);
  }
  return pages;
}

TEST_CASE("pages behind 2^31 elements are written like others") {
  const std::vector<std::byte> near = written_pages(0);
  CHECK(std::ranges::count(near, std::byte{0}) < std::ssize(near) - 3 * 1000);  // three slots of 1,024 bytes
  CHECK((written_pages(300000) == near));                                       // of 8,192 elements each
}

}  // namespace
}  // namespace coppice::kernels::test
