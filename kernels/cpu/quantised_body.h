// The inner loops of products with quantised weights, one table per instruction set, and the order in which they read
// packed weights. Activations are whole numbers of 8 bits with a scale for every unit of 32 columns (kSuper: 16); sums
// over a unit are whole numbers, exact on every machine; each unit's sum joins one float32 chain a number, in ascending
// order of columns (of chunks that have one scale: a chain a chunk, which then joins the number's). So a result depends
// neither on the batch, nor on blocking, threads or, where multiply-adds are fused, the instruction set.
//
// Packed weights are panels of 32 output features, one after the other. A panel is chunks, a chunk the columns of a
// group or, of the K types, a block of 256 columns (the last may be shorter, a multiple of 32): first its scales, then
// its numbers, so that memory is read in ascending order.
//   scales   fields of 32 lanes, one lane a feature (ScaleKind)
//   numbers  for every 32 columns lines of 32 words, one word a feature
//     4 bits        line s has columns 8 s + j in the lower half of byte j and 8 s + 4 + j in its upper half
//     5 and 6 bits  after them lines of the upper bits: bit 4 of column 4 i + j at 8 j + i of one word; bits 4 and 5 of
//                   column 16 h + 4 i + j at 8 j + 2 i of word h of two
//     8 bits        line s has columns 4 s + j in byte j
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats.h"
#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

inline constexpr std::int64_t kQuantisedPanel = 32;   // output features
inline constexpr std::int64_t kQuantisedChunk = 256;  // columns of a chunk, at most: the K types' block
inline constexpr std::int64_t kQuantisedBlock = 32;   // columns

// The fields of a chunk's scales, in this order.
enum class ScaleKind : std::uint8_t {
  kHalf,       // f16 scale
  kHalfPair,   // f16 scale, f16 least
  kFloat,      // f32 scale
  kFloatPair,  // f32 scale, f32 least
  kSuperPair,  // f16 scale and f16 least of the chunk; eight groups' scales, then their leasts: unsigned bytes
  kSuper,      // f16 scale of the chunk; sixteen groups' scales: signed bytes
};

// The kinds of products there are: bits of a number and its scales. A table's index.
enum class QuantisedKind : std::uint8_t {
  k4Half,
  k4HalfPair,
  k4FloatPair,
  k5Half,
  k5HalfPair,
  k8Half,
  k8Float,
  k4SuperPair,
  k5SuperPair,
  k6Super,
};
inline constexpr int kQuantisedKinds = 10;  // enumerators of QuantisedKind

// Whether numbers have a least: scale · bits + least; else they are scale · (bits - zero).
__attribute__((always_inline)) static constexpr inline bool has_least(ScaleKind kind) {
  return kind == ScaleKind::kHalfPair || kind == ScaleKind::kFloatPair || kind == ScaleKind::kSuperPair;
}

// Whether a chunk has one scale for all its columns and no least: then its units' sums are added up before the scale.
__attribute__((always_inline)) static constexpr inline bool scales_chunks(ScaleKind kind) {
  return kind == ScaleKind::kFloat;
}

// Bytes of the scales of a chunk.
__attribute__((always_inline)) static constexpr inline std::int64_t quantised_scale_bytes(ScaleKind kind) {
  switch (kind) {
    case ScaleKind::kHalf:
      return kQuantisedPanel * 2;
    case ScaleKind::kHalfPair:
    case ScaleKind::kFloat:
      return kQuantisedPanel * 4;
    case ScaleKind::kFloatPair:
      return kQuantisedPanel * 8;
    case ScaleKind::kSuperPair:
      return kQuantisedPanel * (2 + 2 + 8 + 8);
    case ScaleKind::kSuper:
      return kQuantisedPanel * (2 + 16);
  }
  return 0;
}

// Bytes of the numbers of `columns`, a multiple of 32.
__attribute__((always_inline)) static constexpr inline std::int64_t quantised_number_bytes(int bits,
                                                                                           std::int64_t columns) {
  return columns * kQuantisedPanel * bits / 8;
}

// Rows of activations. values: bytes in [-127, 127], zeros up to a multiple of 32 columns; scales and offsets: one a
// unit. An offset is what the unit's sum begins with, minus the weights' zero times the sum of its values; where
// weights have leasts, the sum of its values times its scale, as the bits of a float.
struct QuantisedRows {
  std::int8_t* values = nullptr;
  float* scales = nullptr;
  std::int32_t* offsets = nullptr;
  std::int64_t value_stride = 0;  // from row to row
  std::int64_t unit_stride = 0;
};

// Rows times one panel. out: f32 [rows, kQuantisedPanel], contiguous, written.
struct QuantisedTask {
  QuantisedRows in;
  std::int64_t rows = 0;
  const std::byte* panel = nullptr;
  std::int64_t columns = 0;  // a multiple of 32
  std::int64_t chunk = 0;    // columns of a chunk
  float* out = nullptr;
};

// How activations are quantised for a kind of weights: with a scale for every kQuantisedBlock columns. One for 128
// columns costs SmolLM2-135M 0.8 % of perplexity, one for 32 less than a tenth of it, for its few large activations.
struct QuantisingTask {
  const void* row = nullptr;
  ComputeType type = ComputeType::kF32;  // f32 or bf16
  std::int64_t columns = 0;
  std::int64_t unit = 0;  // columns of an offset: 32, or 16
  std::int32_t zero = 0;  // of the weights
  bool has_least = false;
  std::int8_t* values = nullptr;
  float* scales = nullptr;
  std::int32_t* offsets = nullptr;
};

// A table of functions; immutable.
struct QuantisedBody {
  // One row. A group with a NaN or an infinity gets a scale of NaN.
  void (*quantise)(const QuantisingTask& task);
  void (*panel[kQuantisedKinds])(const QuantisedTask& task);
};

COPPICE_DECLARE_BODY(QuantisedBody, quantised_body)

}  // namespace coppice::kernels::cpu
