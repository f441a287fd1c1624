// Launches of the kernels that write the KV cache.
#include "kernels/cuda/elementwise/rope.cuh"

#include <device/launch.cuh>

#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

namespace {

template <typename Element>
int rope(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
         const RopeParameters& parameters, void* cache, const KvLayout& layout, std::int32_t layer,
         const Matrix& query_out, LaunchStream stream) {
  using Kernel = RopeKernel<Element>;
  const typename Kernel::Params params{.qkv = static_cast<const float*>(qkv.data),
                                       .qkv_stride = qkv.stride,
                                       .positions = positions.data(),
                                       .slots = slots.data(),
                                       .inverse_frequency = parameters.inverse_frequency,
                                       .query_norm = parameters.query_norm,
                                       .key_norm = parameters.key_norm,
                                       .cache = static_cast<Element*>(cache),
                                       .query_out = static_cast<Element*>(query_out.data),
                                       .query_stride = query_out.stride,
                                       .layout = layout,
                                       .layer = layer,
                                       .query_heads = parameters.query_heads,
                                       .rotary_dim = parameters.rotary_dim,
                                       .attention_factor = parameters.attention_factor,
                                       .norm_epsilon = parameters.norm_epsilon,
                                       .has_query_norm = parameters.query_norm != nullptr,
                                       .has_key_norm = parameters.key_norm != nullptr};
  const LaunchShape shape{.blocks = static_cast<std::int32_t>(qkv.rows),
                          .threads = kRopeThreads,
                          .shared_bytes = Kernel::kSharedBytesMax,
                          .blocks_y = 1};
  return launch<Kernel>(shape, params, stream);
}

KvLayout in_words(const KvLayout& layout, KvFormat kv) {
  KvLayout words = layout;
  words.head_dim = static_cast<std::int32_t>(kv.bytes(1, layout.head_dim) / sizeof(MoveSlotsKernel::Word));
  return words;
}

}  // namespace

void prepare_cache(LoadedKernels& loaded) {
  prepare_kernel<RopeKernel<float>>(loaded);
  prepare_kernel<RopeKernel<Bf16>>(loaded);
  prepare_kernel<RopeKernel<F16>>(loaded);
  prepare_kernel<MoveSlotsKernel>(loaded);
  prepare_kernel<CopyPageKernel>(loaded);
}

int launch_rope(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                const RopeParameters& parameters, void* cache, const KvLayout& layout, KvFormat kv, std::int32_t layer,
                const Matrix& query_out, LaunchStream stream) {
  switch (kv.kind) {
    case KvKind::kF32:
      return rope<float>(qkv, positions, slots, parameters, cache, layout, layer, query_out, stream);
    case KvKind::kBF16:
      return rope<Bf16>(qkv, positions, slots, parameters, cache, layout, layer, query_out, stream);
    case KvKind::kF16:
      return rope<F16>(qkv, positions, slots, parameters, cache, layout, layer, query_out, stream);
    case KvKind::kInt8:
      break;  // no such cache is made (CudaDevice::supports)
  }
  return 1;
}

int launch_move_slots(void* cache, const KvLayout& layout, KvFormat kv, const KvSlot* moves, std::int32_t count,
                      LaunchStream stream) {
  using Kernel = MoveSlotsKernel;
  const Kernel::Params params{
      .cache = static_cast<Kernel::Word*>(cache), .moves = moves, .layout = in_words(layout, kv), .count = count};
  const LaunchShape shape{
      .blocks = layout.layers * layout.key_heads, .threads = Kernel::kThreadsMax, .shared_bytes = 0, .blocks_y = 1};
  return launch<Kernel>(shape, params, stream);
}

int launch_copy_page(void* cache, const KvLayout& layout, KvFormat kv, PageId from, PageId to, LaunchStream stream) {
  using Kernel = CopyPageKernel;
  const Kernel::Params params{
      .cache = static_cast<Kernel::Word*>(cache), .layout = in_words(layout, kv), .from = from, .to = to};
  const std::int64_t spans = (params.layout.page_elements() + Kernel::kSpan - 1) / Kernel::kSpan;
  const LaunchShape shape{.blocks = layout.layers,
                          .threads = Kernel::kThreadsMax,
                          .shared_bytes = 0,
                          .blocks_y = static_cast<std::int32_t>(spans)};
  return launch<Kernel>(shape, params, stream);
}

}  // namespace coppice::kernels::cuda
