// Steps on a GPU. The host waits only in do_finish().
#include "kernels/cuda/step/step_runner.h"

#include <utility>

#include "base/status_macros.h"

namespace coppice::kernels::cuda {

absl::StatusOr<std::unique_ptr<CudaStepRunner>> CudaStepRunner::create(CudaContext& context, AttentionStep& attention,
                                                                       std::size_t recordings) {
  Events events;
  COPPICE_ASSIGN_OR_RETURN(events.begin, CudaEvent::create(true));
  COPPICE_ASSIGN_OR_RETURN(events.end, CudaEvent::create(true));
  // A step that was never loaded has no beginning to measure from.
  COPPICE_RETURN_IF_ERROR(to_status(cudaEventRecord(events.begin.get(), context.on()), "CUDA event"));
  COPPICE_ASSIGN_OR_RETURN(StepBlock block, StepBlock::create());
  return std::unique_ptr<CudaStepRunner>(
      new CudaStepRunner(context, attention, std::move(block), std::move(events), recordings));
}

CudaStepRunner::CudaStepRunner(CudaContext& context, AttentionStep& attention, StepBlock block, Events events,
                               std::size_t recordings)
    : context_(context),
      attention_(attention),
      block_(std::move(block)),
      events_(std::move(events)),
      graphs_(recordings, context.errors) {}

absl::Status CudaStepRunner::do_reserve(StepProgram program, const StepLimits& limits) {
  context_.use();
  const cudaStream_t on = context_.on();
  const StepShape largest{limits.tokens, limits.logits, 0};
  COPPICE_RETURN_IF_ERROR(block_.reserve(largest, attention_plan_bytes_most(limits), on));
  const std::int32_t partials = attention_partials_most(limits, memory_facts());
  COPPICE_RETURN_IF_ERROR(attention_.reserve(limits, partials, on));
  COPPICE_RETURN_IF_ERROR(sampler_.reserve(limits, on));
  graphs_.drop();  // of earlier programs: their memory may have moved
  programs_.resize(static_cast<std::size_t>(program));
  programs_.back() = {.largest = largest, .partials = partials};
  return absl::OkStatus();
}

std::int32_t CudaStepRunner::partials_most(StepProgram program) const {
  return programs_[static_cast<std::size_t>(program) - 1].partials;
}

StepShape CudaStepRunner::padded_shape(StepProgram program, StepShape shape) const {
  if (program == StepProgram::kNone || !graphs_.active()) {
    return shape;
  }
  const StepShape& largest = programs_[static_cast<std::size_t>(program) - 1].largest;
  const std::int32_t tokens = recorded_rows(shape.tokens, largest.tokens);
  if (tokens > kRecordedRowsMax) {
    return {tokens, shape.logits, shape.hidden};  // too large to be recorded: not padded
  }
  const StepShape padded{tokens, recorded_rows(shape.logits, largest.logits),
                         recorded_rows(shape.hidden, largest.logits)};
  // Both kinds of output rows share memory, which their padding together may exceed.
  return padded.outputs() > largest.logits ? StepShape{tokens, shape.logits, shape.hidden} : padded;
}

void CudaStepRunner::do_prepare(StepProgram program, const StepArrays& arrays, const AttentionPlan& plan,
                                const AttentionParameters& parameters) {
  context_.use();
  const StepShape shape{plan.row_count, static_cast<std::int32_t>(arrays.logits_rows.size()),
                        static_cast<std::int32_t>(arrays.hidden_rows.size())};
  block_.pack(arrays, padded_shape(program, shape), plan, parameters);
}

LoadedStep CudaStepRunner::do_load(std::span<const TokenId> tokens, const LoadedAttention& attention) {
  context_.use();
  const bool block_moved = block_.send(tokens, context_.on());
  if (attention_.prepare(*attention.plan, attention.parameters, context_.on()) || block_moved) {
    graphs_.drop();
    graphs_.count_growth();
  }
  // After the copy: an idle GPU would pass an earlier event at once, and packing the plan would count as its work.
  COPPICE_CUDA_CHECK(cudaEventRecord(events_.begin.get(), context_.on()));
  LoadedStep step{.inputs = block_.inputs(), .attention = attention};
  step.attention.packed = block_.plan();
  return step;
}

void CudaStepRunner::do_run(StepProgram program, const LoadedStep& step,
                            absl::FunctionRef<void(const LoadedStep&)> enqueue) {
  const StepShape shape{static_cast<std::int32_t>(step.inputs.tokens.size()),
                        static_cast<std::int32_t>(step.inputs.logits_count()), step.inputs.hidden_count};
  const auto forward = [&] { enqueue(step); };
  if (program == StepProgram::kNone || shape.tokens > kRecordedRowsMax) {
    graphs_.run_directly(forward);
  } else {
    graphs_.run({program, shape}, context_.on(), forward);
  }
}

bool CudaStepRunner::is_working() const {
  context_.use();
  const cudaError_t state = cudaEventQuery(events_.end.get());
  if (state == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());  // no error
    return true;
  }
  return false;  // done, or broken, which do_finish() reports
}

void CudaStepRunner::do_sample(const Matrix& logits, std::span<const SamplingRow> rows) {
  context_.use();
  if (!rows.empty() && sampler_.enqueue(logits, rows, context_.staging, context_.launches())) {
    graphs_.count_growth();
  }
  COPPICE_CUDA_CHECK(cudaEventRecord(events_.end.get(), context_.on()));
}

std::uint64_t CudaStepRunner::do_finish(std::span<const SamplingRow> rows, std::span<SamplingResult> draws) {
  context_.use();
  context_.synchronize();
  float ms = 0.0F;
  COPPICE_CUDA_CHECK(cudaEventElapsedTime(&ms, events_.begin.get(), events_.end.get()));
  if (!rows.empty()) {
    sampler_.finish(rows, draws);
  }
  constexpr double kNsPerMs = 1e6;  // cudaEventElapsedTime counts milliseconds
  return static_cast<std::uint64_t>(static_cast<double>(ms) * kNsPerMs);
}

}  // namespace coppice::kernels::cuda
