// The largest sizes that a model may have. Every number of a config.json is held against these, so that no product of
// two of them overflows 64 bits and no index overflows 32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::models {

inline constexpr std::int32_t kVocabMost = 1 << 22;
inline constexpr std::int32_t kHiddenMost = 1 << 17;
inline constexpr std::int32_t kIntermediateMost = 1 << 20;
inline constexpr std::int32_t kLayersMost = 1024;
inline constexpr std::int32_t kHeadsMost = 1024;
inline constexpr std::int32_t kHeadDimMost = 1024;
inline constexpr std::int32_t kPositionsMost = 1 << 24;  // float32 holds every position exactly
inline constexpr std::int32_t kEndTokensMost = 64;

inline constexpr std::size_t kConfigBytesMost = std::size_t{1} << 22;  // config.json, generation_config.json
inline constexpr std::size_t kIndexBytesMost = std::size_t{1} << 26;   // model.safetensors.index.json
inline constexpr std::size_t kHeaderBytesMost = std::size_t{1} << 25;  // safetensors header (the format: 100 MB)
inline constexpr std::size_t kShardsMost = 4096;

}  // namespace coppice::models
