// Steps of a Transformer by hand (model_runner.h).
#include "tests/support/model_runner.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"

namespace coppice::tests {

absl::StatusOr<std::unique_ptr<ModelRunner>> ModelRunner::make(const models::ModelConfig& config,
                                                               models::WeightSource& source,
                                                               const RunnerOptions& options) {
  std::unique_ptr<ModelRunner> runner(new ModelRunner());
  runner->options_ = options;
  if (options.open_backend) {
    COPPICE_ASSIGN_OR_RETURN(runner->backend_, options.open_backend());
  } else {
    COPPICE_ASSIGN_OR_RETURN(runner->backend_, kernels::cpu::make_cpu_backend({.threads = options.threads}));
  }
  const models::TransformerLimits limits = {options.step_tokens, options.step_tokens};
  COPPICE_ASSIGN_OR_RETURN(runner->transformer_,
                           models::Transformer::load(config, source, *runner->backend_, options.formats(), limits, {}));
  const std::int32_t pages_each = (options.sequence_tokens + options.page_size - 1) / options.page_size;
  const std::int32_t pages = pages_each * options.sequences;
  COPPICE_ASSIGN_OR_RETURN(runner->cache_, runner->backend_->device().make_kv_cache(
                                               runner->transformer_->kv_geometry(options.page_size, pages)));
  const kernels::AttentionParameters& attention = runner->transformer_->attention_parameters();
  const std::int32_t reserved = options.reserved_tokens > 0 ? options.reserved_tokens : options.step_tokens;
  COPPICE_ASSIGN_OR_RETURN(runner->program_,
                           runner->backend_->steps().reserve({.tokens = reserved,
                                                              .logits = reserved,
                                                              .sequences = options.sequences,
                                                              .sequence_tokens = pages_each * options.page_size,
                                                              .page_size = options.page_size,
                                                              .query_heads = attention.query_heads,
                                                              .key_heads = attention.key_heads,
                                                              .head_dim = attention.head_dim,
                                                              .vocab = config.vocab,
                                                              .workers = runner->cache_->workers()}));
  runner->lengths_.resize(static_cast<std::size_t>(options.sequences));
  runner->pages_.resize(static_cast<std::size_t>(options.sequences));
  // Pages are dealt out from the end, one to each sequence in turn: neighbours in a sequence are apart in the pool.
  for (std::int32_t page = pages - 1; page >= 0; --page) {
    runner->pages_[static_cast<std::size_t>(page % options.sequences)].push_back(page);
  }
  return runner;
}

void ModelRunner::share_prefix(std::int32_t from, std::int32_t to, std::int32_t tokens) {
  COPPICE_CHECK(tokens % options_.page_size == 0, "whole pages are shared");
  const auto& source = pages_[static_cast<std::size_t>(from)];
  std::copy_n(source.begin(), tokens / options_.page_size, pages_[static_cast<std::size_t>(to)].begin());
  lengths_[static_cast<std::size_t>(to)] = tokens;
}

std::vector<std::vector<float>> ModelRunner::step(std::span<const RunnerRow> rows) {
  std::vector<TokenId> tokens;
  std::vector<KvSlot> slots;
  std::vector<std::int32_t> logits_rows;
  std::vector<std::int32_t> hidden_rows;
  std::vector<kernels::PlanSequence> sequences;
  for (const RunnerRow& row : rows) {
    const auto index = static_cast<std::size_t>(row.sequence);
    sequences.push_back({.pages = pages_[index],
                         .row_begin = static_cast<std::int32_t>(tokens.size()),
                         .row_count = static_cast<std::int32_t>(row.tokens.size()),
                         .position_begin = lengths_[index],
                         .draft_parents = {}});
    const auto count = static_cast<std::int32_t>(row.tokens.size());
    const std::int32_t first_wanted = sequences.back().row_begin + count - (row.logits < 0 ? count : row.logits);
    for (const TokenId token : row.tokens) {
      const std::int32_t position = lengths_[index]++;
      const PageId page = pages_[index][static_cast<std::size_t>(position / options_.page_size)];
      if (static_cast<std::int32_t>(tokens.size()) >= first_wanted) {
        logits_rows.push_back(static_cast<std::int32_t>(tokens.size()));
      }
      if (static_cast<std::int32_t>(tokens.size()) >= sequences.back().row_begin + count - row.hidden) {
        hidden_rows.push_back(static_cast<std::int32_t>(tokens.size()));
      }
      tokens.push_back(token);
      slots.push_back(page * options_.page_size + position % options_.page_size);
    }
  }
  const models::ModelConfig& config = transformer_->config();
  const kernels::AttentionPlan& plan = planner_.plan(sequences, {.sharing = options_.sharing,
                                                                 .page_size = options_.page_size,
                                                                 .window = config.sliding_window,
                                                                 .group_size = config.query_heads / config.key_heads,
                                                                 .key_heads = config.key_heads,
                                                                 .workers = cache_->workers()});
  kernels::StepRunner& runner = backend_->steps();
  kernels::PreparedStep prepared =
      runner.prepare(program_, {.slots = slots, .logits_rows = logits_rows, .hidden_rows = hidden_rows}, plan,
                     transformer_->attention_parameters());
  if (options_.after_prepare) {
    options_.after_prepare();
  }
  runner.run(std::move(prepared), tokens,
             [&](const kernels::LoadedStep& step) { transformer_->forward(step, *cache_); });
  hidden_states_ = fetch(transformer_->hidden_states(static_cast<std::int64_t>(hidden_rows.size())));
  return fetch(transformer_->logits(static_cast<std::int64_t>(logits_rows.size())));
}

std::vector<std::vector<float>> ModelRunner::fetch(const kernels::Matrix& matrix) {
  std::vector<std::vector<float>> rows;
  const auto columns = static_cast<std::size_t>(matrix.columns);
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const float* begin = static_cast<const float*>(matrix.data) + row * matrix.stride;
    std::vector<float>& host = rows.emplace_back(columns);
    backend_->device().download(begin, host.data(), columns * sizeof(float));
  }
  backend_->device().synchronize();
  return rows;
}

std::vector<std::vector<float>> ModelRunner::feed(std::int32_t sequence, std::span<const TokenId> tokens,
                                                  std::int32_t chunk) {
  std::vector<std::vector<float>> logits;
  for (std::size_t begin = 0; begin < tokens.size(); begin += static_cast<std::size_t>(chunk)) {
    const std::size_t count = std::min(static_cast<std::size_t>(chunk), tokens.size() - begin);
    const auto part = tokens.subspan(begin, count);
    const RunnerRow row = {sequence, {part.begin(), part.end()}};
    for (std::vector<float>& one : step(std::span(&row, 1))) {
      logits.push_back(std::move(one));
    }
  }
  return logits;
}

TokenId greedy_token(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace coppice::tests
