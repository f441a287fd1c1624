// Memory, weights and KV caches of a GPU.
#include "kernels/cuda/cuda_device.h"

#include <utility>

#include "base/status_macros.h"
#include "kernels/cuda/cache/kv_cache.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/quantised_pack.h"
#include "kernels/cuda/linear/weight.h"

namespace coppice::kernels::cuda {

namespace {

// Bytes of a list of 8,192 moves: more than the drafts of a usual step. A longer list makes the buffer grow.
constexpr std::size_t kMovesBytes = std::size_t{64} << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<CudaDevice>> CudaDevice::create(CudaContext& context) {
  COPPICE_ASSIGN_OR_RETURN(Buffer unpacked, allocate_device(kUnpackedRowsBytes, context.on()));
  COPPICE_ASSIGN_OR_RETURN(Buffer moves, allocate_device(kMovesBytes, context.on()));
  return std::unique_ptr<CudaDevice>(new CudaDevice(context, std::move(unpacked), std::move(moves)));
}

CudaDevice::CudaDevice(CudaContext& context, Buffer unpacked, Buffer moves)
    : context_(context), unpacked_(std::move(unpacked)), moves_(std::move(moves)) {}

std::string CudaDevice::description() const {
  const GpuFacts& gpu = context_.gpu;
  const std::string verdict = context_.hopper.words();
  return fmt::format("{}, {} multiprocessors, {:.0f} GB, compute capability {}.{}, driver for CUDA {}.{}{}{}{}",
                     gpu.name, gpu.processors, static_cast<double>(gpu.memory_bytes) / 1e9, gpu.capability / 10,
                     gpu.capability % 10, gpu.driver_version / 1000, gpu.driver_version % 1000 / 10,
                     verdict.empty() ? "" : "; ", verdict, context_.overlaps() ? "; kernels overlap" : "");
}

Support CudaDevice::supports(const PackingOptions& packing) const {
  const bool few_bits = packing.compute != ComputeType::kF32 && (!packing.storage || packs_few_bits(*packing.storage));
  return packing == dense_packing(packing.compute) || few_bits ? Support::kFull : Support::kNone;
}

std::int64_t CudaDevice::available_bytes() const {
  context_.use();
  return static_cast<std::int64_t>(memory_facts().free_bytes);
}

absl::StatusOr<Buffer> CudaDevice::allocate(std::size_t bytes) {
  context_.use();
  return allocate_device(bytes, context_.on());
}

void CudaDevice::upload(const void* host, void* device, std::size_t bytes) {
  context_.use();
  context_.staging.upload(host, device, bytes);
}

void CudaDevice::download(const void* device, void* host, std::size_t bytes) {
  COPPICE_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, context_.on()));
  synchronize();
}

absl::StatusOr<std::unique_ptr<LinearWeight>> CudaDevice::do_pack_linear(std::span<const HostWeight> parts,
                                                                         std::span<const HostWeight> biases,
                                                                         const PackingOptions& options) {
  context_.use();
  return pack_weight(parts, biases, options, unpacked_, context_.staging, context_.on(), context_.threads);
}

absl::StatusOr<std::unique_ptr<KvCache>> CudaDevice::do_make_kv_cache(const KvGeometry& geometry) {
  context_.use();
  return make_cuda_kv_cache(geometry, context_.gpu, context_.kernels, context_.on());
}

void CudaDevice::do_copy_page(KvCache& cache, PageId from, PageId to) {
  context_.use();
  auto& target = static_cast<CudaKvCache&>(cache);
  context_.errors.check(
      launch_copy_page(target.data(), target.layout(), cache.geometry().format, from, to, context_.launches()));
}

void CudaDevice::do_move_slots(KvCache& cache, std::span<const SlotMove> moves) {
  static_assert(sizeof(SlotMove) == 2 * sizeof(KvSlot));
  if (moves.empty()) {
    return;
  }
  context_.use();
  auto& target = static_cast<CudaKvCache&>(cache);
  reserve_device(moves_, moves.size_bytes(), context_.on());
  context_.staging.upload(moves.data(), moves_.data(), moves.size_bytes());
  context_.errors.check(launch_move_slots(target.data(), target.layout(), cache.geometry().format,
                                          static_cast<const KvSlot*>(moves_.data()),
                                          static_cast<std::int32_t>(moves.size()), context_.launches()));
}

}  // namespace coppice::kernels::cuda
