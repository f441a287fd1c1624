// The largest sizes that a model may have. Every number of a config.json is checked against these, so that no product
// of two of them overflows 64 bits and no index overflows 32. Each is several times the largest known model's.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::models {

inline constexpr std::int32_t kVocabMost = 1 << 22;         // tokens; Gemma has 262,144
inline constexpr std::int32_t kHiddenMost = 1 << 17;        // numbers of a row; Llama 3.1 405B has 16,384
inline constexpr std::int32_t kIntermediateMost = 1 << 20;  // numbers of a row; Llama 3.1 405B has 53,248
inline constexpr std::int32_t kLayersMost = 1024;           // Llama 3.1 405B has 126
inline constexpr std::int32_t kHeadsMost = 1024;            // Llama 3.1 405B has 128
inline constexpr std::int32_t kHeadDimMost = 1024;          // numbers; Gemma has 256
inline constexpr std::int32_t kPositionsMost = 1 << 24;     // float32 holds every position exactly
inline constexpr std::int32_t kEndTokensMost = 64;          // tokens that end a sequence; Llama 3 names three

inline constexpr std::size_t kConfigBytesMost = std::size_t{1} << 22;  // config.json, generation_config.json
inline constexpr std::size_t kIndexBytesMost = std::size_t{1} << 26;   // model.safetensors.index.json
inline constexpr std::size_t kHeaderBytesMost = std::size_t{1} << 25;  // safetensors header (the format: 100 MB)
inline constexpr std::size_t kTensorsMost = std::size_t{1} << 18;  // of one file; DeepSeek-V3 has some 90,000 in all
inline constexpr std::size_t kShardsMost = 4096;  // files of one model, open at once; 405B in bf16 has 191

}  // namespace coppice::models
