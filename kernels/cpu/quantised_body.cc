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

// Bytes ahead of those in use that are fetched into the second-level cache. The hardware's own fetching loses its way
// between scales and numbers. Measured on a Zen 4: weights of 8 bits are read at a third less from 5 KiB on, those of 4
// bits at a fifth less below 4 KiB.
template <int kBits>
constexpr std::int64_t kAhead = kBits == 8 ? 3072 : 8192;  // bytes
constexpr std::int64_t kLine = 64;                         // bytes of a cache line

// What lies kAhead bytes after `begin`. Every byte of a panel must pass through here: a chunk's scales left out cost a
// quarter of the rate of Q4_K.
template <int kBits>
COPPICE_INLINE void fetch_ahead(const std::byte* begin, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += kLine) {
    __builtin_prefetch(begin + kAhead<kBits> + at, /*rw=*/0, /*locality=*/2);
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
      const F32x16 scale = multiply(own.scale, broadcast(task.in.scales[at]));
      chain = multiply_add(to_floats(sums.whole[row][vector]), scale, chain);
      if constexpr (has_least(kScales)) {
        chain = multiply_add(own.least, broadcast(__builtin_bit_cast(float, task.in.offsets[at])), chain);
      }
    }
  }
}

template <int kBits, ScaleKind kScales, int kRows>
void rows_of(const QuantisedTask& task, std::int64_t row_begin) {
  Sums<kRows> sums;
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      sums.chain[row][vector] = zero();
    }
  }
  const std::int8_t* values = task.in.values + row_begin * task.in.value_stride;
  const std::byte* at = task.panel;
  std::int64_t unit = 0;
  for (std::int64_t chunk_begin = 0; chunk_begin < task.columns; chunk_begin += task.chunk) {
    const std::int64_t left = task.columns - chunk_begin;
    const std::int64_t columns = left < task.chunk ? left : task.chunk;
    const std::byte* const scales = at;
    const std::byte* numbers = at + quantised_scale_bytes(kScales);
    at = numbers + quantised_number_bytes(kBits, columns);
    if (row_begin == 0) {
      fetch_ahead<kBits>(scales, quantised_scale_bytes(kScales));
    }
    const ChunkScales chunk = load_chunk_scales<kScales>(scales);
    for (std::int64_t column = 0; column < columns;) {
      if constexpr (kScales == ScaleKind::kSuper) {
        if (row_begin == 0) {
          fetch_ahead<kBits>(numbers, quantised_number_bytes(kBits, kQuantisedBlock));
        }
        begin_unit<kScales>(task, row_begin, unit, sums);
        add_line<kBits, 0>(task, numbers, values, sums);
        add_line<kBits, 1>(task, numbers, values, sums);
        end_unit<kScales>(task, row_begin, unit, scales, chunk, column / 16, sums);
        begin_unit<kScales>(task, row_begin, unit + 1, sums);
        add_line<kBits, 2>(task, numbers, values, sums);
        add_line<kBits, 3>(task, numbers, values, sums);
        end_unit<kScales>(task, row_begin, unit + 1, scales, chunk, column / 16 + 1, sums);
        unit += 2;
        numbers += quantised_number_bytes(kBits, kQuantisedBlock);
        values += kQuantisedBlock;
        column += kQuantisedBlock;
      } else {
        begin_unit<kScales>(task, row_begin, unit, sums);
        const std::int64_t group = column / kQuantisedBlock;  // of the K types, whose groups are blocks
        const std::int64_t end = columns < column + task.unit ? columns : column + task.unit;
        for (; column < end; column += kQuantisedBlock) {
          if (row_begin == 0) {
            fetch_ahead<kBits>(numbers, quantised_number_bytes(kBits, kQuantisedBlock));
          }
          add_line<kBits, 0>(task, numbers, values, sums);
          add_line<kBits, 1>(task, numbers, values, sums);
          add_line<kBits, 2>(task, numbers, values, sums);
          add_line<kBits, 3>(task, numbers, values, sums);
          numbers += quantised_number_bytes(kBits, kQuantisedBlock);
          values += kQuantisedBlock;
        }
        end_unit<kScales>(task, row_begin, unit, scales, chunk, group, sums);
        ++unit;
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      store(task.out + (row_begin + row) * kQuantisedPanel + vector * kLanes, sums.chain[row][vector]);
    }
  }
}

template <int kBits, ScaleKind kScales>
void panel(const QuantisedTask& task) {
  std::int64_t row = 0;
  for (; row + kRowsMax <= task.rows; row += kRowsMax) {
    rows_of<kBits, kScales, kRowsMax>(task, row);
  }
  const std::int64_t left = task.rows - row;
  if constexpr (kRowsMax > 2) {
    switch (left) {
      case 5:
        return rows_of<kBits, kScales, 5>(task, row);
      case 4:
        return rows_of<kBits, kScales, 4>(task, row);
      case 3:
        return rows_of<kBits, kScales, 3>(task, row);
      case 2:
        return rows_of<kBits, kScales, 2>(task, row);
      default:
        break;
    }
  }
  if (left == 1) {
    rows_of<kBits, kScales, 1>(task, row);
  }
}

// --- activations ---

constexpr std::int32_t kMagnitude = 0x7FFFFFFF;  // all bits of a float but its sign
constexpr std::int32_t kInfinity = 0x7F800000;   // its bits
constexpr float kLargest = 127.0F;               // of a value
// Below it a group counts as zeros: its inverse would be infinite.
constexpr float kSmallest = 1e-30F;

std::int32_t largest_magnitude(const float* numbers, std::int64_t count) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t magnitude = __builtin_bit_cast(std::int32_t, numbers[i]) & kMagnitude;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

// Sums of values, exact.
std::int32_t sum_of(const std::int8_t* values, std::int64_t count) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    sum += values[i];
  }
  return sum;
}

void round_values(const float* numbers, std::int64_t count, float inverse, std::int8_t* values) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    float rounded[kLanes];
    store(rounded, round_to_whole(multiply(load(numbers + i), broadcast(inverse))));
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      values[i + lane] = static_cast<std::int8_t>(rounded[lane]);
    }
  }
}

void quantise(const QuantisingTask& task) {
  const std::int64_t padded = (task.columns + kQuantisedBlock - 1) / kQuantisedBlock * kQuantisedBlock;
  float numbers[kQuantisedChunk];
  std::int64_t unit = 0;
  for (std::int64_t begin = 0; begin < padded; begin += task.scaled) {
    const std::int64_t count = padded - begin < task.scaled ? padded - begin : task.scaled;
    for (std::int64_t i = 0; i < count; i += kLanes) {
      const std::int64_t left = task.columns - begin - i;
      store(numbers + i, left <= 0 ? zero() : load_any(task.row, task.type, begin + i, left < kLanes ? left : kLanes));
    }
    std::int8_t* const values = task.values + begin;
    const std::int32_t bits = largest_magnitude(numbers, count);
    const float largest = __builtin_bit_cast(float, bits);
    float scale = 0.0F;
    if (bits < kInfinity && largest >= kSmallest) {
      scale = largest / kLargest;
      round_values(numbers, count, kLargest / largest, values);
    } else {
      scale = bits < kInfinity ? 0.0F : __builtin_nanf("");
      for (std::int64_t i = 0; i < count; ++i) {
        values[i] = 0;
      }
    }
    for (std::int64_t at = 0; at < count; at += task.unit, ++unit) {
      const std::int64_t width = count - at < task.unit ? count - at : task.unit;
      const std::int32_t sum = sum_of(values + at, width);
      task.scales[unit] = scale;
      task.offsets[unit] =
          task.has_least ? __builtin_bit_cast(std::int32_t, scale * static_cast<float>(sum)) : -task.zero * sum;
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
