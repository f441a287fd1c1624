// Sampling on the GPU: one block per row. The steps and their meaning are those of kernels/cpu/sample.h. Edits of
// logits (bias, penalties, forbidden tokens) are made in place and undone; the mask of allowed tokens is applied on
// reading; filters are kept as the keys at which they cut.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/sampling/edits.cuh"

namespace coppice::kernels::cuda {

struct SampleKernel {
  static constexpr std::int32_t kThreadsMax = 1024;                      // of a block: one block for each row
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;            // a step has few rows
  static constexpr std::int32_t kSharedBytesMax = SampleShared::kBytes;  // of a block

  using Params = SampleParams;
  using Row = SampledRow;

  static constexpr Count kBroken = ~Count{0};  // above every key of a logit with its token

  // Key and token of the largest finite logit, the lowest id among equals; 0 when there is none; kBroken when one is
  // NaN or +infinity.
  static COPPICE_DEVICE Count find_largest(const Row& row) {
    Count best = 0;
    for (std::int32_t token = thread_index(); token < row.vocab; token += thread_count()) {
      const float x = row.is_allowed(token) ? static_cast<float>(row.logits[token]) : negative_infinity();
      if (!(x < -negative_infinity())) {
        best = kBroken;
      } else if (is_finite(x)) {
        const Count entry =
            static_cast<Count>(key_of_logit(x)) << 32 | (0xFFFFFFFFU - static_cast<std::uint32_t>(token));
        best = entry > best ? entry : best;
      }
    }
    return sample_block_max(best);
  }
  static COPPICE_DEVICE std::int32_t token_of(Count entry) {
    return static_cast<std::int32_t>(0xFFFFFFFFU - static_cast<std::uint32_t>(entry));
  }

  // --- drawing ---

  // A row with its filters: what a token weighs.
  struct Weights {
    const Row& row;
    float largest;
    float temperature;
    SampleCut by_logit;   // top-k
    SampleCut by_weight;  // top-p

    COPPICE_DEVICE float at(std::int32_t token) const {
      const float x = row.logit(token);
      if (!is_finite(x) || !by_logit.keeps(key_of_logit(x), token)) {
        return 0.0F;
      }
      const float weight = exponential((x - largest) / temperature);
      return by_weight.keeps(float_bits(weight), token) ? weight : 0.0F;
    }
  };

  static COPPICE_DEVICE SampleCut cut_top_k(const Row& row, std::int32_t top_k) {
    const auto key_of = [&row](std::int32_t token) {
      const float x = row.logit(token);
      return is_finite(x) ? key_of_logit(x) : 0U;
    };
    return sample_cut_prefix(row.vocab, static_cast<Count>(top_k), key_of, [](std::uint32_t) { return Count{1}; });
  }

  static COPPICE_DEVICE SampleCut cut_top_p(const Weights& weights, float top_p) {
    Count mass = 0;
    for (std::int32_t token = thread_index(); token < weights.row.vocab; token += thread_count()) {
      mass += mass_of_key(float_bits(weights.at(token)));
    }
    const Count total = sample_block_sum(mass);
    const double wanted = ceil(static_cast<double>(top_p > 0.0F ? top_p : 0.0F) * static_cast<double>(total));
    Count target = static_cast<Count>(wanted);
    target = target < 1 ? 1 : target > total ? total : target;
    const auto key_of = [&weights](std::int32_t token) { return float_bits(weights.at(token)); };
    return sample_cut_prefix(weights.row.vocab, target, key_of, [](std::uint32_t key) { return mass_of_key(key); });
  }

  // Returns the token with the largest weight / E; -1 if no weight is above zero.
  static COPPICE_DEVICE std::int32_t race(const SampleRow& request, const Weights& weights, float weight_min) {
    Count best = 0;
    float best_score = 0.0F;
    const std::int32_t groups = (weights.row.vocab + 3) / 4;
    for (std::int32_t group = thread_index(); group < groups; group += thread_count()) {
      float four[4];
      float heaviest = 0.0F;
#pragma unroll
      for (std::int32_t i = 0; i < 4; ++i) {
        const std::int32_t token = 4 * group + i;
        four[i] = token < weights.row.vocab ? weights.at(token) : 0.0F;
        four[i] = four[i] < weight_min ? 0.0F : four[i];
        heaviest = four[i] > heaviest ? four[i] : heaviest;
      }
      if (heaviest * 0x1.0p34F <= best_score) {
        continue;  // no E is below 2^-33
      }
      const Vector<std::uint32_t, 4> words =
          random_words(request.seed, request.position, static_cast<std::uint32_t>(group));
#pragma unroll
      for (std::int32_t i = 0; i < 4; ++i) {
        const float score = four[i] / exponential_draw(words.at[i]);
        if (score > best_score) {
          best_score = score;
          best =
              static_cast<Count>(float_bits(score)) << 32 | (0xFFFFFFFFU - static_cast<std::uint32_t>(4 * group + i));
        }
      }
    }
    best = sample_block_max(best);
    return best == 0 ? -1 : token_of(best);
  }

  // Returns the lowest token that the mask allows and no list forbids, 0 if there is none: the result for a row with
  // nothing to draw.
  static COPPICE_DEVICE TokenId last_resort(const Params& params, const SampleRow& request, const Row& row) {
    Count best = 0;
    for (std::int32_t token = thread_index(); token < row.vocab; token += thread_count()) {
      bool is_fit = row.is_allowed(token);
      for (std::int32_t i = request.forbidden_begin; is_fit && i < request.edits_end; ++i) {
        const SampleEdit forbidden = params.edits[i];
        is_fit = forbidden.token != token;
      }
      const Count entry = is_fit ? Count{1} << 32 | (0xFFFFFFFFU - static_cast<std::uint32_t>(token)) : 0;
      best = entry > best ? entry : best;
    }
    best = sample_block_max(best);
    return best == 0 ? 0 : token_of(best);
  }

  // Returns the drawn token; -1 from a broken row.
  static COPPICE_DEVICE TokenId draw(const Params& params, const SampleRow& request, const Row& row) {
    const Count entry = find_largest(row);
    if (entry == kBroken) {
      return -1;
    }
    if (entry == 0) {
      return last_resort(params, request, row);
    }
    const TokenId greedy = token_of(entry);
    if (!(request.temperature > 0.0F) || request.top_k == 1) {
      return greedy;
    }
    Weights weights{row,
                    logit_of_key(static_cast<std::uint32_t>(entry >> 32)),
                    request.temperature < 1e30F ? request.temperature : 1e30F,
                    {0, kEveryToken},
                    {0, kEveryToken}};
    if (request.top_k > 0 && request.top_k < row.vocab) {
      weights.by_logit = cut_top_k(row, request.top_k);
    }
    float weight_min = request.min_p < 1.0F ? request.min_p : 1.0F;
    if (request.top_p < 1.0F) {
      weights.by_weight = cut_top_p(weights, request.top_p);
      const float smallest = bits_float(weights.by_weight.key);
      weight_min = weight_min > smallest ? weight_min : smallest;
    }
    const TokenId winner = race(request, weights, weight_min);
    return winner >= 0 ? winner : greedy;
  }

  // --- logprobs ---

  // largest, sum, the labels and the most likely tokens of the model's own logits. False when the row is broken.
  static COPPICE_DEVICE bool describe(const Params& params, const SampleRow& request, const Row& row,
                                      SampleAnswer& answer) {
    const Count entry = find_largest(row);
    if (entry == kBroken) {
      return false;
    }
    answer.largest = entry == 0 ? negative_infinity() : logit_of_key(static_cast<std::uint32_t>(entry >> 32));
    float sum = 0.0F;
    for (std::int32_t token = thread_index(); token < row.vocab; token += thread_count()) {
      const float x = row.logit(token);
      sum += entry != 0 && is_finite(x) ? exponential(x - answer.largest) : 0.0F;
    }
    sync_block();
    answer.sum = block_sum(sum, SampleShared::float_scratch());
    for (std::int32_t i = request.labels_begin + thread_index(); i < request.labels_end; i += thread_count()) {
      params.label_logits[i] = row.logit(params.labels[i]);
    }
    std::int32_t wanted = request.top_logprobs < row.vocab ? request.top_logprobs : row.vocab;
    wanted = wanted < params.top_capacity ? wanted : params.top_capacity;
    answer.top_count = wanted > 0 ? wanted : 0;
    if (wanted <= 0) {
      return true;
    }
    const auto key_of = [&row](std::int32_t token) { return key_of_logit(row.logit(token)); };
    const SampleCut cut =
        sample_cut_prefix(row.vocab, static_cast<Count>(wanted), key_of, [](std::uint32_t) { return Count{1}; });
    const Shared<Count> taken = SampleShared::results() + 3;
    sync_block();
    if (thread_index() == 0) {
      taken[0] = 0;
    }
    sync_block();
    const Global<SampleTop> tops = params.tops + std::int64_t{block_index()} * params.top_capacity;
    for (std::int32_t token = thread_index(); token < row.vocab; token += thread_count()) {
      if (cut.keeps(key_of(token), token)) {
        const Count place = atomic_add(taken, Count{1});
        tops[static_cast<std::int32_t>(place)] = SampleTop{token, row.logit(token)};
      }
    }
    return true;
  }

  static COPPICE_DEVICE void run(const Params& params) {
    const SampleRow request = params.rows[block_index()];
    const Global<float> logits = params.logits + block_index() * params.stride;
    const Row own{logits, params.allowed, -1, params.vocab};
    const Row masked{logits, params.allowed + request.allowed_begin, request.allowed_words, params.vocab};
    const bool wants_logprobs = request.wants_logprobs();
    SampleAnswer answer{request.scored, 0.0F, 0.0F, 0.0F, 0};
    bool is_whole = true;
    if (wants_logprobs) {
      is_whole = describe(params, request, own, answer);
      sync_block();
    }
    if (!is_whole) {
      answer.token = -1;
    } else if (request.scored < 0) {
      const bool has_edits = request.edits_end > request.biases_begin;
      if (has_edits) {
        edit_logits(params, request, masked);
      }
      answer.token = draw(params, request, masked);
      if (has_edits && wants_logprobs) {
        restore_edited(params, request, masked);
      }
    }
    if (wants_logprobs && answer.token >= 0) {
      answer.logit = logits[answer.token];
    }
    if (thread_index() == 0) {
      params.answers[block_index()] = answer;
    }
  }
};

}  // namespace coppice::kernels::cuda
