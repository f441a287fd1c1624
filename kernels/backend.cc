// The contract of every operation, checked once here for all devices.
#include "kernels/backend.h"

#include <chrono>

#include "absl/status/status.h"
#include "base/check.h"
#include "fmt/format.h"

namespace coppice::kernels {

namespace {

// Dimensions beyond this are a damaged file, not a model; their products still fit 63 bits.
constexpr std::int64_t kDimensionMax = std::int64_t{1} << 28;

bool is_view(const Matrix& matrix) {
  return matrix.rows >= 0 && matrix.columns > 0 && (matrix.rows <= 1 || matrix.stride >= matrix.columns) &&
         (matrix.rows == 0 || matrix.data != nullptr);
}

bool is_f32(const Matrix& matrix) {
  return matrix.dtype == DType::kF32;
}

std::int64_t size_of(std::size_t count) {
  return static_cast<std::int64_t>(count);
}

void check_step(const StepInputs& host, const AttentionPlan& plan) {
  COPPICE_CHECK(size_of(host.tokens.size()) == plan.row_count, "load_step: the plan is of another step");
  COPPICE_CHECK(host.positions.size() == host.tokens.size() && host.slots.size() == host.tokens.size(),
                "load_step: one position and one slot per token");
}

// Adds the time of its own life to a sum.
class ScopedTimer {
 public:
  explicit ScopedTimer(std::uint64_t& sum_ns) : sum_ns_(sum_ns) {}
  ~ScopedTimer() {
    const auto spent = std::chrono::steady_clock::now() - begin_;
    sum_ns_ += static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
  }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  std::uint64_t& sum_ns_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

absl::Status check_parts(std::span<const HostTensor> parts, std::span<const HostTensor> biases) {
  if (parts.empty() || (!biases.empty() && biases.size() != parts.size())) {
    return absl::InvalidArgumentError(fmt::format("weights: {} parts with {} biases", parts.size(), biases.size()));
  }
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const HostTensor& part = parts[i];
    if (part.data == nullptr || part.rows <= 0 || part.columns <= 0 || part.rows > kDimensionMax ||
        part.columns > kDimensionMax || part.columns != parts.front().columns) {
      return absl::InvalidArgumentError(fmt::format("weights: part {} is {} x {} beside a first part of {} x {}", i,
                                                    part.rows, part.columns, parts.front().rows,
                                                    parts.front().columns));
    }
    rows += part.rows;
    if (!biases.empty() && biases[i].data != nullptr && biases[i].rows * biases[i].columns != part.rows) {
      return absl::InvalidArgumentError(
          fmt::format("weights: bias {} has {} numbers for {} rows", i, biases[i].rows * biases[i].columns, part.rows));
    }
  }
  if (rows > kDimensionMax) {
    return absl::InvalidArgumentError(fmt::format("weights: {} rows are more than {}", rows, kDimensionMax));
  }
  return absl::OkStatus();
}

}  // namespace

bool Backend::computes_in(DType dtype) const {
  return dtype != DType::kF16 || supports(dtype);
}

absl::StatusOr<std::unique_ptr<LinearWeight>> Backend::pack_linear(std::span<const HostTensor> parts,
                                                                   std::span<const HostTensor> biases, DType dtype) {
  if (!computes_in(dtype)) {
    return absl::InvalidArgumentError(
        fmt::format("weights: {} multiplies in f32 or bf16, not in {}", name(), dtype_name(dtype)));
  }
  if (absl::Status status = check_parts(parts, biases); !status.ok()) {
    return status;
  }
  return do_pack_linear(parts, biases, dtype);
}

absl::StatusOr<std::unique_ptr<KvCache>> Backend::make_kv_cache(const KvGeometry& geometry) {
  if (geometry.layers <= 0 || geometry.key_heads <= 0 || geometry.head_dim <= 0 || geometry.page_size <= 0 ||
      geometry.pages <= 0) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: {} layers, {} heads of {}, {} pages of {}: none may be below 1", geometry.layers,
                    geometry.key_heads, geometry.head_dim, geometry.pages, geometry.page_size));
  }
  return do_make_kv_cache(geometry);
}

void Backend::embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out) {
  COPPICE_CHECK(is_view(table) && is_view(out) && is_f32(out), "embed: bad view");
  COPPICE_CHECK(out.rows == size_of(tokens.size()) && out.columns == table.columns, "embed: shapes differ");
  const ScopedTimer timer(times_.other_ns);
  do_embed(tokens, table, out);
}

void Backend::rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) {
  COPPICE_CHECK(is_view(x) && is_f32(x) && is_view(out) && computes_in(out.dtype), "rms_norm: bad view");
  COPPICE_CHECK(out.rows == x.rows && out.columns == x.columns, "rms_norm: shapes differ");
  COPPICE_CHECK(weight != nullptr, "rms_norm: no weight");
  const ScopedTimer timer(times_.other_ns);
  do_rms_norm(x, weight, epsilon, out);
}

void Backend::linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) {
  COPPICE_CHECK(is_view(in) && is_view(out), "linear: bad view");
  COPPICE_CHECK(in.rows == out.rows && in.columns == weight.in_features() && out.columns == weight.out_features(),
                "linear: shapes differ");
  COPPICE_CHECK(computes_in(in.dtype) && (is_f32(out) || out.dtype == in.dtype), "linear: bad types");
  COPPICE_CHECK(epilogue == LinearEpilogue::kStore || is_f32(out), "linear: kAdd needs f32");
  const ScopedTimer timer(times_.linear_ns);
  do_linear(in, weight, epilogue, out);
}

void Backend::rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                             const RopeParameters& parameters, KvCache& cache, std::int32_t layer,
                             const Matrix& query_out) {
  const KvGeometry& geometry = cache.geometry();
  COPPICE_CHECK(is_view(qkv) && is_f32(qkv) && is_view(query_out), "rope_and_store: bad view");
  COPPICE_CHECK(parameters.head_dim == geometry.head_dim && parameters.key_heads == geometry.key_heads &&
                    parameters.query_heads > 0 && parameters.query_heads % parameters.key_heads == 0,
                "rope_and_store: heads differ from the cache's");
  const std::int64_t head_dim = parameters.head_dim;
  COPPICE_CHECK(qkv.columns == (parameters.query_heads + 2 * std::int64_t{parameters.key_heads}) * head_dim &&
                    query_out.columns == parameters.query_heads * head_dim && query_out.dtype == geometry.dtype,
                "rope_and_store: shapes differ");
  COPPICE_CHECK(
      query_out.rows == qkv.rows && size_of(positions.size()) == qkv.rows && size_of(slots.size()) == qkv.rows,
      "rope_and_store: row counts differ");
  COPPICE_CHECK(layer >= 0 && layer < geometry.layers, "rope_and_store: no such layer");
  COPPICE_CHECK(parameters.rotary_dim >= 0 && parameters.rotary_dim <= head_dim && parameters.rotary_dim % 2 == 0 &&
                    (parameters.rotary_dim == 0 || parameters.inverse_frequency != nullptr),
                "rope_and_store: bad rotary_dim");
  const ScopedTimer timer(times_.other_ns);
  do_rope_and_store(qkv, positions, slots, parameters, cache, layer, query_out);
}

absl::StatusOr<StepProgram> Backend::reserve_steps(const StepLimits& limits) {
  COPPICE_CHECK(limits.tokens > 0 && limits.logits > 0 && limits.sequences > 0 && limits.sequence_tokens > 0 &&
                    limits.page_size > 0 && limits.vocab > 0 && limits.head_dim > 0 && limits.key_heads > 0 &&
                    limits.query_heads % limits.key_heads == 0,
                "reserve_steps: limits are positive");
  const StepProgram program{++programs_};
  if (absl::Status status = do_reserve_steps(program, limits); !status.ok()) {
    return status;
  }
  return program;
}

StepInputs Backend::load_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                              const AttentionParameters& parameters, bool is_prepared) {
  check_step(host, plan);
  return do_load_step(program, host, plan, parameters, is_prepared);
}

void Backend::prepare_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                           const AttentionParameters& parameters) {
  check_step(host, plan);
  do_prepare_step(program, host, plan, parameters);
}

void Backend::run_step(StepProgram program, const StepInputs& inputs, absl::FunctionRef<void()> enqueue) {
  do_run_step(program, inputs, enqueue);
}

void Backend::prepare_attention(const AttentionPlan& plan, const AttentionParameters& parameters) {
  do_load_step(StepProgram::kNone, {}, plan, parameters, false);
}

void Backend::attention(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                        const KvCache& cache, std::int32_t layer, const Matrix& out) {
  const KvGeometry& geometry = cache.geometry();
  COPPICE_CHECK(is_view(query) && is_view(out) && query.dtype == geometry.dtype, "attention: bad view");
  COPPICE_CHECK(is_f32(out) || out.dtype == geometry.dtype, "attention: bad output type");
  COPPICE_CHECK(parameters.head_dim == geometry.head_dim && parameters.key_heads == geometry.key_heads &&
                    parameters.query_heads > 0 && parameters.query_heads % parameters.key_heads == 0,
                "attention: heads differ from the cache's");
  COPPICE_CHECK(plan.page_size == geometry.page_size, "attention: the plan was made for another page size");
  COPPICE_CHECK(query.rows >= plan.row_count && out.rows == query.rows &&
                    query.columns == std::int64_t{parameters.query_heads} * parameters.head_dim &&
                    out.columns == query.columns,
                "attention: shapes differ");
  COPPICE_CHECK(layer >= 0 && layer < geometry.layers, "attention: no such layer");
  const ScopedTimer timer(times_.attention_ns);
  do_attention(plan, parameters, query, cache, layer, out);
}

void Backend::swiglu(const Matrix& gate_up, const Matrix& out) {
  COPPICE_CHECK(is_view(gate_up) && is_view(out) && computes_in(out.dtype), "swiglu: bad view");
  COPPICE_CHECK(is_f32(gate_up) || gate_up.dtype == out.dtype, "swiglu: bad types");
  COPPICE_CHECK(gate_up.rows == out.rows && gate_up.columns == 2 * out.columns, "swiglu: shapes differ");
  const ScopedTimer timer(times_.other_ns);
  do_swiglu(gate_up, out);
}

void Backend::gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) {
  COPPICE_CHECK(is_view(in) && is_f32(in) && is_view(out) && is_f32(out), "gather_rows: bad view");
  COPPICE_CHECK(out.rows == size_of(rows.size()) && out.columns == in.columns, "gather_rows: shapes differ");
  const ScopedTimer timer(times_.other_ns);
  do_gather_rows(in, rows, out);
}

void Backend::enqueue_sample(const Matrix& logits, std::span<const SamplingRow> rows) {
  COPPICE_CHECK(rows.empty() || (is_view(logits) && is_f32(logits)), "sample: bad view");
  COPPICE_CHECK(logits.rows == size_of(rows.size()), "sample: row counts differ");
  const ScopedTimer timer(times_.sample_ns);
  do_enqueue_sample(logits, rows);
}

void Backend::finish_sample(std::span<const SamplingRow> rows, std::span<SamplingResult> results) {
  COPPICE_CHECK(rows.size() == results.size(), "sample: row counts differ");
  const ScopedTimer timer(times_.sample_ns);
  do_finish_sample(rows, results);
}

void Backend::sample(const Matrix& logits, std::span<const SamplingRow> rows, std::span<SamplingResult> results) {
  enqueue_sample(logits, rows);
  finish_sample(rows, results);
}

void Backend::copy_page(KvCache& cache, PageId from, PageId to) {
  const std::int32_t pages = cache.geometry().pages;
  COPPICE_CHECK(from >= 0 && from < pages && to >= 0 && to < pages, "copy_page: no such page");
  do_copy_page(cache, from, to);
}

void Backend::move_slots(KvCache& cache, std::span<const SlotMove> moves) {
  const std::int64_t slots = std::int64_t{cache.geometry().pages} * cache.geometry().page_size;
  for (const SlotMove& move : moves) {
    COPPICE_CHECK(move.from >= 0 && move.from < slots && move.to >= 0 && move.to < slots, "move_slots: no such slot");
  }
  do_move_slots(cache, moves);
}

}  // namespace coppice::kernels
