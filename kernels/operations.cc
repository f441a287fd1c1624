// The contract of every operation, checked once for all devices.
#include "kernels/operations.h"

#include <chrono>

#include "base/check.h"

namespace coppice::kernels {

namespace {

bool is_view(const Matrix& matrix) {
  return matrix.rows >= 0 && matrix.columns > 0 && (matrix.rows <= 1 || matrix.stride >= matrix.columns) &&
         (matrix.rows == 0 || matrix.data != nullptr);
}

bool is_f32(const Matrix& matrix) {
  return matrix.dtype == ComputeType::kF32;
}

std::int64_t size_of(std::size_t count) {
  return static_cast<std::int64_t>(count);
}

// Adds its lifetime to a sum.
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

}  // namespace

void Operations::embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out) {
  COPPICE_CHECK(table.data != nullptr && is_view(out) && is_f32(out), "embed: bad view");
  COPPICE_CHECK(table.format.scale_count(1, table.columns) == 0, "embed: the table has scales beside it");
  COPPICE_CHECK(out.rows == size_of(tokens.size()) && out.columns == table.columns, "embed: shapes differ");
  const ScopedTimer timer(times_.other_ns);
  do_embed(tokens, table, out);
}

void Operations::rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) {
  COPPICE_CHECK(is_view(x) && is_f32(x) && is_view(out) && computes_in(out.dtype), "rms_norm: bad view");
  COPPICE_CHECK(out.rows == x.rows && out.columns == x.columns, "rms_norm: shapes differ");
  COPPICE_CHECK(weight != nullptr, "rms_norm: no weight");
  const ScopedTimer timer(times_.other_ns);
  do_rms_norm(x, weight, epsilon, out);
}

void Operations::linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) {
  COPPICE_CHECK(is_view(in) && is_view(out), "linear: bad view");
  COPPICE_CHECK(in.rows == out.rows && in.columns == weight.in_features() && out.columns == weight.out_features(),
                "linear: shapes differ");
  COPPICE_CHECK(computes_in(in.dtype) && (is_f32(out) || out.dtype == in.dtype), "linear: bad types");
  COPPICE_CHECK(epilogue == LinearEpilogue::kStore || is_f32(out), "linear: kAdd needs f32");
  const ScopedTimer timer(times_.linear_ns);
  do_linear(in, weight, epilogue, out);
}

void Operations::rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions,
                                std::span<const KvSlot> slots, const RopeParameters& parameters, KvCache& cache,
                                std::int32_t layer, const Matrix& query_out) {
  const KvGeometry& geometry = cache.geometry();
  COPPICE_CHECK(is_view(qkv) && is_f32(qkv) && is_view(query_out), "rope_and_store: bad view");
  COPPICE_CHECK(parameters.head_dim == geometry.head_dim && parameters.key_heads == geometry.key_heads &&
                    parameters.query_heads > 0 && parameters.query_heads % parameters.key_heads == 0,
                "rope_and_store: heads differ from the cache's");
  const std::int64_t head_dim = parameters.head_dim;
  COPPICE_CHECK(qkv.columns == (parameters.query_heads + 2 * std::int64_t{parameters.key_heads}) * head_dim &&
                    query_out.columns == parameters.query_heads * head_dim,
                "rope_and_store: shapes differ");
  COPPICE_CHECK(attends(query_out.dtype, geometry.format),
                "rope_and_store: the query's type does not go with the cache's format");
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

void Operations::attention(const LoadedAttention& attention, const Matrix& query, const KvCache& cache,
                           std::int32_t layer, const Matrix& out) {
  COPPICE_CHECK(attention.plan != nullptr, "attention: no plan was loaded");
  const AttentionPlan& plan = *attention.plan;
  const AttentionParameters& parameters = attention.parameters;
  const KvGeometry& geometry = cache.geometry();
  COPPICE_CHECK(is_view(query) && is_view(out), "attention: bad view");
  COPPICE_CHECK(attends(query.dtype, geometry.format),
                "attention: the query's type does not go with the cache's format");
  COPPICE_CHECK(is_f32(out) || out.dtype == query.dtype, "attention: bad output type");
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
  do_attention(attention, query, cache, layer, out);
}

void Operations::swiglu(const Matrix& gate_up, const Matrix& out) {
  COPPICE_CHECK(is_view(gate_up) && is_view(out) && computes_in(out.dtype), "swiglu: bad view");
  COPPICE_CHECK(is_f32(gate_up) || gate_up.dtype == out.dtype, "swiglu: bad types");
  COPPICE_CHECK(gate_up.rows == out.rows && gate_up.columns == 2 * out.columns, "swiglu: shapes differ");
  const ScopedTimer timer(times_.other_ns);
  do_swiglu(gate_up, out);
}

void Operations::gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) {
  COPPICE_CHECK(is_view(in) && is_f32(in) && is_view(out) && is_f32(out), "gather_rows: bad view");
  COPPICE_CHECK(out.rows == size_of(rows.size()) && out.columns == in.columns, "gather_rows: shapes differ");
  const ScopedTimer timer(times_.other_ns);
  do_gather_rows(in, rows, out);
}

}  // namespace coppice::kernels
