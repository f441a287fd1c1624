// Inner loops of our own matrix product. Compiled once per instruction set (isa.h).
#include "kernels/cpu/linear_body.h"

#include "kernels/host/simd.h"
#include "kernels/host/simd_half.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

enum class Word { kF32, kBF16 };

// A tile of accumulators: kRowsMax rows by kColumns vectors fills the register file and hides the latency of the
// multiply-add (6 x 4 of 32 registers with AVX-512, 6 x 2 half vectors of 16 with AVX2).
#if defined(__AVX512F__)
constexpr int kColumns = 4;  // vectors of sixteen: 24 of 32 registers are sums
constexpr int kRowsMax = 6;  // rows
#elif defined(__AVX2__)
constexpr int kColumns = 1;  // two half vectors: 12 of 16 registers are sums
constexpr int kRowsMax = 6;  // rows
#else
constexpr int kColumns = 1;  // sixteen scalars, for the compiler to arrange
constexpr int kRowsMax = 2;  // rows
#endif

// Sixteen words as floats: the number itself, or the lower or upper of two bf16.
COPPICE_INLINE F32x16 load_words(const std::uint32_t* p) {
  return load(reinterpret_cast<const float*>(p));
}

COPPICE_INLINE F32x16 lower_bf16(const std::uint32_t* p) {
#if defined(__AVX512F__)
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
#elif defined(__AVX2__)
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = __builtin_bit_cast(float, p[i] << 16);
  }
  return out;
#endif
}

COPPICE_INLINE F32x16 upper_bf16(const std::uint32_t* p) {
#if defined(__AVX512F__)
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-65536)))};
#elif defined(__AVX2__)
  const __m256i mask = _mm256_set1_epi32(-65536);
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8));
  return {_mm256_castsi256_ps(_mm256_and_si256(low, mask)), _mm256_castsi256_ps(_mm256_and_si256(high, mask))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = __builtin_bit_cast(float, p[i] & 0xFFFF0000U);
  }
  return out;
#endif
}

// kRows rows by kColumns vectors, over the task's steps. in, words and out are those of the tile.
template <Word kWord, int kRows>
COPPICE_INLINE void tile(const PanelTask& task, const float* in, const std::uint32_t* words, float* out) {
  F32x16 sums[kRows][kColumns];
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      sums[row][column] = load(out + row * kPanel + column * kLanes);
    }
  }
  for (std::int64_t step = task.step_begin; step < task.step_end; ++step) {
    const std::uint32_t* line = words + step * kPanel;
    if constexpr (kWord == Word::kF32) {
      F32x16 weights[kColumns];
      for (int column = 0; column < kColumns; ++column) {
        weights[column] = load_words(line + column * kLanes);
      }
      for (int row = 0; row < kRows; ++row) {
        const F32x16 x = broadcast(in[row * task.in_stride + step]);
        for (int column = 0; column < kColumns; ++column) {
          sums[row][column] = multiply_add(x, weights[column], sums[row][column]);
        }
      }
    } else {
      F32x16 weights[kColumns];
      for (int column = 0; column < kColumns; ++column) {
        weights[column] = lower_bf16(line + column * kLanes);
      }
      for (int row = 0; row < kRows; ++row) {
        const F32x16 x = broadcast(in[row * task.in_stride + 2 * step]);
        for (int column = 0; column < kColumns; ++column) {
          sums[row][column] = multiply_add(x, weights[column], sums[row][column]);
        }
      }
      for (int column = 0; column < kColumns; ++column) {
        weights[column] = upper_bf16(line + column * kLanes);
      }
      for (int row = 0; row < kRows; ++row) {
        const F32x16 x = broadcast(in[row * task.in_stride + 2 * step + 1]);
        for (int column = 0; column < kColumns; ++column) {
          sums[row][column] = multiply_add(x, weights[column], sums[row][column]);
        }
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      store(out + row * kPanel + column * kLanes, sums[row][column]);
    }
  }
}

template <Word kWord, int kRows>
void rows_of(const PanelTask& task, std::int64_t row) {
  for (std::int64_t column = 0; column < kPanel; column += kColumns * kLanes) {
    tile<kWord, kRows>(task, task.in + row * task.in_stride, task.words + column, task.out + row * kPanel + column);
  }
}

template <Word kWord>
void panel(const PanelTask& task) {
  std::int64_t row = 0;
  for (; row + kRowsMax <= task.rows; row += kRowsMax) {
    rows_of<kWord, kRowsMax>(task, row);
  }
  if constexpr (kRowsMax > 4) {
    if (row + 4 <= task.rows) {
      rows_of<kWord, 4>(task, row);
      row += 4;
    }
  }
  if constexpr (kRowsMax > 2) {
    if (row + 2 <= task.rows) {
      rows_of<kWord, 2>(task, row);
      row += 2;
    }
  }
  if (row < task.rows) {
    rows_of<kWord, 1>(task, row);
  }
}

void panel_f32(const PanelTask& task) {
  panel<Word::kF32>(task);
}

void panel_bf16(const PanelTask& task) {
  panel<Word::kBF16>(task);
}

#if defined(__AVX512BF16__)
// How a tile fetches weights. A single tile waits for memory alone: it fetches those of its own loop some 80 ns before
// their use (the processor's own fetching stops at a page's end, and the next panel may be elsewhere). Of several tiles
// over the same weights each fetches a part of the weights that come next, so that memory works while they multiply:
// 1.1 to 1.4 times as fast at 8 to 32 rows.
constexpr int kOwnLines = -1;             // fetch the loop's own lines
constexpr std::int64_t kOwnAhead = 1024;  // bytes: sixteen lines at the speed of memory
constexpr std::int64_t kLine = 64;        // bytes of a cache line: a vector of words

// The chain of steps [begin, end) of kRows rows, from row `row` on, added to the sums of the chains before it.
// kFetch: lines to fetch a step from `next` on into the second-level cache, or kOwnLines.
template <int kRows, int kVectors, int kFetch>
COPPICE_INLINE void chain_tile(const StepTask& task, std::int64_t row_begin, std::int64_t begin, std::int64_t end,
                               const char* next) {
  __m512 sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      sums[row][vector] = _mm512_setzero_ps();
    }
  }
  const std::uint32_t* const in = task.in + row_begin * task.in_stride;
  const std::uint32_t* line = task.words + begin * kVectors * kLanes;
  for (std::int64_t step = begin; step < end; ++step, line += kVectors * kLanes) {
    __m512i weights[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      const std::uint32_t* at = line + vector * kLanes;
      if constexpr (kFetch == kOwnLines) {
        __builtin_prefetch(reinterpret_cast<const char*>(at) + kOwnAhead);
      }
      weights[vector] = _mm512_loadu_si512(at);
    }
    for (int fetch = 0; fetch < kFetch; ++fetch) {
      __builtin_prefetch(next + fetch * kLine, /*rw=*/0, /*locality=*/2);
    }
    next += kFetch > 0 ? kFetch * kLine : 0;
    for (int row = 0; row < kRows; ++row) {
      const __m512i x = _mm512_set1_epi32(static_cast<int>(in[row * task.in_stride + step]));
      for (int vector = 0; vector < kVectors; ++vector) {
        sums[row][vector] = _mm512_dpbf16_ps(sums[row][vector], (__m512bh)x, (__m512bh)weights[vector]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      float* out = task.out + (row_begin + row) * kPanel + vector * kLanes;
      const __m512 sum = sums[row][vector];
      _mm512_storeu_ps(out, begin == 0 ? sum : _mm512_add_ps(_mm512_loadu_ps(out), sum));
    }
  }
}

template <int kVectors, int kFetch>
void chain_rows(const StepTask& task, std::int64_t row, std::int64_t rows, std::int64_t begin, std::int64_t end,
                const char* next) {
  switch (rows) {
    case 1:
      return chain_tile<1, kVectors, kFetch>(task, row, begin, end, next);
    case 2:
      return chain_tile<2, kVectors, kFetch>(task, row, begin, end, next);
    case 3:
      return chain_tile<3, kVectors, kFetch>(task, row, begin, end, next);
    case 4:
      return chain_tile<4, kVectors, kFetch>(task, row, begin, end, next);
    case 5:
      return chain_tile<5, kVectors, kFetch>(task, row, begin, end, next);
    default:
      return chain_tile<6, kVectors, kFetch>(task, row, begin, end, next);
  }
}

// A chain of all rows, in tiles as equal as can be. next: as many words, to fetch meanwhile; null: nothing.
template <int kVectors>
void step_chain(const StepTask& task, std::int64_t begin, std::int64_t end, const std::uint32_t* next) {
  const std::int64_t tiles = (task.rows + kTileRows - 1) / kTileRows;
  if (tiles == 1) {
    return chain_rows<kVectors, kOwnLines>(task, 0, task.rows, begin, end, nullptr);
  }
  std::int64_t row = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t rows = (task.rows - row + tiles - tile - 1) / (tiles - tile);
    // Of kVectors lines a step, this tile's share: at most half of them, as there are two tiles.
    const std::int64_t line = tile * kVectors / tiles;
    const std::int64_t lines = next == nullptr ? 0 : (tile + 1) * kVectors / tiles - line;
    const char* const at = reinterpret_cast<const char*>(next) + (next == nullptr ? 0 : line * (end - begin) * kLine);
    switch (lines) {
      case 0:
        chain_rows<kVectors, 0>(task, row, rows, begin, end, at);
        break;
      case 1:
        chain_rows<kVectors, 1>(task, row, rows, begin, end, at);
        break;
      default:
        chain_rows<kVectors, 2>(task, row, rows, begin, end, at);
        break;
    }
    row += rows;
  }
}

template <int kVectors>
void step_panel(const StepTask& task) {
  for (std::int64_t begin = 0; begin < task.steps; begin += task.chain) {
    const std::int64_t end = begin + task.chain < task.steps ? begin + task.chain : task.steps;
    // One chain's length ahead, on into the panel behind this one: so every line of a panel is fetched once.
    const std::int64_t ahead = begin + task.chain;
    const bool fetches = task.more || ahead < task.steps;
    step_chain<kVectors>(task, begin, end, fetches ? task.words + ahead * kVectors * kLanes : nullptr);
  }
}

void step_bf16(const StepTask& task) {
  switch (task.width / kLanes) {
    case 1:
      return step_panel<1>(task);
    case 2:
      return step_panel<2>(task);
    case 3:
      return step_panel<3>(task);
    default:
      return step_panel<4>(task);
  }
}
#else
constexpr void (*step_bf16)(const StepTask& task) = nullptr;
#endif

template <ComputeType kType>
void finish_row(const float* sums, const float* bias, bool adds, std::int64_t count, void* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const std::int64_t left = count - i < kLanes ? count - i : kLanes;
    F32x16 value = load(sums + i);  // sums always hold a whole panel
    if (bias != nullptr) {
      value = add(value, load_first(bias + i, left));
    }
    if constexpr (kType == ComputeType::kF32) {
      value = adds ? add(value, load_first(static_cast<const float*>(out) + i, left)) : value;
    }
    store_any(out, kType, i, left, value);
  }
}

void finish(const float* sums, const float* bias, bool adds, std::int64_t count, void* out, ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return finish_row<ComputeType::kF32>(sums, bias, adds, count, out);
    case ComputeType::kBF16:
      return finish_row<ComputeType::kBF16>(sums, bias, adds, count, out);
    case ComputeType::kF16:
      __builtin_trap();  // the CPU does not compute in f16
  }
}

void interleave(const std::uint32_t* const* rows, std::int64_t steps, std::int64_t width, std::uint32_t* out) {
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t row = 0; row < 16; ++row) {
      out[step * width + row] = rows[row] == nullptr ? 0 : rows[row][step];
    }
  }
}

}  // namespace

const LinearBody& linear_body() {
  static constexpr LinearBody kBody = {panel_f32, panel_bf16, step_bf16, finish, interleave};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
