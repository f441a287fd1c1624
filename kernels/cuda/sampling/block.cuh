// A block's joint operations while it samples a row: exact maxima and sums, and the selection of a prefix of the tokens
// in descending order of a 32-bit key. Only the last bits of float sums depend on the number of threads.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/collective.cuh"
#include "kernels/cuda/sampling/math.cuh"

namespace coppice::kernels::cuda {

using Count = unsigned long long;  // what 64-bit atomics take

// The block's shared memory.
struct SampleShared {
  static constexpr std::int32_t kBuckets = 2048;                               // of a histogram: 11 bits of a logit
  static constexpr std::int32_t kHistogramBytes = kBuckets * 8;                // at 8 bytes a bucket
  static constexpr std::int32_t kScratchBytes = 32 * 8;                        // 8 bytes a warp
  static constexpr std::int32_t kBytes = kHistogramBytes + 2 * kScratchBytes;  // of shared memory in all

  static COPPICE_DEVICE Shared<Count> histogram() { return shared_array<Count>(0); }
  static COPPICE_DEVICE Shared<Count> scratch() { return shared_array<Count>(kHistogramBytes); }
  static COPPICE_DEVICE Shared<float> float_scratch() { return shared_array<float>(kHistogramBytes); }
  // Results that one thread hands to all.
  static COPPICE_DEVICE Shared<Count> results() { return shared_array<Count>(kHistogramBytes + kScratchBytes); }
};

COPPICE_DEVICE Count sample_block_max(Count value) {
  for (std::int32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    const Count other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  const Shared<Count> scratch = SampleShared::scratch();
  sync_block();
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  sync_block();
  Count part = 0;
  if (lane_index() < thread_count() / kWarpLanes) {
    part = scratch[lane_index()];
  }
  for (std::int32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    const Count other = shuffle_xor(part, mask);
    part = other > part ? other : part;
  }
  return part;
}

// Returns the sum of all threads' values to every thread; sets `before` to the sum of the threads below.
COPPICE_DEVICE Count sample_block_scan(Count value, Count& before) {
  Count inclusive = value;
  for (std::int32_t distance = 1; distance < kWarpLanes; distance *= 2) {
    const Count other = shuffle_up(inclusive, distance);
    inclusive += lane_index() >= distance ? other : 0;
  }
  const Shared<Count> scratch = SampleShared::scratch();
  sync_block();
  if (lane_index() == kWarpLanes - 1) {
    scratch[warp_index()] = inclusive;
  }
  sync_block();
  Count total = 0;
  Count below = 0;
  for (std::int32_t warp = 0; warp < thread_count() / kWarpLanes; ++warp) {
    const Count part = scratch[warp];
    below += warp < warp_index() ? part : 0;
    total += part;
  }
  before = below + inclusive - value;
  return total;
}

COPPICE_DEVICE Count sample_block_sum(Count value) {
  Count before = 0;
  return sample_block_scan(value, before);
}

// The first tokens in falling order of key, equal ones by rising id: every larger key, and of this key the tokens below
// `ties_end`.
struct SampleCut {
  std::uint32_t key;
  std::int32_t ties_end;

  COPPICE_DEVICE bool keeps(std::uint32_t other, std::int32_t token) const {
    return other > key || (other == key && token < ties_end);
  }
};

inline constexpr std::int32_t kEveryToken = 0x7FFFFFFF;  // no bound on the token

// Walks the histogram from its last bucket down to the one in which the sum reaches `target`; adds what lies above it
// to `above`. Every thread gets the bucket. As the CPU's cut_prefix, the lowest bucket is taken when no sum reaches it.
COPPICE_DEVICE std::uint32_t sample_find_bucket(std::int32_t buckets, Count target, Count& above) {
  const Shared<Count> histogram = SampleShared::histogram();
  const Shared<Count> results = SampleShared::results();
  const std::int32_t share = buckets / kWarpLanes;  // of a lane: lane 0 has the last ones
  if (warp_index() == 0) {
    const std::int32_t first = buckets - 1 - lane_index() * share;
    Count sum = 0;
    for (std::int32_t i = 0; i < share; ++i) {
      sum += histogram[first - i];
    }
    Count inclusive = sum;
    for (std::int32_t distance = 1; distance < kWarpLanes; distance *= 2) {
      const Count other = shuffle_up(inclusive, distance);
      inclusive += lane_index() >= distance ? other : 0;
    }
    Count before = above + inclusive - sum;
    const std::uint32_t reaching = ballot(before + sum >= target);
    const std::uint32_t mine = 1U << lane_index();
    const bool is_first = (reaching & mine) != 0 && (reaching & (mine - 1)) == 0;
    if (is_first || (reaching == 0 && lane_index() == kWarpLanes - 1)) {
      std::int32_t bucket = first;
      Count held = histogram[bucket];
      while (bucket > 0 && before + held < target) {
        before += held;
        --bucket;
        held = histogram[bucket];
      }
      results[0] = static_cast<Count>(bucket);
      results[1] = before;
    }
  }
  sync_block();
  above = results[1];
  return static_cast<std::uint32_t>(static_cast<Count>(results[0]));
}

// The token behind the `ties`-th one, in rising order, whose key is `key`.
template <typename KeyOf>
COPPICE_DEVICE std::int32_t sample_ties_end(std::int32_t vocab, std::uint32_t key, Count ties, const KeyOf& key_of) {
  const std::int32_t share = (vocab + thread_count() - 1) / thread_count();
  const std::int32_t begin = thread_index() * share;
  const std::int32_t end = begin + share < vocab ? begin + share : vocab;
  Count count = 0;
  for (std::int32_t token = begin; token < end; ++token) {
    count += key_of(token) == key ? 1 : 0;
  }
  Count before = 0;
  const Count total = sample_block_scan(count, before);
  if (ties >= total) {
    return kEveryToken;
  }
  const Shared<Count> results = SampleShared::results();
  if (before < ties && ties <= before + count) {
    std::int32_t token = begin;
    for (Count left = ties - before; left > 0; ++token) {
      left -= key_of(token) == key ? 1 : 0;
    }
    results[2] = static_cast<Count>(token);
  }
  sync_block();
  const Count found = results[2];
  return static_cast<std::int32_t>(found);
}

// The shortest prefix of the tokens in falling order of key whose measures add up to `target` or more (all of them when
// they never do). key_of(token): 0 for a token that takes no part. measure(key): a whole number. Radix selection: three
// counts over 11, 11 and 10 bits of the key.
template <typename KeyOf, typename Measure>
COPPICE_DEVICE SampleCut sample_cut_prefix(std::int32_t vocab, Count target, const KeyOf& key_of,
                                           const Measure& measure) {
  const Shared<Count> histogram = SampleShared::histogram();
  Count above = 0;
  std::uint32_t prefix = 0;
  std::uint32_t prefix_mask = 0;
  for (std::int32_t digit = 0; digit < 3; ++digit) {
    const std::int32_t shift = digit == 0 ? 21 : digit == 1 ? 10 : 0;
    const std::int32_t buckets = digit == 2 ? 1024 : 2048;
    sync_block();
    for (std::int32_t i = thread_index(); i < buckets; i += thread_count()) {
      histogram[i] = 0;
    }
    sync_block();
    for (std::int32_t token = thread_index(); token < vocab; token += thread_count()) {
      const std::uint32_t key = key_of(token);
      if (key != 0 && (key & prefix_mask) == prefix) {
        const Count weight = measure(key);
        if (weight != 0) {
          atomic_add(histogram + static_cast<std::int32_t>(key >> shift & static_cast<std::uint32_t>(buckets - 1)),
                     weight);
        }
      }
    }
    sync_block();
    const std::uint32_t bucket = sample_find_bucket(buckets, target, above);
    prefix |= bucket << shift;
    prefix_mask |= static_cast<std::uint32_t>(buckets - 1) << shift;
  }
  const Count one = measure(prefix);
  if (one == 0) {
    return {prefix, kEveryToken};
  }
  const Count ties = (target - above + one - 1) / one;
  return {prefix, sample_ties_end(vocab, prefix, ties, key_of)};
}

}  // namespace coppice::kernels::cuda
