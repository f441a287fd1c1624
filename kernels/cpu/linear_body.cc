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
  static constexpr LinearBody kBody = {panel_f32, panel_bf16, finish, interleave};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
