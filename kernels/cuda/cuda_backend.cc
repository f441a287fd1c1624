// CudaBackend: hands each checked operation to the part of kernels/cuda that does it. Everything is enqueued on one
// stream; the host waits only in synchronize(), download() and finish_sample().
#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention/step.h"
#include "kernels/cuda/cache/kv_cache.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/probe.h"
#include "kernels/cuda/linear/weight.h"
#include "kernels/cuda/machine/machine.h"
#include "kernels/cuda/overlap.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/sampling/sampler.h"
#include "kernels/cuda/step/block.h"
#include "kernels/cuda/step/graphs.h"
#include "kernels/cuda/step/staging.h"

namespace coppice::kernels::cuda {

namespace {

constexpr int kReadersMax = 16;        // threads that bring weights to the GPU
constexpr int kHopperCapability = 90;  // wgmma is in no other; overlapping launches are there from it on
constexpr std::size_t kMovesBytes = std::size_t{64} << 10;

StepShape shape_of(const StepInputs& inputs) {
  return {static_cast<std::int32_t>(inputs.tokens.size()), static_cast<std::int32_t>(inputs.logits_rows.size())};
}

// Inverse frequencies of a model on the device, kept with what they were copied from. A value.
struct Frequencies {
  std::vector<float> host;
  Buffer device;
};

// Owner: the program. Thread: one caller at a time; the GPU is made current on the thread that calls.
class CudaBackend : public Backend {
 public:
  static absl::StatusOr<std::unique_ptr<Backend>> create(const CudaOptions& options);

  std::string name() const override { return "cuda"; }
  std::string description() const override {
    return fmt::format("{}, {} multiprocessors, {:.0f} GB, compute capability {}.{}, driver for CUDA {}.{}{}{}{}",
                       gpu_.name, gpu_.processors, static_cast<double>(gpu_.memory_bytes) / 1e9, gpu_.capability / 10,
                       gpu_.capability % 10, gpu_.driver_version / 1000, gpu_.driver_version % 1000 / 10,
                       hopper_.words().empty() ? "" : "; ", hopper_.words(),
                       launches_overlap() ? "; kernels overlap" : "");
  }
  bool supports(DType) const override { return true; }
  bool is_asynchronous() const override { return true; }
  int workers() const override { return attention_blocks_ > 0 ? attention_blocks_ : gpu_.processors; }
  std::int64_t available_bytes() const override;

  absl::StatusOr<MachineFigures> measure() override {
    use_gpu();
    return measure_gpu(gpu_, hopper_.agrees(), stream_.get());
  }

  absl::StatusOr<Buffer> allocate(std::size_t bytes) override {
    use_gpu();
    return allocate_device(bytes, stream_.get());
  }
  void upload(const void* host, void* device, std::size_t bytes) override {
    use_gpu();
    staging_.upload(host, device, bytes);
  }
  void download(const void* device, void* host, std::size_t bytes) override;
  void synchronize() override { COPPICE_CUDA_CHECK(cudaStreamSynchronize(stream_.get())); }
  void forget_steps() override { graphs_.drop(); }
  std::uint64_t device_ns() const override { return device_ns_; }
  bool is_working() const override;
  StepCounts step_counts() const override { return graphs_.counts(); }

 private:
  // The beginning and the end of a step on the GPU.
  struct StepEvents {
    CudaEvent begin;
    CudaEvent end;
  };

  CudaBackend(GpuFacts gpu, CudaStream stream, Staging staging, StepEvents events, std::size_t graphs)
      : gpu_(std::move(gpu)),
        stream_(std::move(stream)),
        staging_(std::move(staging)),
        events_(std::move(events)),
        graphs_(graphs) {}

  absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostTensor> parts,
                                                               std::span<const HostTensor> biases,
                                                               DType dtype) override {
    use_gpu();
    return pack_weight(parts, biases, dtype, stretch_, staging_, stream_.get(), threads_);
  }
  absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) override;
  void do_embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out) override;
  void do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) override;
  void do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) override;
  void do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                         const RopeParameters& parameters, KvCache& cache, std::int32_t layer,
                         const Matrix& query_out) override;
  absl::Status do_reserve_steps(StepProgram program, const StepLimits& limits) override;
  StepInputs do_load_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                          const AttentionParameters& parameters, bool is_prepared) override;
  void do_prepare_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                       const AttentionParameters& parameters) override {
    use_gpu();
    block_.pack(host, padded_shape(program, shape_of(host)), plan, parameters.query_heads / parameters.key_heads,
                parameters.head_dim, staging_);
  }
  void do_run_step(StepProgram program, const StepInputs& inputs, absl::FunctionRef<void()> enqueue) override;
  void do_attention(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                    const KvCache& cache, std::int32_t layer, const Matrix& out) override;
  void do_swiglu(const Matrix& gate_up, const Matrix& out) override;
  void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) override;
  void do_enqueue_sample(const Matrix& logits, std::span<const SamplingRow> rows) override;
  void do_finish_sample(std::span<const SamplingRow> rows, std::span<SamplingResult> results) override;
  void do_copy_page(KvCache& cache, PageId from, PageId to) override;
  void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) override;

  // The current GPU belongs to a thread: the model is loaded on one, the engine steps on another.
  void use_gpu() const { COPPICE_CUDA_CHECK(cudaSetDevice(gpu_.device)); }
  // A launch that fails spoils a recording; outside of one only a bug of ours or a broken GPU is the cause.
  void check_launch(int error) {
    if (error != 0 && graphs_.recording()) {
      graphs_.fail(static_cast<cudaError_t>(error));
      return;
    }
    COPPICE_CUDA_CHECK(static_cast<cudaError_t>(error));
  }
  StepShape padded_shape(StepProgram program, StepShape shape) const;
  const float* frequencies_of(const RopeParameters& parameters);

  const GpuFacts gpu_;
  CudaStream stream_;
  Staging staging_;
  const StepEvents events_;
  StepGraphs graphs_;
  StepBlock block_;
  CudaSampler sampler_;
  AttentionStep attention_;
  std::vector<StepShape> programs_;  // the largest steps of StepProgram 1, 2, ...
  std::uint64_t device_ns_ = 0;
  Buffer workspace_;
  HopperVerdict hopper_;  // nothing compared: not asked
  Buffer counters_;
  Buffer stretch_;  // that weights pass through
  Buffer moves_;
  std::vector<Frequencies> frequencies_;  // one per kind of rope in a model
  int attention_blocks_ = 0;
  int threads_ = 1;
};

absl::StatusOr<std::unique_ptr<Backend>> CudaBackend::create(const CudaOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(GpuFacts gpu, open_gpu(options.device));
  let_launches_overlap(options.overlap && gpu.capability >= kHopperCapability);
  const int threads = std::min(kReadersMax, base::available_cores());
  COPPICE_ASSIGN_OR_RETURN(CudaStream stream, CudaStream::create());
  COPPICE_ASSIGN_OR_RETURN(Staging staging, Staging::create(stream.get(), threads));
  StepEvents events;
  COPPICE_ASSIGN_OR_RETURN(events.begin, CudaEvent::create(true));
  COPPICE_ASSIGN_OR_RETURN(events.end, CudaEvent::create(true));
  COPPICE_RETURN_IF_ERROR(to_status(static_cast<cudaError_t>(prepare_linear()), "matrix products"));
  std::unique_ptr<CudaBackend> backend(new CudaBackend(std::move(gpu), std::move(stream), std::move(staging),
                                                       std::move(events),
                                                       static_cast<std::size_t>(std::max(0, options.graphs))));
  backend->threads_ = threads;
  const cudaStream_t on = backend->stream_.get();
  COPPICE_RETURN_IF_ERROR(to_status(cudaEventRecord(backend->events_.begin.get(), on), "CUDA event"));
  COPPICE_ASSIGN_OR_RETURN(backend->workspace_, allocate_device(kLinearWorkspaceBytes, on));
  COPPICE_ASSIGN_OR_RETURN(backend->counters_, allocate_device(kLinearTilesMax * sizeof(std::uint32_t), on));
  COPPICE_ASSIGN_OR_RETURN(backend->stretch_, allocate_device(kWeightStretchBytes, on));
  COPPICE_ASSIGN_OR_RETURN(backend->moves_, allocate_device(kMovesBytes, on));
  if (options.wgmma && backend->gpu_.capability == kHopperCapability) {
    COPPICE_ASSIGN_OR_RETURN(backend->hopper_, probe_hopper_products(backend->staging_, on));
  }
  return std::unique_ptr<Backend>(std::move(backend));
}

std::int64_t CudaBackend::available_bytes() const {
  use_gpu();
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  COPPICE_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  return static_cast<std::int64_t>(free_bytes);
}

void CudaBackend::download(const void* device, void* host, std::size_t bytes) {
  COPPICE_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_.get()));
  synchronize();
}

absl::StatusOr<std::unique_ptr<KvCache>> CudaBackend::do_make_kv_cache(const KvGeometry& geometry) {
  use_gpu();
  COPPICE_ASSIGN_OR_RETURN(std::unique_ptr<CudaKvCache> cache, make_cuda_kv_cache(geometry, stream_.get()));
  COPPICE_ASSIGN_OR_RETURN(attention_blocks_, AttentionStep::resident_blocks(geometry, gpu_));
  return std::unique_ptr<KvCache>(std::move(cache));
}

absl::Status CudaBackend::do_reserve_steps(StepProgram program, const StepLimits& limits) {
  use_gpu();
  const cudaStream_t on = stream_.get();
  const StepShape largest{limits.tokens, limits.logits};
  COPPICE_RETURN_IF_ERROR(block_.reserve(largest, attention_plan_bytes_most(limits, workers()), on));
  COPPICE_RETURN_IF_ERROR(attention_.reserve(limits, workers(), on));
  COPPICE_RETURN_IF_ERROR(sampler_.reserve(limits, on));
  COPPICE_RETURN_IF_ERROR(make_room(moves_, static_cast<std::size_t>(limits.tokens) * sizeof(SlotMove), on));
  graphs_.drop();  // of earlier programs: their memory may have moved
  programs_.resize(static_cast<std::size_t>(program));
  programs_.back() = largest;
  return absl::OkStatus();
}

StepShape CudaBackend::padded_shape(StepProgram program, StepShape shape) const {
  if (program == StepProgram::kNone || !graphs_.active()) {
    return shape;
  }
  const StepShape& largest = programs_[static_cast<std::size_t>(program) - 1];
  const std::int32_t tokens = recorded_rows(shape.tokens, largest.tokens);
  // A step that is too large to be recorded need not be padded at all.
  return {tokens, tokens > kRecordedRowsMax ? shape.logits : recorded_rows(shape.logits, largest.logits)};
}

StepInputs CudaBackend::do_load_step(StepProgram program, const StepInputs& host, const AttentionPlan& plan,
                                     const AttentionParameters& parameters, bool is_prepared) {
  use_gpu();
  // What was packed is lost where anything else went through the staging since.
  if (!is_prepared || !block_.is_packed(padded_shape(program, shape_of(host)), staging_)) {
    do_prepare_step(program, host, plan, parameters);
  }
  const bool block_moved = block_.send(host.tokens, staging_, stream_.get());
  if (attention_.prepare(plan, parameters, stream_.get()) || block_moved) {
    graphs_.drop();
    graphs_.count_growth();
  }
  // Behind the copy: an idle GPU would pass it at once, and the packing of the plan would count as its work.
  COPPICE_CUDA_CHECK(cudaEventRecord(events_.begin.get(), stream_.get()));
  return block_.inputs();
}

void CudaBackend::do_run_step(StepProgram program, const StepInputs& inputs, absl::FunctionRef<void()> enqueue) {
  use_gpu();
  const StepShape shape = shape_of(inputs);
  if (program == StepProgram::kNone || shape.tokens > kRecordedRowsMax) {
    graphs_.run_directly(enqueue);
  } else {
    graphs_.run({program, shape}, stream_.get(), enqueue);
  }
}

void CudaBackend::do_attention(const AttentionPlan&, const AttentionParameters& parameters, const Matrix& query,
                               const KvCache& cache, std::int32_t layer, const Matrix& out) {
  check_launch(attention_.run(block_.plan(), parameters, query, static_cast<const CudaKvCache&>(cache), layer, out,
                              attention_blocks_, stream_.get()));
}

bool CudaBackend::is_working() const {
  use_gpu();
  const cudaError_t state = cudaEventQuery(events_.end.get());
  if (state == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());  // no error
    return true;
  }
  return false;  // done, or broken, of which finish_sample() tells
}

void CudaBackend::do_enqueue_sample(const Matrix& logits, std::span<const SamplingRow> rows) {
  use_gpu();
  if (!rows.empty() && sampler_.enqueue(logits, rows, staging_, stream_.get())) {
    graphs_.count_growth();
  }
  COPPICE_CUDA_CHECK(cudaEventRecord(events_.end.get(), stream_.get()));
}

void CudaBackend::do_finish_sample(std::span<const SamplingRow> rows, std::span<SamplingResult> results) {
  use_gpu();
  synchronize();
  float ms = 0.0F;
  COPPICE_CUDA_CHECK(cudaEventElapsedTime(&ms, events_.begin.get(), events_.end.get()));
  device_ns_ = static_cast<std::uint64_t>(static_cast<double>(ms) * 1e6);
  if (!rows.empty()) {
    sampler_.finish(rows, results);
  }
}

void CudaBackend::do_embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out) {
  use_gpu();
  if (out.rows > 0) {
    check_launch(launch_embed(tokens, table, out, stream_.get()));
  }
}

void CudaBackend::do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) {
  if (out.rows > 0) {
    check_launch(launch_rms_norm(x, weight, epsilon, out, stream_.get()));
  }
}

void CudaBackend::do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) {
  if (out.rows == 0) {
    return;
  }
  const auto& packed = static_cast<const CudaLinearWeight&>(weight);
  COPPICE_CHECK(in.dtype == packed.dtype(), "linear: the input has another type than the weight");
  const std::size_t row_bytes = static_cast<std::size_t>(in.stride) * dtype_bytes(in.dtype);
  const LinearArguments arguments{.in = in.data,
                                  .in_stride = in.stride,
                                  .weight = packed.matrix(),
                                  .bias = packed.bias(),
                                  .out = out.data,
                                  .out_stride = out.stride,
                                  .workspace = static_cast<float*>(workspace_.data()),
                                  .counters = static_cast<std::uint32_t*>(counters_.data()),
                                  .rows = static_cast<std::int32_t>(in.rows),
                                  .out_features = static_cast<std::int32_t>(packed.out_features()),
                                  .in_features = static_cast<std::int32_t>(packed.in_features()),
                                  .padded_k = static_cast<std::int32_t>(packed.padded_k()),
                                  .slices = packed.slices(),
                                  .processors = gpu_.processors,
                                  .out_is_half = out.dtype != DType::kF32,
                                  .adds = epilogue == LinearEpilogue::kAdd,
                                  .is_aligned = (reinterpret_cast<std::uintptr_t>(in.data) | row_bytes) % 16 == 0};
  const bool hopper = hopper_.agrees() && linear_hopper_takes(arguments);
  const LinearTile tile = choose_linear_tile(in.rows, packed.out_features(), packed.slices(), hopper);
  check_launch(launch_linear(arguments, packed.dtype(), tile, stream_.get()));
}

const float* CudaBackend::frequencies_of(const RopeParameters& parameters) {
  const std::span wanted(parameters.inverse_frequency, static_cast<std::size_t>(parameters.rotary_dim / 2));
  for (const Frequencies& known : frequencies_) {
    if (std::ranges::equal(known.host, wanted)) {
      return static_cast<const float*>(known.device.data());
    }
  }
  Frequencies& added = frequencies_.emplace_back();
  added.host.assign(wanted.begin(), wanted.end());
  reserve_device(added.device, std::max<std::size_t>(1, wanted.size()) * sizeof(float), stream_.get());
  staging_.upload(added.host.data(), added.device.data(), wanted.size_bytes());
  return static_cast<const float*>(added.device.data());
}

void CudaBackend::do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions,
                                    std::span<const KvSlot> slots, const RopeParameters& parameters, KvCache& cache,
                                    std::int32_t layer, const Matrix& query_out) {
  if (qkv.rows == 0) {
    return;
  }
  auto& target = static_cast<CudaKvCache&>(cache);
  RopeParameters on_device = parameters;
  on_device.inverse_frequency = frequencies_of(parameters);
  check_launch(launch_rope(qkv, positions, slots, on_device, target.data(), target.layout(), cache.geometry().dtype,
                           layer, query_out, stream_.get()));
}

void CudaBackend::do_swiglu(const Matrix& gate_up, const Matrix& out) {
  if (out.rows > 0) {
    check_launch(launch_swiglu(gate_up, out, stream_.get()));
  }
}

void CudaBackend::do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) {
  if (out.rows > 0) {
    check_launch(launch_gather(in, rows, out, stream_.get()));
  }
}

void CudaBackend::do_copy_page(KvCache& cache, PageId from, PageId to) {
  use_gpu();
  auto& target = static_cast<CudaKvCache&>(cache);
  check_launch(launch_copy_page(target.data(), target.layout(), cache.geometry().dtype, from, to, stream_.get()));
}

void CudaBackend::do_move_slots(KvCache& cache, std::span<const SlotMove> moves) {
  static_assert(sizeof(SlotMove) == 2 * sizeof(KvSlot));
  if (moves.empty()) {
    return;
  }
  use_gpu();
  auto& target = static_cast<CudaKvCache&>(cache);
  reserve_device(moves_, moves.size_bytes(), stream_.get());
  staging_.upload(moves.data(), moves_.data(), moves.size_bytes());
  check_launch(launch_move_slots(target.data(), target.layout(), cache.geometry().dtype,
                                 static_cast<const KvSlot*>(moves_.data()), static_cast<std::int32_t>(moves.size()),
                                 stream_.get()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options) {
  return CudaBackend::create(options);
}

}  // namespace coppice::kernels::cuda
