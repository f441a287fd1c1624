// Device: a device's memory and what lives in it: buffers, packed weights, KV caches. One of the three interfaces of a
// Backend (backend.h). The public functions check every contract once; a device implements the private virtual ones and
// may trust its inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/tensor.h"

namespace coppice::kernels {

// A weight matrix [out_features, in_features] with optional bias, packed in the device's own layout. Immutable. Made by
// Device::pack_linear.
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

// The memory of all pages in all layers, in the device's own layout. Contents start as zeros. Owner: the engine's
// runner.
class KvCache {
 public:
  virtual ~KvCache() = default;
  const KvGeometry& geometry() const { return geometry_; }
  // How many workers an attention plan over this cache must keep busy: threads, or blocks that a GPU holds at once.
  int workers() const { return workers_; }

 protected:
  KvCache(const KvGeometry& geometry, int workers) : geometry_(geometry), workers_(workers) {}

 private:
  KvGeometry geometry_;
  int workers_;
};

// Owner: the Backend. Thread: one caller at a time. Work is done in the order of the calls, on a GPU after they return.
class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual std::string name() const = 0;         // "cpu", "cuda"
  virtual std::string description() const = 0;  // chip, instruction set, cores
  // Whether the device computes in this type at full speed. f32 and bf16 work everywhere, f16 only where this returns
  // true. A number beyond the range of f16 becomes infinite: a model that has some must run in bf16.
  virtual bool supports(DType dtype) const = 0;
  virtual std::int64_t available_bytes() const = 0;  // device memory that allocate() could still give

  virtual absl::StatusOr<Buffer> allocate(std::size_t bytes) = 0;  // zeroed. ERRORS: ResourceExhausted
  // `host` may be reused when this returns.
  virtual void upload(const void* host, void* device, std::size_t bytes) = 0;
  // Waits for the copy and all work before it.
  virtual void download(const void* device, void* host, std::size_t bytes) = 0;
  virtual void synchronize() = 0;  // waits for all work

  // Stacks `parts` on their rows (q, k, v; gate, up), converts to `dtype`, packs. `biases` is empty or one vector (or a
  // null tensor) per part. ERRORS: InvalidArgument, ResourceExhausted.
  absl::StatusOr<std::unique_ptr<LinearWeight>> pack_linear(std::span<const HostTensor> parts,
                                                            std::span<const HostTensor> biases, DType dtype);
  // ERRORS: InvalidArgument (a geometry that the device cannot serve), ResourceExhausted.
  absl::StatusOr<std::unique_ptr<KvCache>> make_kv_cache(const KvGeometry& geometry);

  // Copies one page in every layer (copy on write).
  void copy_page(KvCache& cache, PageId from, PageId to);
  // Copies single slots in every layer, in the order of the list: a later move may read what an earlier one wrote.
  // This brings the accepted path of a draft tree to consecutive positions.
  void move_slots(KvCache& cache, std::span<const SlotMove> moves);

 protected:
  Device() = default;

 private:
  virtual absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostTensor> parts,
                                                                       std::span<const HostTensor> biases,
                                                                       DType dtype) = 0;
  virtual absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) = 0;
  virtual void do_copy_page(KvCache& cache, PageId from, PageId to) = 0;
  virtual void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) = 0;
};

}  // namespace coppice::kernels
