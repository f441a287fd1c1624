// Rows of the row-wise operations shared out to the team; the work on one row is elementwise_body.cc.
#include "kernels/cpu/elementwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/elementwise_body.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/host/convert_body.h"
#include "kernels/host/parallel.h"
#include "kernels/quantised_blocks.h"

namespace coppice::kernels::cpu {

namespace {

std::byte* row_of(const Matrix& matrix, std::int64_t row) {
  return static_cast<std::byte*>(matrix.data) + matrix.offset(row);
}

// Bytes of copying that cost about as much as an exponential and a division. Chosen, not measured.
constexpr std::int64_t kSwigluBytes = 16;

constexpr std::int32_t kHeadDimMax = 256;   // as the KV cache's (kv_cache.cc)
constexpr std::int64_t kAngleGrain = 2048;  // sines per thread, at least; chosen, not measured

constexpr float kInt8ValueMost = 0x1.fffff0p127F;  // 127 times its scale, rounded, is still finite

// Cosines and sines of one list of positions. A value.
struct AngleTable {
  std::vector<std::int32_t> positions;
  std::vector<float> inverse_frequency;
  float factor = 0;
  std::vector<float> cosine_sine;  // [tokens][cosines, sines]

  bool matches(std::span<const std::int32_t> wanted, const RopeParameters& parameters) const {
    const std::span frequency(parameters.inverse_frequency, static_cast<std::size_t>(parameters.rotary_dim / 2));
    return factor == parameters.attention_factor && std::ranges::equal(positions, wanted) &&
           std::ranges::equal(inverse_frequency, frequency);
  }
};

// Returns the nearest finite number: a masked value times zero must be zero (kv_cache.h).
std::uint16_t finite_bf16(std::uint16_t bits) {
  return (bits & 0x7F80U) == 0x7F80U ? static_cast<std::uint16_t>((bits & 0x8000U) | 0x7F7FU) : bits;
}
float finite_f32(float value) {
  return std::isfinite(value) ? value : std::copysign(3.402823466e38F, value);
}

}  // namespace

void embed(const CpuContext& context, std::span<const TokenId> tokens, const Table& table, const Matrix& out) {
  const ConvertBody& body = COPPICE_SELECT_BODY(context.isa, convert_body);
  const auto rows = static_cast<std::int64_t>(tokens.size());
  const std::optional<ComputeType> type = dense_type(table.format);
  parallel_rows(context.threads, rows, 4 * table.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::byte* const from = table.row(tokens[static_cast<std::size_t>(row)]);
      auto* const to = reinterpret_cast<float*>(row_of(out, row));
      if (type) {
        body.to_f32(from, *type, table.columns, to);
      } else {
        const HostWeight blocks{{from, table.format.bytes(1, table.columns)}, table.format, 1, table.columns, {}};
        dequantize(blocks, 0, {to, static_cast<std::size_t>(table.columns)});
      }
    }
  });
}

void rms_norm(const CpuContext& context, const Matrix& x, const float* weight, float epsilon, const Matrix& out) {
  const ElementwiseBody& body = COPPICE_SELECT_BODY(context.isa, elementwise_body);
  parallel_rows(context.threads, x.rows, 8 * x.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      body.rms_norm(reinterpret_cast<const float*>(row_of(x, row)), weight, epsilon, x.columns, row_of(out, row),
                    out.dtype);
    }
  });
}

void swiglu(const CpuContext& context, const Matrix& gate_up, const Matrix& out) {
  const ElementwiseBody& body = COPPICE_SELECT_BODY(context.isa, elementwise_body);
  const std::int64_t half = gate_up.offset(0, out.columns);  // bytes from gate to up
  parallel_rows(context.threads, out.rows, kSwigluBytes * out.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::byte* gate = row_of(gate_up, row);
      body.swiglu(gate, gate + half, gate_up.dtype, out.columns, row_of(out, row), out.dtype);
    }
  });
}

void gather_rows(const CpuContext& context, const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::size_t bytes = static_cast<std::size_t>(in.columns) * sizeof(float);
  parallel_rows(context.threads, count, 4 * in.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      std::memcpy(row_of(out, row), row_of(in, rows[static_cast<std::size_t>(row)]), bytes);
    }
  });
}

struct CpuRope::State {
  explicit State(const CpuContext& given)
      : context(given),
        body(COPPICE_SELECT_BODY(given.isa, elementwise_body)),
        convert(COPPICE_SELECT_BODY(given.isa, convert_body)) {}

  CpuContext context;
  const ElementwiseBody& body;
  const ConvertBody& convert;
  // One per kind of rope in a model (local and global layers); replaced in turns.
  std::array<AngleTable, 2> tables;
  std::size_t next_table = 0;

  const AngleTable& table_for(std::span<const std::int32_t> positions, const RopeParameters& parameters);
  void store_heads(const float* row, KvSlot slot, const float* cosine_sine, const RopeParameters& parameters,
                   CpuKvCache& cache, std::int32_t layer) const;
  // Writes K and V of one token and head to words of the head's pages.
  static void store_f32(const KvLayout& layout, const SlotPlace& place, const float* key, const float* value,
                        std::uint32_t* pages);
  void store_bf16(const KvLayout& layout, const SlotPlace& place, const float* key, const float* value,
                  std::uint32_t* pages) const;
  void store_int8(const KvLayout& layout, const SlotPlace& place, const float* key, const float* value,
                  std::uint32_t* pages) const;
  void write_query(const float* row, const float* cosine_sine, const RopeParameters& parameters, ComputeType type,
                   std::uint8_t* out) const;
};

CpuRope::CpuRope(const CpuContext& context) : state_(std::make_unique<State>(context)) {}
CpuRope::~CpuRope() = default;

const AngleTable& CpuRope::State::table_for(std::span<const std::int32_t> positions, const RopeParameters& parameters) {
  for (const AngleTable& table : tables) {
    if (table.matches(positions, parameters)) {
      return table;
    }
  }
  AngleTable& table = tables[next_table];
  next_table = (next_table + 1) % tables.size();
  const std::int64_t half = parameters.rotary_dim / 2;
  table.positions.assign(positions.begin(), positions.end());
  table.inverse_frequency.assign(parameters.inverse_frequency, parameters.inverse_frequency + half);
  table.factor = parameters.attention_factor;
  table.cosine_sine.resize(positions.size() * static_cast<std::size_t>(2 * half));
  const std::int64_t grain = std::max<std::int64_t>(1, kAngleGrain / std::max<std::int64_t>(1, half));
  const auto count = static_cast<std::int64_t>(positions.size());
  parallel_for(context.threads, count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      float* row = table.cosine_sine.data() + token * 2 * half;
      for (std::int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions[static_cast<std::size_t>(token)]) *
                            table.inverse_frequency[static_cast<std::size_t>(i)];
        row[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * table.factor;
        row[half + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * table.factor;
      }
    }
  });
  return table;
}

// Writes K and V of one token, all heads.
void CpuRope::State::store_heads(const float* row, KvSlot slot, const float* cosine_sine,
                                 const RopeParameters& parameters, CpuKvCache& cache, std::int32_t layer) const {
  const KvLayout& layout = cache.layout();
  const std::int32_t head_dim = layout.head_dim;
  const SlotPlace place = layout.place(slot);
  for (std::int32_t head = 0; head < parameters.key_heads; ++head) {
    const float* key = row + (parameters.query_heads + head) * head_dim;
    const float* value = key + parameters.key_heads * head_dim;
    std::uint32_t* pages = cache.head(layer, head);
    std::array<float, kHeadDimMax> rotated;
    body.rotate(key, parameters.key_norm, parameters.norm_epsilon, cosine_sine, parameters.rotary_dim, head_dim,
                rotated.data());
    switch (layout.format.kind) {
      case KvKind::kF32:
        store_f32(layout, place, rotated.data(), value, pages);
        break;
      case KvKind::kBF16:
        store_bf16(layout, place, rotated.data(), value, pages);
        break;
      case KvKind::kInt8:
        store_int8(layout, place, rotated.data(), value, pages);
        break;
      case KvKind::kF16:
        COPPICE_CHECK(false, "rope: no KV cache on the CPU is in f16");
    }
  }
}

void CpuRope::State::store_f32(const KvLayout& layout, const SlotPlace& place, const float* key, const float* value,
                               std::uint32_t* pages) {
  for (std::int32_t dim = 0; dim < layout.head_dim; ++dim) {
    std::memcpy(pages + place.key + dim * kBlockKeys, key + dim, sizeof(float));
    const float finite = finite_f32(value[dim]);
    std::memcpy(pages + place.value + dim, &finite, sizeof finite);
  }
}

void CpuRope::State::store_bf16(const KvLayout& layout, const SlotPlace& place, const float* key, const float* value,
                                std::uint32_t* pages) const {
  std::array<std::uint16_t, kHeadDimMax> halves;
  convert.to_bf16(key, ComputeType::kF32, layout.head_dim, halves.data());
  for (std::int32_t step = 0; step < layout.steps; ++step) {
    std::memcpy(pages + place.key + step * kBlockKeys, &halves[static_cast<std::size_t>(layout.per_word * step)],
                kWordBytes);
  }
  convert.to_bf16(value, ComputeType::kF32, layout.head_dim, halves.data());
  auto* bytes = reinterpret_cast<std::uint8_t*>(pages + place.value) + place.value_byte;
  for (std::int32_t dim = 0; dim < layout.head_dim; ++dim) {
    const std::uint16_t finite = finite_bf16(halves[static_cast<std::size_t>(dim)]);
    std::memcpy(bytes + dim * kWordBytes, &finite, sizeof finite);
  }
}

void CpuRope::State::store_int8(const KvLayout& layout, const SlotPlace& place, const float* key, const float* value,
                                std::uint32_t* pages) const {
  std::array<std::int8_t, kHeadDimMax> bytes;
  const float key_scale = body.quantise(key, layout.head_dim, bytes.data());
  std::memcpy(pages + place.key_scale, &key_scale, sizeof key_scale);
  for (std::int32_t step = 0; step < layout.steps; ++step) {
    std::memcpy(pages + place.key + step * kBlockKeys, &bytes[static_cast<std::size_t>(layout.per_word * step)],
                kWordBytes);
  }
  std::array<float, kHeadDimMax> finite;
  std::transform(value, value + layout.head_dim, finite.begin(),
                 [](float number) { return std::clamp(finite_f32(number), -kInt8ValueMost, kInt8ValueMost); });
  const float value_scale = body.quantise(finite.data(), layout.head_dim, bytes.data());
  std::memcpy(pages + place.value_scale, &value_scale, sizeof value_scale);
  auto* target = reinterpret_cast<std::int8_t*>(pages + place.value) + place.value_byte;
  for (std::int32_t dim = 0; dim < layout.head_dim; ++dim) {
    target[dim * kWordBytes] = bytes[static_cast<std::size_t>(dim)];
  }
}

void CpuRope::State::write_query(const float* row, const float* cosine_sine, const RopeParameters& parameters,
                                 ComputeType type, std::uint8_t* out) const {
  const std::int32_t head_dim = parameters.head_dim;
  for (std::int32_t head = 0; head < parameters.query_heads; ++head) {
    std::array<float, kHeadDimMax> rotated;
    body.rotate(row + head * head_dim, parameters.query_norm, parameters.norm_epsilon, cosine_sine,
                parameters.rotary_dim, head_dim, rotated.data());
    std::uint8_t* place = out + static_cast<std::size_t>(head * head_dim) * element_bytes(type);
    switch (type) {
      case ComputeType::kF32:
        std::memcpy(place, rotated.data(), static_cast<std::size_t>(head_dim) * sizeof(float));
        break;
      case ComputeType::kBF16:
        convert.to_bf16(rotated.data(), ComputeType::kF32, head_dim, reinterpret_cast<std::uint16_t*>(place));
        break;
      case ComputeType::kF16:
        COPPICE_CHECK(false, "rope: no query on the CPU is in f16");
    }
  }
}

void CpuRope::rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                             const RopeParameters& parameters, KvCache& cache, std::int32_t layer,
                             const Matrix& query_out) {
  State& state = *state_;
  CpuKvCache& target = static_cast<CpuKvCache&>(cache);
  COPPICE_CHECK(parameters.head_dim <= kHeadDimMax, "rope: head_dim");
  const AngleTable& table = state.table_for(positions, parameters);
  const std::int64_t row_bytes = qkv.columns * static_cast<std::int64_t>(sizeof(float));
  parallel_rows(state.context.threads, qkv.rows, row_bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      const float* row = static_cast<const float*>(qkv.data) + token * qkv.stride;
      const float* cosine_sine = table.cosine_sine.data() + token * parameters.rotary_dim;
      if (const KvSlot slot = slots[static_cast<std::size_t>(token)]; slot != kNoSlot) {
        state.store_heads(row, slot, cosine_sine, parameters, target, layer);
      }
      std::uint8_t* out = static_cast<std::uint8_t*>(query_out.data) + query_out.offset(token);
      state.write_query(row, cosine_sine, parameters, query_out.dtype, out);
    }
  });
}

}  // namespace coppice::kernels::cpu
