// Inner loops of products with quantised weights. Compiled once per instruction set (isa.h).
#include "kernels/cpu/quantised_body.h"

#include "kernels/host/simd_half.h"
#include "kernels/host/simd_int.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

constexpr int kVectors = static_cast<int>(kQuantisedPanel / kLanes);  // of a panel's features

// Rows of a tile. Whole sums and float sums of all of them stay in registers: with AVX-512 24 of 32; with AVX2 a row
// alone fills eight of 16, and more rows are worth their spilling since they share the unpacking of weights.
#if defined(__AVX512F__)
constexpr int kRowsMax = 6;  // rows
#else
constexpr int kRowsMax = 2;  // rows
#endif

// Columns that all tiles of rows multiply before the next columns: in 8 bits 8 KiB of a panel, which stay in the
// first-level cache beside 48 rows.
constexpr std::int64_t kSlab = 256;  // columns

// Bytes ahead of those in use that a single tile fetches into the second-level cache. The hardware's own fetching loses
// its way between scales and numbers. Measured on a Zen 4: weights of 8 bits are read at a third less from 5 KiB on,
// those of 4 bits at a fifth less below 4 KiB. Of several tiles each fetches a part of the next slab.
template <int kBits>
constexpr std::int64_t kAhead = kBits == 8 ? 3072 : 8192;  // bytes
constexpr std::int64_t kLine = 64;                         // bytes of a cache line

// The part of a slab's fetching that one tile does while it multiplies: some lines at each block of columns. All bytes
// of a panel must come by: a chunk's scales left out cost a quarter of the rate of Q4_K.
struct Fetch {
  const std::byte* at = nullptr;
  std::int64_t lines = 0;  // a block
};

COPPICE_INLINE void fetch_lines(Fetch& fetch) {
  for (std::int64_t line = 0; line < fetch.lines; ++line, fetch.at += kLine) {
    __builtin_prefetch(fetch.at, /*rw=*/0, /*locality=*/2);
  }
}

template <int kRows>
struct Sums {
  I32x16 whole[kRows][kVectors];
  F32x16 chain[kRows][kVectors];
};

COPPICE_INLINE std::int32_t four_bytes(const std::int8_t* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

template <ByteRange kRange, int kRows>
COPPICE_INLINE void add_step(const QuantisedTask& task, const std::int8_t* values, const I32x16 (&bytes)[kVectors],
                             Sums<kRows>& sums) {
  for (int row = 0; row < kRows; ++row) {
    const std::int32_t others = four_bytes(values + row * task.in.value_stride);
    for (int vector = 0; vector < kVectors; ++vector) {
      sums.whole[row][vector] = add_byte_products<kRange>(sums.whole[row][vector], bytes[vector], others);
    }
  }
}

// The upper bits of line kLine's lower and upper halves, in their place. `upper`: the lines after those of four bits.
template <int kBits, int kLine, bool kHighHalf>
COPPICE_INLINE I32x16 upper_bits(const std::byte* upper, int vector) {
  if constexpr (kBits == 5) {
    constexpr int kStep = 2 * kLine + (kHighHalf ? 1 : 0);  // of four columns
    const I32x16 word = load_words_i32(upper + vector * 64);
    const I32x16 bits = bit_and(shift_right<kStep>(word), broadcast_i32(0x01010101));
    return shift_left<4>(bits);
  } else {
    constexpr int kShift = 4 * (kLine % 2) + (kHighHalf ? 2 : 0);  // bits
    const I32x16 word = load_words_i32(upper + (kLine / 2) * kVectors * 64 + vector * 64);
    const I32x16 bits = bit_and(shift_right<kShift>(word), broadcast_i32(0x03030303));
    return shift_left<4>(bits);
  }
}

// Eight columns.
template <int kBits, int kLine, int kRows>
COPPICE_INLINE void add_line(const QuantisedTask& task, const std::byte* numbers, const std::int8_t* values,
                             Sums<kRows>& sums) {
  I32x16 bytes[kVectors];
  if constexpr (kBits == 8) {
    for (int half = 0; half < 2; ++half) {
      for (int vector = 0; vector < kVectors; ++vector) {
        bytes[vector] = load_words_i32(numbers + ((2 * kLine + half) * kVectors + vector) * 64);
      }
      add_step<ByteRange::kAll>(task, values + 8 * kLine + 4 * half, bytes, sums);
    }
  } else {
    const I32x16 mask = broadcast_i32(0x0F0F0F0F);
    const std::byte* const upper = numbers + 4 * kVectors * 64;
    I32x16 words[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      words[vector] = load_words_i32(numbers + (kLine * kVectors + vector) * 64);
      bytes[vector] = bit_and(words[vector], mask);
      if constexpr (kBits > 4) {
        bytes[vector] = bit_or(bytes[vector], upper_bits<kBits, kLine, false>(upper, vector));
      }
    }
    add_step<ByteRange::kBelow64>(task, values + 8 * kLine, bytes, sums);
    for (int vector = 0; vector < kVectors; ++vector) {
      bytes[vector] = bit_and(shift_right<4>(words[vector]), mask);
      if constexpr (kBits > 4) {
        bytes[vector] = bit_or(bytes[vector], upper_bits<kBits, kLine, true>(upper, vector));
      }
    }
    add_step<ByteRange::kBelow64>(task, values + 8 * kLine + 4, bytes, sums);
  }
}

// A chunk's own scales, for the kinds that have them.
struct ChunkScales {
  F32x16 scale[kVectors];
  F32x16 least[kVectors];  // negative
};

template <ScaleKind kScales>
COPPICE_INLINE ChunkScales load_chunk_scales(const std::byte* scales) {
  ChunkScales chunk;
  for (int vector = 0; vector < kVectors; ++vector) {
    if constexpr (kScales == ScaleKind::kSuper || kScales == ScaleKind::kSuperPair) {
      chunk.scale[vector] = load_f16(reinterpret_cast<const std::uint16_t*>(scales) + vector * kLanes);
    }
    if constexpr (kScales == ScaleKind::kSuperPair) {
      const auto* leasts = reinterpret_cast<const std::uint16_t*>(scales) + kQuantisedPanel;
      chunk.least[vector] = subtract(zero(), load_f16(leasts + vector * kLanes));
    }
  }
  return chunk;
}

struct GroupScales {
  F32x16 scale;
  F32x16 least;
};

template <ScaleKind kScales>
COPPICE_INLINE GroupScales load_group_scales(const std::byte* scales, const ChunkScales& chunk, std::int64_t group,
                                             int vector) {
  const std::int64_t lane = vector * kLanes;
  GroupScales out;
  if constexpr (kScales == ScaleKind::kHalf) {
    out.scale = load_f16(reinterpret_cast<const std::uint16_t*>(scales) + lane);
  } else if constexpr (kScales == ScaleKind::kHalfPair) {
    const auto* fields = reinterpret_cast<const std::uint16_t*>(scales) + lane;
    out.scale = load_f16(fields);
    out.least = load_f16(fields + kQuantisedPanel);
  } else if constexpr (kScales == ScaleKind::kFloat) {
    out.scale = load(reinterpret_cast<const float*>(scales) + lane);
  } else if constexpr (kScales == ScaleKind::kFloatPair) {
    const auto* fields = reinterpret_cast<const float*>(scales) + lane;
    out.scale = load(fields);
    out.least = load(fields + kQuantisedPanel);
  } else if constexpr (kScales == ScaleKind::kSuperPair) {
    const std::byte* const fields = scales + 4 * kQuantisedPanel + group * kQuantisedPanel + lane;
    out.scale = multiply(chunk.scale[vector], load_unsigned_bytes(fields));
    out.least = multiply(chunk.least[vector], load_unsigned_bytes(fields + 8 * kQuantisedPanel));
  } else {
    const std::byte* const fields = scales + 2 * kQuantisedPanel + group * kQuantisedPanel + lane;
    out.scale = multiply(chunk.scale[vector], load_signed_bytes(fields));
  }
  return out;
}

template <ScaleKind kScales, int kRows>
COPPICE_INLINE void begin_unit(const QuantisedTask& task, std::int64_t row_begin, std::int64_t unit,
                               Sums<kRows>& sums) {
  for (int row = 0; row < kRows; ++row) {
    const std::int32_t begin = has_least(kScales) ? 0 : task.in.offsets[(row_begin + row) * task.in.unit_stride + unit];
    for (int vector = 0; vector < kVectors; ++vector) {
      sums.whole[row][vector] = broadcast_i32(begin);
    }
  }
}

template <ScaleKind kScales, int kRows>
COPPICE_INLINE void end_unit(const QuantisedTask& task, std::int64_t row_begin, std::int64_t unit,
                             const std::byte* scales, const ChunkScales& chunk, std::int64_t group, Sums<kRows>& sums) {
  for (int vector = 0; vector < kVectors; ++vector) {
    const GroupScales own = load_group_scales<kScales>(scales, chunk, group, vector);
    for (int row = 0; row < kRows; ++row) {
      const std::int64_t at = (row_begin + row) * task.in.unit_stride + unit;
      F32x16& chain = sums.chain[row][vector];
      const F32x16 factor = broadcast(task.in.scales[at]);
      const F32x16 scale = scales_chunks(kScales) ? factor : multiply(own.scale, factor);
      chain = multiply_add(to_floats(sums.whole[row][vector]), scale, chain);
      if constexpr (has_least(kScales)) {
        chain = multiply_add(own.least, broadcast(__builtin_bit_cast(float, task.in.offsets[at])), chain);
      }
    }
  }
}

// A chunk's sums, times its only scale, added to those of the chunks before it.
template <ScaleKind kScales, int kRows>
COPPICE_INLINE void end_chunk(float* out, const std::byte* scales, const Sums<kRows>& sums) {
  for (int vector = 0; vector < kVectors; ++vector) {
    const F32x16 scale = load(reinterpret_cast<const float*>(scales) + vector * kLanes);
    for (int row = 0; row < kRows; ++row) {
      float* const at = out + row * kQuantisedPanel + vector * kLanes;
      store(at, multiply_add(sums.chain[row][vector], scale, load(at)));
    }
  }
}

// Columns of an exact sum: those that share a weight's scale and an activation's.
template <ScaleKind kScales>
constexpr std::int64_t kUnit = kScales == ScaleKind::kSuper ? 16 : kQuantisedBlock;  // columns

// Whole chunks of a panel: at most kSlab columns, or one chunk.
struct Slab {
  std::int64_t begin = 0;  // columns
  std::int64_t end = 0;
  const std::byte* at = nullptr;
  std::int64_t bytes = 0;
};

// kRows rows from row_begin on times a slab, added to the sums in task.out.
template <int kBits, ScaleKind kScales, int kRows>
void slab_tile(const QuantisedTask& task, const Slab& slab, std::int64_t row_begin, Fetch fetch) {
  Sums<kRows> sums;
  float* const out = task.out + row_begin * kQuantisedPanel;
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      float* const at = out + row * kQuantisedPanel + vector * kLanes;
      if (slab.begin == 0) {
        store(at, zero());
      }
      sums.chain[row][vector] = load(at);
    }
  }
  const std::int8_t* values = task.in.values + row_begin * task.in.value_stride + slab.begin;
  const std::byte* numbers = slab.at;
  std::int64_t unit = slab.begin / kUnit<kScales>;
  for (std::int64_t chunk_begin = slab.begin; chunk_begin < slab.end; chunk_begin += task.chunk) {
    const std::int64_t left = slab.end - chunk_begin;
    const std::int64_t columns = left < task.chunk ? left : task.chunk;
    const std::byte* const scales = numbers;
    numbers += quantised_scale_bytes(kScales);
    const ChunkScales chunk = load_chunk_scales<kScales>(scales);
    if constexpr (scales_chunks(kScales)) {
      for (auto& row : sums.chain) {
        for (F32x16& chain : row) {
          chain = zero();
        }
      }
    }
    for (std::int64_t block = 0; block < columns / kQuantisedBlock; ++block) {
      fetch_lines(fetch);
      begin_unit<kScales>(task, row_begin, unit, sums);
      add_line<kBits, 0>(task, numbers, values, sums);
      add_line<kBits, 1>(task, numbers, values, sums);
      if constexpr (kScales == ScaleKind::kSuper) {
        end_unit<kScales>(task, row_begin, unit, scales, chunk, 2 * block, sums);
        ++unit;
        begin_unit<kScales>(task, row_begin, unit, sums);
      }
      add_line<kBits, 2>(task, numbers, values, sums);
      add_line<kBits, 3>(task, numbers, values, sums);
      end_unit<kScales>(task, row_begin, unit, scales, chunk, kScales == ScaleKind::kSuper ? 2 * block + 1 : block,
                        sums);
      ++unit;
      numbers += quantised_number_bytes(kBits, kQuantisedBlock);
      values += kQuantisedBlock;
    }
    if constexpr (scales_chunks(kScales)) {
      end_chunk<kScales>(out, scales, sums);
    }
  }
  if constexpr (scales_chunks(kScales)) {
    return;
  }
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      store(out + row * kQuantisedPanel + vector * kLanes, sums.chain[row][vector]);
    }
  }
}

template <int kBits, ScaleKind kScales>
void slab_rows(const QuantisedTask& task, const Slab& slab, std::int64_t row, std::int64_t rows, Fetch fetch) {
  if constexpr (kRowsMax > 2) {
    switch (rows) {
      case 6:
        return slab_tile<kBits, kScales, 6>(task, slab, row, fetch);
      case 5:
        return slab_tile<kBits, kScales, 5>(task, slab, row, fetch);
      case 4:
        return slab_tile<kBits, kScales, 4>(task, slab, row, fetch);
      case 3:
        return slab_tile<kBits, kScales, 3>(task, slab, row, fetch);
      default:
        break;
    }
  }
  return rows == 2 ? slab_tile<kBits, kScales, 2>(task, slab, row, fetch)
                   : slab_tile<kBits, kScales, 1>(task, slab, row, fetch);
}

template <int kBits, ScaleKind kScales>
void panel(const QuantisedTask& task) {
  const std::int64_t width = task.chunk < kSlab ? kSlab / task.chunk * task.chunk : task.chunk;
  const std::int64_t tiles = (task.rows + kRowsMax - 1) / kRowsMax;
  Slab slab{.at = task.panel};
  for (; slab.begin < task.columns; slab.begin = slab.end, slab.at += slab.bytes) {
    slab.end = slab.begin + width < task.columns ? slab.begin + width : task.columns;
    const std::int64_t columns = slab.end - slab.begin;
    slab.bytes = (columns + task.chunk - 1) / task.chunk * quantised_scale_bytes(kScales) +
                 quantised_number_bytes(kBits, columns);
    const std::int64_t blocks = columns / kQuantisedBlock;
    const std::byte* const ahead = slab.at + (tiles == 1 ? kAhead<kBits> : slab.bytes);
    std::int64_t row = 0;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t rows = (task.rows - row + tiles - tile - 1) / (tiles - tile);
      const std::int64_t share = slab.bytes / tiles;
      slab_rows<kBits, kScales>(task, slab, row, rows, {ahead + tile * share, (share / kLine + blocks) / blocks});
      row += rows;
    }
  }
}

// --- activations ---

constexpr std::int32_t kInfinity = 0x7F800000;  // its bits
constexpr float kLargest = 127.0F;              // of a value
// Below it a group counts as zeros: its inverse would be infinite.
constexpr float kSmallest = 1e-30F;

void quantise(const QuantisingTask& task) {
  static_assert(kQuantisedBlock == 2 * kLanes);
  std::int64_t unit = 0;
  for (std::int64_t begin = 0; begin < task.columns; begin += kQuantisedBlock) {
    F32x16 halves[2];
    for (std::int64_t half = 0; half < 2; ++half) {
      const std::int64_t at = begin + half * kLanes;
      const std::int64_t left = task.columns - at;
      halves[half] = left <= 0 ? zero() : load_any(task.row, task.type, at, left < kLanes ? left : kLanes);
    }
    const std::int32_t bits = largest_magnitude(halves[0], halves[1]);
    const float largest = __builtin_bit_cast(float, bits);
    const bool is_finite = bits < kInfinity;
    const bool is_zero = !is_finite || largest < kSmallest;
    const float scale = is_zero ? (is_finite ? 0.0F : __builtin_nanf("")) : largest / kLargest;
    const F32x16 inverse = broadcast(is_zero ? 0.0F : kLargest / largest);
    for (std::int64_t half = 0; half < 2; ++half) {
      halves[half] = is_zero ? zero() : round_to_whole(multiply(halves[half], inverse));
      store_signed_bytes(task.values + begin + half * kLanes, halves[half]);
    }
    const auto end_unit = [&](F32x16 values) COPPICE_INLINE_LAMBDA {
      const float total = sum(values);  // exact: at most 32 times 127
      task.scales[unit] = scale;
      task.offsets[unit] = task.has_least ? __builtin_bit_cast(std::int32_t, scale * total)
                                          : -task.zero * static_cast<std::int32_t>(total);
      ++unit;
    };
    if (task.unit == kLanes) {
      end_unit(halves[0]);
      end_unit(halves[1]);
    } else {
      end_unit(add(halves[0], halves[1]));
    }
  }
}

}  // namespace

const QuantisedBody& quantised_body() {
  static constexpr QuantisedBody kBody = {
      quantise,
      {panel<4, ScaleKind::kHalf>, panel<4, ScaleKind::kHalfPair>, panel<4, ScaleKind::kFloatPair>,
       panel<5, ScaleKind::kHalf>, panel<5, ScaleKind::kHalfPair>, panel<8, ScaleKind::kHalf>,
       panel<8, ScaleKind::kFloat>, panel<4, ScaleKind::kSuperPair>, panel<5, ScaleKind::kSuperPair>,
       panel<6, ScaleKind::kSuper>}};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
