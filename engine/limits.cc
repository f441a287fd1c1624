// How limits follow from options, model and memory.
#include "engine/limits.h"

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "models/kv_geometry.h"

namespace coppice::engine {
namespace {

// Rows of a step: enough that matrix products are bound by arithmetic, not by reading weights, and few enough that a
// decoding sequence does not wait long for its next token. Chosen, not measured.
constexpr std::int32_t kStepTokensDefault = 512;
// Sequences in a step: half of its rows, so that prompts get rows even when all of them decode.
constexpr std::int32_t kRunningDefault = 256;
// Requests that wait: four times as many as run by default, so that a burst is kept rather than refused. Chosen, not
// measured.
constexpr std::int32_t kQueuedDefault = 1024;
// Logits rows for drafts, beside one for each running sequence: at least two draft trees of
// 32 nodes, at most as many as sequences run by default, since each takes a row of vocabulary-wide floats.
constexpr std::int32_t kDraftLogitsMin = 64;
constexpr std::int32_t kDraftLogitsMax = 256;
// Without --kv-memory, 1/kKvSpareIn of the memory left stays free: activations, logits, the front end, other programs.
constexpr std::size_t kKvSpareIn = 2;
// Upper bound: this multiple of what all running sequences can fill. Pages beyond it would only keep old prefixes.
constexpr std::int64_t kPoolFills = 2;
// All kept prefixes together have at most 1/kKeptIn of the pages, unless one account may have more: the rest is always
// for prefixes that nothing protects, so that keeping much never turns the cache off for others.
constexpr std::int32_t kKeptIn = 2;
constexpr std::int32_t kPageSizes[] = {16, 32, 64, 128};  // tokens: the divisors of the smallest KV split from 16 on

absl::Status check_options(const EngineOptions& options) {
  if (std::find(std::begin(kPageSizes), std::end(kPageSizes), options.page_size) == std::end(kPageSizes)) {
    return absl::InvalidArgumentError(
        fmt::format("--page-size {} cannot work: use 16, 32, 64 or 128", options.page_size));
  }
  struct Named {
    const char* flag;
    std::int64_t value;
  };
  for (const Named& named :
       {Named{"--max-model-len", options.model_tokens_max}, Named{"--max-batch-tokens", options.step_tokens_max},
        Named{"--max-running", options.running_max}, Named{"--max-queued", options.queued_max},
        Named{"the prompt chunk", options.chunk_tokens_max}}) {
    if (named.value < 0) {
      return absl::InvalidArgumentError(fmt::format(
          "{} {} cannot work: use a positive number, or 0 to let the program choose", named.flag, named.value));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int32_t> derive_pages(const EngineOptions& options, std::size_t page_bytes,
                                          std::size_t memory_bytes) {
  if (options.kv_bytes > memory_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("--kv-memory {} cannot work: only {} bytes are left for it", options.kv_bytes, memory_bytes));
  }
  const std::size_t bytes = options.kv_bytes != 0 ? options.kv_bytes : memory_bytes - memory_bytes / kKvSpareIn;
  if (bytes < page_bytes) {
    if (options.kv_bytes != 0 && memory_bytes >= page_bytes) {
      return absl::InvalidArgumentError(fmt::format("--kv-memory {} cannot work: one page of {} tokens takes {} bytes",
                                                    bytes, options.page_size, page_bytes));
    }
    return absl::ResourceExhaustedError(
        fmt::format("KV memory: one page of {} tokens takes {} bytes, but only {} are left; use a smaller model",
                    options.page_size, page_bytes, bytes));
  }
  // Slots (page * page_size + offset) are 32-bit.
  const std::size_t pages_max =
      static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()) / static_cast<std::size_t>(options.page_size);
  return static_cast<std::int32_t>(std::min(bytes / page_bytes, pages_max));
}

absl::StatusOr<std::int32_t> derive_model_tokens(const EngineOptions& options, std::int32_t max_positions,
                                                 std::int64_t pool_tokens) {
  if (options.model_tokens_max > max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("--max-model-len {} cannot work: the model knows {} positions; use {}", options.model_tokens_max,
                    max_positions, max_positions));
  }
  if (options.model_tokens_max > pool_tokens) {
    return absl::InvalidArgumentError(
        fmt::format("--max-model-len {} cannot work: the KV memory holds {} tokens; use {} or raise --kv-memory",
                    options.model_tokens_max, pool_tokens, pool_tokens));
  }
  const std::int64_t wanted = options.model_tokens_max != 0 ? options.model_tokens_max : max_positions;
  return static_cast<std::int32_t>(std::min(wanted, pool_tokens));
}

KeepLimits derive_keep_limits(double share, std::int32_t pages) {
  KeepLimits kept;
  kept.account_pages = static_cast<std::int32_t>(share * pages);
  kept.pages = kept.account_pages == 0 ? 0 : std::max(kept.account_pages, pages / kKeptIn);
  return kept;
}

}  // namespace

absl::StatusOr<Limits> derive_limits(const EngineOptions& options, const models::ModelConfig& model,
                                     kernels::KvFormat kv, std::size_t memory_bytes) {
  if (const absl::Status status = check_options(options); !status.ok()) {
    return status;
  }
  const std::size_t token_bytes = models::kv_geometry(model, kv, options.page_size, 1).bytes_per_token();
  const absl::StatusOr<std::int32_t> pages =
      derive_pages(options, token_bytes * static_cast<std::size_t>(options.page_size), memory_bytes);
  if (!pages.ok()) {
    return pages.status();
  }
  Limits limits;
  limits.page_size = options.page_size;
  limits.pages = *pages;
  const absl::StatusOr<std::int32_t> model_tokens =
      derive_model_tokens(options, model.max_positions, std::int64_t{limits.pages} * limits.page_size);
  if (!model_tokens.ok()) {
    return model_tokens.status();
  }
  limits.model_tokens_max = *model_tokens;
  limits.step_tokens_max = options.step_tokens_max != 0 ? options.step_tokens_max : kStepTokensDefault;
  limits.running_max =
      options.running_max != 0 ? options.running_max : std::min(kRunningDefault, limits.step_tokens_max);
  if (limits.running_max > limits.step_tokens_max) {
    if (options.step_tokens_max != 0) {
      return absl::InvalidArgumentError(
          fmt::format("--max-running {} cannot work: every running sequence needs a row of the step's {}; use {} or "
                      "raise --max-batch-tokens",
                      limits.running_max, limits.step_tokens_max, limits.step_tokens_max));
    }
    limits.step_tokens_max = limits.running_max;
  }
  if (options.kv_bytes == 0) {
    const std::int64_t useful =
        kPoolFills * limits.running_max * ((limits.model_tokens_max + limits.page_size - 1) / limits.page_size);
    limits.pages = static_cast<std::int32_t>(std::min<std::int64_t>(limits.pages, useful));
  }
  limits.queued_max = options.queued_max != 0 ? options.queued_max : kQueuedDefault;
  // A row for each running sequence, and as many again for drafts, within bounds.
  const std::int32_t for_drafts = std::clamp(limits.running_max, kDraftLogitsMin, kDraftLogitsMax);
  limits.step_logits_max = std::min(limits.step_tokens_max, limits.running_max + for_drafts);
  limits.chunk_tokens_max = options.chunk_tokens_max != 0 ? std::min(options.chunk_tokens_max, limits.step_tokens_max)
                                                          : limits.step_tokens_max;
  limits.priority_across_tenants = options.priority_across_tenants;
  limits.kept = derive_keep_limits(options.prefix_cache ? options.keep_share : 0, limits.pages);
  return limits;
}

std::string Limits::to_string() const {
  return fmt::format(
      "model_tokens_max {}\nstep_tokens_max {}\nstep_logits_max {}\nrunning_max {}\nqueued_max {}\npage_size {}\n"
      "pages {}\nchunk_tokens_max {}\nkept_pages_of_account {}\nkept_pages {}\nchoices_max {}\nbranches_max {}\n"
      "labels_max {}\ntop_logprobs_max {}\nlogit_bias_max {}\nstop_tokens_max {}\nkeeps_max {}\n",
      model_tokens_max, step_tokens_max, step_logits_max, running_max, queued_max, page_size, pages, chunk_tokens_max,
      kept.account_pages, kept.pages, choices_max, branches_max, labels_max, top_logprobs_max, logit_bias_max,
      stop_tokens_max, keeps_max);
}

}  // namespace coppice::engine
