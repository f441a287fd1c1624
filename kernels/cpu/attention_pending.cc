// Stands for the attention half of the CPU backend until its files land: every call is refused.
#include "absl/status/status.h"
#include "base/check.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/rope.h"

namespace coppice::kernels::cpu {

struct CpuAttention::State {};
struct CpuRope::State {};

CpuAttention::CpuAttention(const CpuContext&) {}
CpuAttention::~CpuAttention() = default;
void CpuAttention::prepare(const AttentionPlan&, const AttentionParameters&) {}
void CpuAttention::run(const AttentionPlan&, const AttentionParameters&, const Matrix&, const KvCache&, std::int32_t,
                       const Matrix&) {
  COPPICE_CHECK(false, "attention has not landed");
}
CpuRope::CpuRope(const CpuContext&) {}
CpuRope::~CpuRope() = default;
void CpuRope::rope_and_store(const Matrix&, std::span<const std::int32_t>, std::span<const KvSlot>,
                             const RopeParameters&, KvCache&, std::int32_t, const Matrix&) {
  COPPICE_CHECK(false, "rope has not landed");
}
absl::StatusOr<std::unique_ptr<KvCache>> make_cpu_kv_cache(const KvGeometry&) {
  return absl::UnimplementedError("the KV cache has not landed");
}
void copy_page(KvCache&, PageId, PageId) {
  COPPICE_CHECK(false, "the KV cache has not landed");
}

void move_slots(KvCache&, std::span<const SlotMove>) {
  COPPICE_CHECK(false, "the KV cache has not landed");
}

}  // namespace coppice::kernels::cpu
