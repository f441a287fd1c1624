// Runs the loops of machine_body.cc on all threads at once and keeps the best of several runs: other work on the
// machine can only make a run slower.
#include "kernels/cpu/machine.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/machine_body.h"
#include "kernels/cpu/memory.h"

namespace coppice::kernels::cpu {

namespace {

constexpr int kRuns = 7;  // the best counts: others may use the machine meanwhile
constexpr std::int64_t kBufferBytesMin = std::int64_t{256} << 20;  // bytes: larger than most last-level caches
constexpr std::int64_t kPieceBytes = 4096;                         // a page: parts of workers share none
// The large product of the measurements: the gate or up projection of a model of 1.1 billion parameters.
constexpr std::int64_t kRows = 512;
constexpr std::int64_t kInFeatures = 2048;
constexpr std::int64_t kOutFeatures = 5632;

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Largest amount a second over kRuns runs of work(worker), which every thread of the team does and which returns the
// amount done.
double best_rate(const CpuContext& context, const auto& work) {
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    double amount = 0;
    const double seconds = seconds_of([&] {
#pragma omp parallel num_threads(context.threads) reduction(+ : amount)
      amount += work(omp_get_thread_num(), omp_get_num_threads());
    });
    best = std::max(best, amount / seconds);
  }
  return best;
}

// A worker's whole pieces of a buffer of `bytes`.
struct Part {
  std::int64_t offset;
  std::int64_t bytes;
};
Part part_of(std::int64_t bytes, int worker, int workers) {
  const std::int64_t part = bytes / workers / kPieceBytes * kPieceBytes;
  return {worker * part, part};
}

absl::Status measure_memory(const CpuContext& context, MachineFigures& figures) {
  const MachineBody& body = COPPICE_SELECT_BODY(context.isa, machine_body);
  const std::int64_t bytes = std::max(kBufferBytesMin, 4 * base::last_level_cache_bytes());
  COPPICE_ASSIGN_OR_RETURN(const Buffer buffer, allocate_zeroed(static_cast<std::size_t>(bytes), context.threads));
  auto* data = static_cast<std::byte*>(buffer.data());
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(context.threads));
  figures.read_gb_per_s = best_rate(context,
                                    [&](int worker, int workers) {
                                      const Part part = part_of(bytes, worker, workers);
                                      sums[static_cast<std::size_t>(worker)] +=
                                          body.read(data + part.offset, part.bytes);
                                      return static_cast<double>(part.bytes);
                                    }) /
                          1e9;
  figures.copy_gb_per_s =
      best_rate(context,
                [&](int worker, int workers) {
                  const Part part = part_of(bytes / 2, worker, workers);
                  std::memcpy(data + bytes / 2 + part.offset, data + part.offset, static_cast<std::size_t>(part.bytes));
                  return 2.0 * static_cast<double>(part.bytes);
                }) /
      1e9;
  // Zeros were written, so a sum other than zero means that the loop read something else.
  return std::all_of(sums.begin(), sums.end(), [](std::uint64_t sum) { return sum == 0; })
             ? absl::OkStatus()
             : absl::InternalError("memory read back other than written");
}

double register_rate(const CpuContext& context, double (*loop)(std::int64_t rounds, float* sink)) {
  // About ten milliseconds a run on a chip of 3 GHz.
  constexpr std::int64_t kRounds = 4'000'000;
  return best_rate(context,
                   [&](int, int) {
                     float sink = 0.999F;
                     return loop(kRounds, &sink);
                   }) /
         1e9;
}

absl::StatusOr<double> product_rate(const CpuContext& context, ComputeType type) {
  CpuLinear linear(context);
  const WeightFormat format = dense_format(type);
  COPPICE_ASSIGN_OR_RETURN(const Buffer weights, allocate_zeroed(format.bytes(kOutFeatures, kInFeatures), 1));
  COPPICE_ASSIGN_OR_RETURN(const Buffer in, allocate_zeroed(kRows * kInFeatures * element_bytes(type), 1));
  COPPICE_ASSIGN_OR_RETURN(const Buffer out, allocate_zeroed(kRows * kOutFeatures * sizeof(float), 1));
  const HostWeight weight{
      {static_cast<const std::byte*>(weights.data()), weights.bytes()}, format, kOutFeatures, kInFeatures, {}};
  COPPICE_ASSIGN_OR_RETURN(const std::unique_ptr<LinearWeight> packed,
                           linear.pack({&weight, 1}, {}, dense_packing(type)));
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const double seconds = seconds_of([&] {
      linear.run(in.matrix(type, kRows, kInFeatures), *packed, LinearEpilogue::kStore,
                 out.matrix(ComputeType::kF32, kRows, kOutFeatures));
    });
    best = std::max(best, 2.0 * kRows * kInFeatures * kOutFeatures / seconds / 1e9);
  }
  return best;
}

}  // namespace

absl::StatusOr<MachineFigures> measure_machine(const CpuOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const CpuContext context, make_cpu_context(options));
  MachineFigures figures;
  figures.cores = context.threads;
  figures.isa = isa_name(context.isa);
  COPPICE_RETURN_IF_ERROR(measure_memory(context, figures));
  const MachineBody& body = COPPICE_SELECT_BODY(context.isa, machine_body);
  COPPICE_ASSIGN_OR_RETURN(const double f32_product, product_rate(context, ComputeType::kF32));
  COPPICE_ASSIGN_OR_RETURN(const double bf16_product, product_rate(context, ComputeType::kBF16));
  figures.f32_gflops = std::max(register_rate(context, body.multiply_f32), f32_product);
  figures.bf16_gflops = std::max(register_rate(context, body.multiply_bf16), bf16_product);
  figures.int8_gops = register_rate(context, body.multiply_int8);
  return figures;
}

}  // namespace coppice::kernels::cpu
