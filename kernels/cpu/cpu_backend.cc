// The three interfaces of a Backend on the CPU. Each forwards its checked calls to kernels/cpu.
#include "kernels/cpu/cpu_backend.h"

#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/sample.h"

namespace coppice::kernels::cpu {

namespace {

constexpr int kThreadsMax = 1024;  // a larger team is a mistyped option

// memcpy does not allow null, even for no bytes.
void copy(const void* from, void* to, std::size_t bytes) {
  if (bytes > 0) {
    std::memcpy(to, from, bytes);
  }
}

class CpuDevice final : public Device {
 public:
  CpuDevice(const CpuContext& context, CpuLinear& linear) : context_(context), linear_(linear) {}

  std::string name() const override { return "cpu"; }
  std::string description() const override {
    return fmt::format("{}, {} thread{}, {}", base::cpu_model_name(), context_.threads,
                       context_.threads == 1 ? "" : "s", isa_name(context_.isa));
  }
  Support supports(const PackingOptions& packing) const override { return linear_.supports(packing); }
  Support supports(ComputeType compute, KvFormat kv) const override {
    return attends(compute, kv) ? Support::kFull : Support::kNone;
  }
  std::int64_t available_bytes() const override { return base::available_memory_bytes(); }
  absl::StatusOr<Buffer> allocate(std::size_t bytes) override { return allocate_zeroed(bytes); }
  void upload(const void* host, void* device, std::size_t bytes) override { copy(host, device, bytes); }
  void download(const void* device, void* host, std::size_t bytes) override { copy(device, host, bytes); }
  void synchronize() override {}

 private:
  absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostWeight> parts,
                                                               std::span<const HostWeight> biases,
                                                               const PackingOptions& options) override {
    return linear_.pack(parts, biases, options);
  }
  absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) override {
    return make_cpu_kv_cache(geometry, context_.threads);
  }
  void do_copy_page(KvCache& cache, PageId from, PageId to) override { cpu::copy_page(cache, from, to); }
  void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) override { cpu::move_slots(cache, moves); }

  const CpuContext context_;
  CpuLinear& linear_;
};

// Steps are neither padded nor recorded; operations read the caller's plan. run() computes the forward pass; finish()
// computes the draws, because callers expect it to wait.
class CpuStepRunner final : public StepRunner {
 public:
  explicit CpuStepRunner(const CpuContext& context) : sampler_(context) {}

  bool is_asynchronous() const override { return false; }

 private:
  absl::Status do_reserve(StepProgram, const StepLimits&) override { return absl::OkStatus(); }
  void do_prepare(StepProgram, const StepArrays& arrays, const AttentionPlan&, const AttentionParameters&) override {
    slots_.assign(arrays.slots.begin(), arrays.slots.end());
    output_rows_.assign(arrays.hidden_rows.begin(), arrays.hidden_rows.end());
    output_rows_.insert(output_rows_.end(), arrays.logits_rows.begin(), arrays.logits_rows.end());
    hidden_count_ = static_cast<std::int32_t>(arrays.hidden_rows.size());
  }
  LoadedStep do_load(std::span<const TokenId> tokens, const LoadedAttention& attention) override {
    return {.inputs = {.tokens = tokens,
                       .positions = attention.plan->row_positions,
                       .slots = slots_,
                       .output_rows = output_rows_,
                       .hidden_count = hidden_count_},
            .attention = attention};
  }
  void do_run(StepProgram, const LoadedStep& step, absl::FunctionRef<void(const LoadedStep&)> enqueue) override {
    enqueue(step);
  }
  void do_sample(const Matrix& logits, std::span<const SamplingRow>) override { logits_ = logits; }
  std::uint64_t do_finish(std::span<const SamplingRow> rows, std::span<SamplingResult> draws) override {
    if (!rows.empty()) {
      sampler_.sample(logits_, rows, draws);
    }
    return 0;
  }

  CpuSampler sampler_;
  std::vector<KvSlot> slots_;
  std::vector<std::int32_t> output_rows_;
  std::int32_t hidden_count_ = 0;
  Matrix logits_;  // given to sample()
};

class CpuOperations final : public Operations {
 public:
  CpuOperations(const CpuContext& context, CpuLinear& linear)
      : context_(context), linear_(linear), attention_(context), rope_(context) {}

 private:
  bool computes_in(ComputeType type) const override {
    switch (type) {
      case ComputeType::kF32:
      case ComputeType::kBF16:
        return true;
      case ComputeType::kF16:
        return false;
    }
    return false;
  }
  bool attends(ComputeType query, KvFormat kv) const override { return cpu::attends(query, kv); }
  void do_embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out) override {
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
  void do_attention(const LoadedAttention& attention, const Matrix& query, const KvCache& cache, std::int32_t layer,
                    const Matrix& out) override {
    attention_.run(*attention.plan, attention.parameters, query, cache, layer, out);
  }
  void do_swiglu(const Matrix& gate_up, const Matrix& out) override { cpu::swiglu(context_, gate_up, out); }
  void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) override {
    cpu::gather_rows(context_, in, rows, out);
  }

  const CpuContext context_;
  CpuLinear& linear_;
  CpuAttention attention_;
  CpuRope rope_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuContext& context)
      : linear_(context), device_(context, linear_), steps_(context), operations_(context, linear_) {}

  Device& device() override { return device_; }
  StepRunner& steps() override { return steps_; }
  Operations& operations() override { return operations_; }

 private:
  CpuLinear linear_;  // packs for the device, multiplies for the operations
  CpuDevice device_;
  CpuStepRunner steps_;
  CpuOperations operations_;
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
