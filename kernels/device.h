// Device: a device's memory and what lives in it: buffers, packed weights, KV caches. One of the three interfaces of a
// Backend (backend.h). The public functions check every contract once; a device implements the private virtual
// functions and trusts its inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/plan_costs.h"
#include "kernels/tensor.h"

namespace coppice::kernels {

// A weight matrix [out_features, in_features] with optional bias, packed in the device's own layout. Immutable. Made by
// Device::pack_linear.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  std::int64_t out_features() const { return out_features_; }
  std::int64_t in_features() const { return in_features_; }
  // Returns the bytes that one product reads: for the roofline.
  virtual std::size_t bytes() const = 0;

 protected:
  LinearWeight(std::int64_t out_features, std::int64_t in_features)
      : out_features_(out_features), in_features_(in_features) {}

 private:
  std::int64_t out_features_;
  std::int64_t in_features_;
};

// One token's K and V, moved from one slot to another in every layer.
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
  KvFormat format = {};

  // K and V in all layers.
  std::size_t bytes_per_token() const { return 2 * format.bytes(std::int64_t{layers} * key_heads, head_dim); }
};

// The memory of all pages in all layers, in the device's own layout. Contents start as zeros. Owner: the engine's
// runner.
class KvCache {
 public:
  virtual ~KvCache() = default;
  const KvGeometry& geometry() const { return geometry_; }
  // How many workers an attention plan over this cache must keep busy: threads, or blocks that a GPU holds at once.
  int workers() const { return workers_; }
  // What the items of such a plan cost.
  const PlanCosts& plan_costs() const { return plan_costs_; }

 protected:
  KvCache(const KvGeometry& geometry, int workers, const PlanCosts& plan_costs = {})
      : geometry_(geometry), workers_(workers), plan_costs_(plan_costs) {}

 private:
  KvGeometry geometry_;
  int workers_;
  PlanCosts plan_costs_;
};

// How a device computes with a combination of formats: not at all, correctly but slowly, or at full speed.
enum class Support : std::uint8_t { kNone, kSlow, kFull };

// Owner: the Backend. Thread: one caller at a time. Work runs in the order of the calls; on a GPU a call may return
// before its work is done.
class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual std::string name() const = 0;         // "cpu", "cuda"
  virtual std::string description() const = 0;  // chip, instruction set, cores
  // Returns how the device computes with a pair of formats. Every device supports f32 and bf16 alone (dense_packing,
  // kv_format_of). A number beyond the range of f16 becomes infinite: a model that has such numbers must run in bf16.
  virtual Support supports(const PackingOptions& packing) const = 0;   // products with weights packed so
  virtual Support supports(ComputeType query, KvFormat kv) const = 0;  // attention to a KV cache in a format
  // Checks that a model can run in these formats. ERRORS: Unimplemented, naming the pair that the device lacks.
  absl::Status check_formats(const ModelFormats& formats) const;
  virtual std::int64_t available_bytes() const = 0;  // device memory that allocate() could still give

  virtual absl::StatusOr<Buffer> allocate(std::size_t bytes) = 0;  // zeroed. ERRORS: ResourceExhausted
  // Copies to the device. `host` may be reused when this returns.
  virtual void upload(const void* host, void* device, std::size_t bytes) = 0;
  // Copies to the host. Waits for the copy and all work before it.
  virtual void download(const void* device, void* host, std::size_t bytes) = 0;
  virtual void synchronize() = 0;  // waits for all work

  // Stacks `parts` on their rows (q, k, v; gate, up) and packs them for products in options.compute. `biases` is empty
  // or holds one vector (or an empty weight) per part. ERRORS: InvalidArgument (shapes, sizes, a pair of formats that
  // the device lacks), ResourceExhausted.
  absl::StatusOr<std::unique_ptr<LinearWeight>> pack_linear(std::span<const HostWeight> parts,
                                                            std::span<const HostWeight> biases,
                                                            const PackingOptions& options);
  // ERRORS: InvalidArgument (a geometry that the device cannot serve), ResourceExhausted.
  absl::StatusOr<std::unique_ptr<KvCache>> make_kv_cache(const KvGeometry& geometry);

  // Copies one page in every layer (copy on write).
  void copy_page(KvCache& cache, PageId from, PageId to);
  // Copies single slots in every layer, in the order of the list: a later move may read what an earlier one wrote. Used
  // to bring the accepted path of a draft tree to consecutive positions.
  void move_slots(KvCache& cache, std::span<const SlotMove> moves);

 protected:
  Device() = default;

 private:
  virtual absl::StatusOr<std::unique_ptr<LinearWeight>> do_pack_linear(std::span<const HostWeight> parts,
                                                                       std::span<const HostWeight> biases,
                                                                       const PackingOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<KvCache>> do_make_kv_cache(const KvGeometry& geometry) = 0;
  virtual void do_copy_page(KvCache& cache, PageId from, PageId to) = 0;
  virtual void do_move_slots(KvCache& cache, std::span<const SlotMove> moves) = 0;
};

}  // namespace coppice::kernels
