// The numbers in blocks of GGUF's quantised types, as llama.cpp's ggml-common.h lays them out. A block has one or two
// scales as float16 and small whole numbers; the K types have a second level of scales inside a block of 256.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "models/gguf.h"

namespace coppice::models {

// Whether dequantize() knows the type: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K.
bool can_dequantize(const GgufType& type);

// Writes the numbers of whole blocks as float32, each operation rounded once, in the order in which the Python package
// `gguf` does them. REQUIRES: can_dequantize(type); blocks.size() and into.size() are of the same number of blocks.
void dequantize(const GgufType& type, std::span<const std::byte> blocks, std::span<float> into);

}  // namespace coppice::models
