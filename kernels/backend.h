// Backend: what a model needs from a device, in about ten fused operations. The public functions check every contract
// once, here; a device implements the private virtual ones and may trust its inputs. Which devices exist is decided at
// link time (make_cpu_backend; a CUDA backend behind the same interface), never by #ifdef.
//
// Thread: one caller thread (the engine's); operations run in order on the device and may be asynchronous until
// synchronize(). Owner: the program's main object. A backend outlives everything it made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/attention_plan.h"
#include "kernels/machine_figures.h"
#include "kernels/sampling.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace coppice::kernels {

// A weight matrix [out_features, in_features] with optional bias, packed in the device's own layout. Immutable. Made by
// Backend::pack_linear.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  std::int64_t out_features() const { return out_features_; }
  std::int64_t in_features() const { return in_features_; }
  // Bytes read from memory when the whole matrix is used once: for the roofline.
  virtual std::size_t bytes() const = 0;

 protected:
  LinearWeight(std::int64_t out_features, std::int64_t in_features)
      : out_features_(out_features), in_features_(in_features) {}

 private:
  std::int64_t out_features_;
  std::int64_t in_features_;
};

// Moves one token's K and V, in every layer, from one slot to another.
struct SlotMove {
  KvSlot from = 0;
  KvSlot to = 0;
};

struct KvGeometry {
  std::int32_t layers = 0;
  std::int32_t key_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t page_size = 16;
  std::int32_t pages = 0;
  DType dtype = DType::kBF16;

  std::size_t bytes_per_token() const {
    return 2 * static_cast<std::size_t>(layers) * static_cast<std::size_t>(key_heads) *
           static_cast<std::size_t>(head_dim) * dtype_bytes(dtype);
  }
};

// The memory of all pages in all layers, in the device's own layout. Owned by the engine's pool; contents start as
// zeros.
class KvCache {
 public:
  virtual ~KvCache() = default;
  const KvGeometry& geometry() const { return geometry_; }

 protected:
  explicit KvCache(const KvGeometry& geometry) : geometry_(geometry) {}

 private:
  KvGeometry geometry_;
};

// What rope_and_store does to one layer's fresh Q, K, V.
struct RopeParameters {
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t rotary_dim = 0;               // leading dimensions of a head that rotate; pairs (i, i + rotary_dim / 2)
  const float* inverse_frequency = nullptr;  // [rotary_dim / 2], host memory; scaling already applied
  float attention_factor = 1.0F;             // multiplies cos and sin (YaRN)
  const float* query_norm = nullptr;         // [head_dim] RMSNorm weights per head before rotation (Qwen3), or null
  const float* key_norm = nullptr;
  float norm_epsilon = 1e-6F;
};

struct AttentionParameters {
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
  std::int32_t head_dim = 0;
  float scale = 1.0F;  // usually 1 / sqrt(head_dim)
};

enum class LinearEpilogue : std::uint8_t { kStore, kAdd };  // out = product, or out += product (the residual stream)

// Nanoseconds that callers spent inside operations since the backend was made: for benchmarks, which want to know where
// a step goes. On a device that works behind the caller's back these are the times to enqueue.
struct OperationTimes {
  std::uint64_t linear_ns = 0;
  std::uint64_t attention_ns = 0;
  std::uint64_t other_ns = 0;  // of the forward pass: norms, rotation, activation, gathering
  std::uint64_t sample_ns = 0;

  std::uint64_t forward_ns() const { return linear_ns + attention_ns + other_ns; }
};

class Backend {
 public:
  virtual ~Backend() = default;

  OperationTimes operation_times() const { return times_; }

  virtual std::string name() const = 0;         // "cpu", "cuda"
  virtual std::string description() const = 0;  // instruction set, cores
  // Whether weights, activations and the KV cache in this type are computed with at full speed. f32 and bf16 are
  // computed with in any case, f16 only where this says so. A number beyond the range of f16 becomes infinite, as
  // everywhere: such a model has to run in bf16.
  virtual bool supports(DType dtype) const = 0;
  virtual bool is_asynchronous() const = 0;          // operations return before they are done
  virtual int workers() const = 0;                   // how many workers attention items should keep busy
  virtual std::int64_t available_bytes() const = 0;  // device memory that allocate() could still give

  // What the device can do at best, measured now, in a second or two. ERRORS: ResourceExhausted.
  virtual absl::StatusOr<MachineFigures> measure() = 0;

  virtual absl::StatusOr<Buffer> allocate(std::size_t bytes) = 0;  // zeroed; ResourceExhausted
  virtual void upload(const void* host, void* device, std::size_t bytes) = 0;
  virtual void download(const void* device, void* host, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

  // Stacks `parts` on their rows (q, k, v; gate, up), converts to `dtype`, packs. `biases` is empty or one vector (or a
  // null tensor) per part.
  absl::StatusOr<std::unique_ptr<LinearWeight>> pack_linear(std::span<const HostTensor> parts,
                                                            std::span<const HostTensor> biases, DType dtype);
  absl::StatusOr<std::unique_ptr<KvCache>> make_kv_cache(const KvGeometry& geometry);

  // --- a step ---

  // Takes memory for steps within `limits`, so that none of them allocates, and names the caller. After make_kv_cache.
  // ERRORS: ResourceExhausted.
  absl::StatusOr<StepProgram> reserve_steps(const StepLimits& limits);
  // Brings a step's inputs and its attention plan to the device, which may pad them up to the program's limits
  // (StepInputs). The host's arrays stay as they are until the step's operations were enqueued. A step larger than was
  // reserved is not refused. is_prepared: prepare_step() was given the same. REQUIRES: the plan has the rows of the
  // host's tokens.
  StepInputs load_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                       const AttentionParameters& parameters, bool is_prepared = false);
  // While a step runs: what the next load_step() can be spared, of the same arguments but for the values of
  // host.tokens, which may not be known yet.
  void prepare_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                    const AttentionParameters& parameters);
  // Enqueues the operations that `enqueue` calls, or plays a recording of them, so `enqueue` may not be called at all:
  // for as many (padded) tokens and logits rows one program must enqueue the same operations on the same memory, and
  // nothing that waits, allocates or copies from the host. `inputs`: what load_step() returned.
  void run_step(StepProgram program, const StepInputs& inputs, absl::FunctionRef<void()> enqueue);
  // Drops what was recorded: from now on run_step() is given other operations.
  virtual void forget_steps() {}
  // Nanoseconds on the device from when what load_step() copies is there to the end of the step, as of the last
  // finish_sample(); 0 where the caller's thread itself does the work.
  virtual std::uint64_t device_ns() const { return 0; }
  // After enqueue_sample(): the step is not done yet, so finish_sample() would wait.
  virtual bool is_working() const { return false; }
  virtual StepCounts step_counts() const { return {}; }
  // A plan alone, without a step around it.
  void prepare_attention(const AttentionPlan& plan, const AttentionParameters& parameters);

  // --- operations ---

  // out[i, :] = table[tokens[i], :]. tokens: device memory. out: f32 [tokens, hidden].
  void embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out);
  // out[i, :] = x[i, :] / rms(x[i, :]) * weight. x: f32 [rows, hidden]; weight: f32 [hidden] device memory; out: f32 or
  // the weights' dtype.
  void rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out);
  // out = in · weightᵀ + bias. in: the weight's dtype [rows, in_features]; out: f32 or the weight's dtype [rows,
  // out_features]; kAdd needs f32. A row of out depends on its row of in alone, to the bit.
  void linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out);
  // qkv: f32 [tokens, (query_heads + 2 * key_heads) * head_dim]. Normalises and rotates Q and K; writes K, V to their
  // slots in `layer` (kNoSlot: nowhere) and Q to `query_out` [tokens, query_heads * head_dim] in the cache's dtype.
  // positions, slots: device memory, one per token.
  void rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                      const RopeParameters& parameters, KvCache& cache, std::int32_t layer, const Matrix& query_out);
  // out: the cache's dtype or f32 [tokens, query_heads * head_dim]. `plan` is the one of the last load_step() or
  // prepare_attention(). Rows that it does not name (padding, behind its row_count) are left as they are.
  void attention(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                 const KvCache& cache, std::int32_t layer, const Matrix& out);
  // out[i, j] = silu(gate_up[i, j]) * gate_up[i, intermediate + j]. gate_up: f32 or out's dtype [rows, 2 *
  // intermediate].
  void swiglu(const Matrix& gate_up, const Matrix& out);
  // out[i, :] = in[rows[i], :]. Both f32. rows: device memory.
  void gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out);
  // Sampling in two halves, between which a device works: one row of `rows` per row of logits (f32 [logits_rows,
  // vocab]; may be overwritten). The rows stay as they are until finish_sample(), and so does what their spans name,
  // but on an asynchronous device only until this returns. Ends the step.
  void enqueue_sample(const Matrix& logits, std::span<const SamplingRow> rows);
  // Waits for the step. REQUIRES: `rows` are those of the last enqueue_sample(), results.size() == rows.size().
  void finish_sample(std::span<const SamplingRow> rows, std::span<SamplingResult> results);
  // Both halves.
  void sample(const Matrix& logits, std::span<const SamplingRow> rows, std::span<SamplingResult> results);
  // Copies one page in every layer (copy on write).
  void copy_page(KvCache& cache, PageId from, PageId to);
  // Copies single slots in every layer, one after the other as listed (a later move may read what an earlier one
  // wrote): how the accepted path of a draft tree comes to stand at consecutive positions.
  void move_slots(KvCache& cache, std::span<const SlotMove> moves);

 private:
  bool computes_in(DType dtype) const;

  virtual absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostTensor> parts,
                                                                       std::span<const HostTensor> biases,
                                                                       DType dtype) = 0;
  virtual absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) = 0;
  virtual void do_embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out) = 0;
  virtual void do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) = 0;
  virtual void do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) = 0;
  virtual void do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions,
                                 std::span<const KvSlot> slots, const RopeParameters& parameters, KvCache& cache,
                                 std::int32_t layer, const Matrix& query_out) = 0;
  virtual absl::Status do_reserve_steps(StepProgram program, const StepLimits& limits) = 0;
  virtual StepInputs do_load_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                                  const AttentionParameters& parameters, bool is_prepared) = 0;
  virtual void do_prepare_step(StepProgram /*program*/, const StepInputs& /*host*/, const AttentionPlan& /*plan*/,
                               const AttentionParameters& /*parameters*/) {}
  virtual void do_run_step(StepProgram program, const StepInputs& inputs, absl::FunctionRef<void()> enqueue) = 0;
  virtual void do_attention(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                            const KvCache& cache, std::int32_t layer, const Matrix& out) = 0;
  virtual void do_swiglu(const Matrix& gate_up, const Matrix& out) = 0;
  virtual void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) = 0;
  virtual void do_enqueue_sample(const Matrix& logits, std::span<const SamplingRow> rows) = 0;
  virtual void do_finish_sample(std::span<const SamplingRow> rows, std::span<SamplingResult> results) = 0;
  virtual void do_copy_page(KvCache& cache, PageId from, PageId to) = 0;
  virtual void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) = 0;

  OperationTimes times_;
  std::uint32_t programs_ = 0;
};

}  // namespace coppice::kernels
