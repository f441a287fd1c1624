// Fresh Q, K and V of a step: RMSNorm per head where the model has it, rotation, and storing: K and V to their slots of
// the KV cache, Q to the attention's input. One block a token, one warp a head at a time.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/cache/kv_layout.h"
#include "kernels/cuda/collective.cuh"

namespace coppice::kernels::cuda {

inline constexpr std::int32_t kRopeThreads = 256;     // of a block: 8 warps
inline constexpr std::int32_t kRopeHeadDimMax = 256;  // the largest head dimension that attention supports

// Returns the nearest finite number: a masked value times zero must be zero. Keys are left unchanged, so that a broken
// row still shows.
template <typename Element>
COPPICE_DEVICE Element finite_element(Element value) {
  if constexpr (kIsHalf<Element>) {
    // All bits of the exponent: infinity.
    constexpr std::uint16_t kExponent = std::is_same_v<Element, Bf16> ? 0x7F80 : 0x7C00;
    constexpr std::uint16_t kLargest = kExponent - 1;  // finite number
    if ((value.bits & kExponent) == kExponent) {
      return Element{static_cast<std::uint16_t>((value.bits & 0x8000U) | kLargest)};
    }
    return value;
  } else {
    return value - value == 0.0F ? value : copysignf(3.402823466e38F, value);
  }
}

template <typename Element>
struct RopeKernel {
  static constexpr std::int32_t kThreadsMax = kRopeThreads;             // of a block
  static constexpr std::int32_t kBlocksPerMultiprocessor = 4;           // for loads in flight; chosen, not measured
  static constexpr std::int32_t kSharedBytesMax = kRopeHeadDimMax * 4;  // cosines, then sines

  struct Params {
    Global<const float> qkv;  // [tokens, (query_heads + 2 key_heads) head_dim]
    std::int64_t qkv_stride;
    Global<const std::int32_t> positions;
    Global<const KvSlot> slots;
    Global<const float> inverse_frequency;  // [rotary_dim / 2]
    Global<const float> query_norm;         // [head_dim]; read only if has_query_norm
    Global<const float> key_norm;
    Global<Element> cache;
    Global<Element> query_out;
    std::int64_t query_stride;
    KvLayout layout;
    std::int32_t layer;
    std::int32_t query_heads;
    std::int32_t rotary_dim;
    float attention_factor;
    float norm_epsilon;
    bool has_query_norm;
    bool has_key_norm;
  };

  // Returns 1 / rms of a head's numbers to every lane of the warp.
  static COPPICE_DEVICE float norm_scale(Global<const float> x, std::int32_t head_dim, float epsilon) {
    float squares = 0.0F;
    for (std::int32_t i = lane_index(); i < head_dim; i += kWarpLanes) {
      squares = fmaf(x[i], x[i], squares);
    }
    return 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(head_dim) + epsilon);
  }

  // Norm and rotation of one head, by one warp.
  static COPPICE_DEVICE void rotate(const Params& params, Global<const float> x, bool has_norm,
                                    Global<const float> weight, Shared<const float> cosine_sine, Global<Element> out) {
    const std::int32_t head_dim = params.layout.head_dim;
    const std::int32_t half = params.rotary_dim / 2;
    const float scale = has_norm ? norm_scale(x, head_dim, params.norm_epsilon) : 1.0F;
    for (std::int32_t i = lane_index(); i < half; i += kWarpLanes) {
      float first = x[i];
      float second = x[half + i];
      if (has_norm) {
        first = first * scale * weight[i];
        second = second * scale * weight[half + i];
      }
      const float cosine = cosine_sine[i];
      const float sine = cosine_sine[half + i];
      out[i] = from_float<Element>(first * cosine - second * sine);
      out[half + i] = from_float<Element>(second * cosine + first * sine);
    }
    for (std::int32_t i = params.rotary_dim + lane_index(); i < head_dim; i += kWarpLanes) {
      out[i] = from_float<Element>(has_norm ? x[i] * scale * weight[i] : x[i]);
    }
  }

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t token = block_index();
    const std::int32_t head_dim = params.layout.head_dim;
    const std::int32_t half = params.rotary_dim / 2;
    const Shared<float> cosine_sine = shared_array<float>(0);
    const auto position = static_cast<float>(params.positions[token]);
    for (std::int32_t i = thread_index(); i < half; i += thread_count()) {
      const float angle = position * params.inverse_frequency[i];
      cosine_sine[i] = cosf(angle) * params.attention_factor;
      cosine_sine[half + i] = sinf(angle) * params.attention_factor;
    }
    sync_block();
    const Global<const float> row = params.qkv + token * params.qkv_stride;
    const KvSlot slot = params.slots[token];
    const std::int32_t key_heads = params.layout.key_heads;
    for (std::int32_t head = warp_index(); head < params.query_heads + 2 * key_heads;
         head += thread_count() / kWarpLanes) {
      const Global<const float> x = row + std::int64_t{head} * head_dim;
      const std::int32_t key_head = head - params.query_heads;
      if (key_head >= 0 && slot == kNoSlot) {
        continue;
      }
      if (key_head < 0) {
        rotate(params, x, params.has_query_norm, params.query_norm, cosine_sine,
               params.query_out + token * params.query_stride + std::int64_t{head} * head_dim);
      } else if (key_head < key_heads) {
        rotate(params, x, params.has_key_norm, params.key_norm, cosine_sine,
               params.cache + params.layout.token(params.layer, slot, key_head, KvLayout::kPlaneKey));
      } else {
        const Global<Element> out =
            params.cache + params.layout.token(params.layer, slot, key_head - key_heads, KvLayout::kPlaneValue);
        for (std::int32_t i = lane_index(); i < head_dim; i += kWarpLanes) {
          out[i] = finite_element(from_float<Element>(x[i]));
        }
      }
    }
  }
};

// Copies the K and V of single tokens within the cache, in the order of the list: a later move may read what an earlier
// one wrote. One block a layer and key head; a thread moves the same dimensions in every move, so no barrier is needed.
struct MoveSlotsKernel {
  static constexpr std::int32_t kThreadsMax = 128;             // of a block
  static constexpr std::int32_t kBlocksPerMultiprocessor = 4;  // for loads in flight; chosen, not measured
  static constexpr std::int32_t kSharedBytesMax = 0;           // of a block: none
  using Word = Vector<std::uint32_t, 4>;  // sixteen bytes of a head's numbers: head_dim is a multiple of 8

  struct Params {
    Global<Word> cache;
    Global<const KvSlot> moves;  // [count][2]: from, to
    KvLayout layout;             // head_dim and so on in words
    std::int32_t count;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t layer = block_index() / params.layout.key_heads;
    const std::int32_t head = block_index() % params.layout.key_heads;
    const std::int32_t words = params.layout.head_dim;
    for (std::int32_t i = thread_index(); i < 2 * words; i += thread_count()) {
      const std::int32_t which = i < words ? KvLayout::kPlaneKey : KvLayout::kPlaneValue;
      const std::int32_t word = i % words;
      for (std::int32_t move = 0; move < params.count; ++move) {
        const KvSlot from = params.moves[2 * move];
        const KvSlot to = params.moves[2 * move + 1];
        const Word moved = params.cache[params.layout.token(layer, from, head, which) + word];
        params.cache[params.layout.token(layer, to, head, which) + word] = moved;
      }
    }
  }
};

// Copies one page in every layer: cudaMemcpy2DAsync takes no layer of 2 GiB and more. Blocks: one a layer; blocks_y:
// spans of a page.
struct CopyPageKernel {
  static constexpr std::int32_t kThreadsMax = 256;                 // of a block
  static constexpr std::int32_t kBlocksPerMultiprocessor = 4;      // for loads in flight; chosen, not measured
  static constexpr std::int32_t kSharedBytesMax = 0;               // of a block: none
  static constexpr std::int32_t kWordsEach = 4;                    // of a thread
  static constexpr std::int32_t kSpan = kWordsEach * kThreadsMax;  // words of a page that a block copies
  using Word = MoveSlotsKernel::Word;

  struct Params {
    Global<Word> cache;
    KvLayout layout;  // head_dim and so on in words
    PageId from;
    PageId to;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int64_t page = params.layout.page_elements();
    const std::int64_t layer = block_index() * params.layout.layer_elements();
    const std::int64_t begin = std::int64_t{block_index_y()} * kSpan + thread_index();
    for (std::int32_t i = 0; i < kWordsEach; ++i) {
      const std::int64_t word = begin + i * kThreadsMax;
      if (word < page) {
        const Word copied = params.cache[layer + params.from * page + word];
        params.cache[layer + params.to * page + word] = copied;
      }
    }
  }
};

}  // namespace coppice::kernels::cuda
