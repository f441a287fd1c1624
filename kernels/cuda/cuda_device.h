// Device on a GPU: memory, packed weights, KV caches.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/context.h"
#include "kernels/device.h"

namespace coppice::kernels::cuda {

// Owner: the CUDA backend. Thread: one caller at a time.
class CudaDevice final : public Device {
 public:
  // `context` outlives it. ERRORS: ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CudaDevice>> create(CudaContext& context);

  std::string name() const override { return "cuda"; }
  std::string description() const override;
  // Weights are stored in the type that is computed in or, for factors of 16 bits, in few bits; keys and values are
  // kept in the queries' type.
  Support supports(const PackingOptions& packing) const override;
  Support supports(ComputeType query, KvFormat kv) const override {
    return kv == kv_format_of(query) ? Support::kFull : Support::kNone;
  }
  std::int64_t available_bytes() const override;
  absl::StatusOr<Buffer> allocate(std::size_t bytes) override;
  void upload(const void* host, void* device, std::size_t bytes) override;
  void download(const void* device, void* host, std::size_t bytes) override;
  void synchronize() override { context_.synchronize(); }

 private:
  CudaDevice(CudaContext& context, Buffer unpacked, Buffer moves);

  absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostWeight> parts,
                                                               std::span<const HostWeight> biases,
                                                               const PackingOptions& options) override;
  absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) override;
  void do_copy_page(KvCache& cache, PageId from, PageId to) override;
  void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) override;

  CudaContext& context_;
  Buffer unpacked_;  // rows of a weight on their way to tiles
  Buffer moves_;     // the list of do_move_slots()
};

}  // namespace coppice::kernels::cuda
