// CpuBackend: hands each checked operation to the part of kernels/cpu that does it.
#include "kernels/cpu/cpu_backend.h"

#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/machine.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/sample.h"

namespace coppice::kernels::cpu {

namespace {

constexpr int kThreadsMax = 1024;

// Nothing may come from nowhere: memcpy does not allow null even then.
void copy(const void* from, void* to, std::size_t bytes) {
  if (bytes > 0) {
    std::memcpy(to, from, bytes);
  }
}

// Owner: the program. Thread: one caller at a time (pack_linear may be called by a loader thread before the engine's
// thread starts).
class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const CpuContext& context)
      : context_(context), linear_(context), sampler_(context), attention_(context), rope_(context) {}

  std::string name() const override { return "cpu"; }
  std::string description() const override {
    return fmt::format("{}, {} thread{}, {}", base::cpu_model_name(), context_.threads,
                       context_.threads == 1 ? "" : "s", isa_name(context_.isa));
  }
  bool supports(DType weights) const override { return linear_.supports(weights); }
  bool is_asynchronous() const override { return false; }
  int workers() const override { return context_.threads; }
  std::int64_t available_bytes() const override { return base::available_memory_bytes(); }

  absl::StatusOr<MachineFigures> measure() override {
    return measure_machine({.threads = context_.threads, .isa = context_.isa});
  }

  absl::StatusOr<Buffer> allocate(std::size_t bytes) override { return allocate_zeroed(bytes); }
  void upload(const void* host, void* device, std::size_t bytes) override { copy(host, device, bytes); }
  void download(const void* device, void* host, std::size_t bytes) override { copy(device, host, bytes); }
  void synchronize() override {}

 private:
  absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostTensor> parts,
                                                               std::span<const HostTensor> biases,
                                                               DType dtype) override {
    return linear_.pack(parts, biases, dtype);
  }
  absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) override {
    return make_cpu_kv_cache(geometry);
  }
  void do_embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out) override {
    cpu::embed(context_, tokens, table, out);
  }
  void do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) override {
    cpu::rms_norm(context_, x, weight, epsilon, out);
  }
  void do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) override {
    linear_.run(in, weight, epilogue, out);
  }
  void do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                         const RopeParameters& parameters, KvCache& cache, std::int32_t layer,
                         const Matrix& query_out) override {
    rope_.rope_and_store(qkv, positions, slots, parameters, cache, layer, query_out);
  }
  absl::Status do_reserve_steps(StepProgram, const StepLimits&) override { return absl::OkStatus(); }
  StepInputs do_load_step(StepProgram, const StepInputs& host, const AttentionPlan& plan,
                          const AttentionParameters& parameters, bool) override {
    attention_.prepare(plan, parameters);
    return host;
  }
  void do_run_step(StepProgram, const StepInputs&, absl::FunctionRef<void()> enqueue) override { enqueue(); }
  void do_attention(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                    const KvCache& cache, std::int32_t layer, const Matrix& out) override {
    attention_.run(plan, parameters, query, cache, layer, out);
  }
  void do_swiglu(const Matrix& gate_up, const Matrix& out) override { cpu::swiglu(context_, gate_up, out); }
  void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) override {
    cpu::gather_rows(context_, in, rows, out);
  }
  // The work is done where the caller expects to wait.
  void do_enqueue_sample(const Matrix& logits, std::span<const SamplingRow>) override { sampled_ = logits; }
  void do_finish_sample(std::span<const SamplingRow> rows, std::span<SamplingResult> results) override {
    if (!rows.empty()) {
      sampler_.sample(sampled_, rows, results);
    }
  }
  void do_copy_page(KvCache& cache, PageId from, PageId to) override { cpu::copy_page(cache, from, to); }
  void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) override { cpu::move_slots(cache, moves); }

  CpuContext context_;
  CpuLinear linear_;
  CpuSampler sampler_;
  CpuAttention attention_;
  CpuRope rope_;
  Matrix sampled_;  // between the halves of sampling
};

}  // namespace

absl::StatusOr<CpuContext> make_cpu_context(const CpuOptions& options) {
  if (options.threads < 0 || options.threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        fmt::format("threads: {} is out of range; give 1 to {}, or 0 for all cores", options.threads, kThreadsMax));
  }
  if (options.isa > best_isa()) {
    return absl::InvalidArgumentError(
        fmt::format("instruction set: {} wanted, this machine has {}", isa_name(options.isa), isa_name(best_isa())));
  }
  return CpuContext{.threads = options.threads > 0 ? options.threads : base::available_cores(), .isa = options.isa};
}

absl::StatusOr<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const CpuContext context, make_cpu_context(options));
  return std::make_unique<CpuBackend>(context);
}

}  // namespace coppice::kernels::cpu
