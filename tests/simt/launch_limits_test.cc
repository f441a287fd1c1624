// Every kernel on every class of devices: what a launch needs fits, rings are as long as suits the device, and their
// length changes no bit.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "tests/simt/attention_bench.h"
#include "tests/simt/device_limits.h"
#include "tests/simt/linear_product.h"

namespace coppice::kernels::test {
namespace {

using cuda::LoadedKernels;

// Launches go to this device while it lives.
struct OnDevice {
  explicit OnDevice(const simt::DeviceLimits& device) { simt::device_limits() = device; }
  ~OnDevice() { simt::device_limits() = {}; }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
};

bool is_small(const simt::DeviceLimits& device) {
  return device.shared_block_kib < 100;
}

TEST_CASE("every kernel fits every device since compute capability 8.0", "[simt]") {
  for (const simt::DeviceLimits& device : simt::kDevices) {
    INFO("compute capability " << device.capability);
    const OnDevice on(device);
    LoadedKernels loaded;
    cuda::prepare_elementwise(loaded);
    cuda::prepare_cache(loaded);
    cuda::prepare_sample(loaded);
    const cuda::LinearRings rings = cuda::prepare_linear(loaded);
    CHECK(loaded.error() == 0);
    CHECK(rings.rows128 == (is_small(device) ? 3 : 4));
    CHECK(rings.rows64 == (is_small(device) ? 3 : 4));
    CHECK(loaded.wait_for_earlier() == (device.capability >= 90));
    if (device.capability == 90) {
      cuda::prepare_linear_hopper(loaded);
      CHECK(loaded.error() == 0);
    }
    for (const ComputeType type : {ComputeType::kBF16, ComputeType::kF16, ComputeType::kF32}) {
      for (const std::int32_t head_dim : {8, 64, 72, 80, 96, 128, 136, 256}) {
        INFO(format_name(type) << ", heads of " << head_dim);
        const cuda::RingFit fit = cuda::prepare_attention(head_dim, kv_format_of(type), loaded);
        CHECK(loaded.error() == 0);
        CHECK(fit.resident_blocks > 0);
        CHECK(fit.stages >= (type == ComputeType::kF32 || head_dim > 128 ? 1 : 2));
      }
    }
  }
}

TEST_CASE("a device without room for a kernel's least is refused by preparing, not by a launch", "[simt]") {
  const OnDevice on({.capability = 75, .shared_block_kib = 64, .shared_kib = 64, .threads = 1024, .code_version = 75});
  LoadedKernels loaded;
  cuda::prepare_linear(loaded);
  CHECK(loaded.error() == simt::kRefused);
  LoadedKernels attention;
  CHECK_FALSE(cuda::prepare_attention(256, kv_format_of(ComputeType::kBF16), attention).fits());
  CHECK(attention.error() == simt::kRefused);
}

TEST_CASE("products give the same bits on every device, one after the other in one process", "[simt]") {
  std::vector<Tensor> first;
  for (const simt::DeviceLimits& device : {simt::kDevices[0], simt::kDevices[1], simt::kDevices[4]}) {
    INFO("compute capability " << device.capability);
    const OnDevice on(device);
    simt::Session session({.seed = 7});
    Product product({130, 584}, ComputeType::kBF16, /*has_bias=*/true);
    const Tensor in = random_tensor(ComputeType::kBF16, 70, 584, 13);
    std::vector<Tensor> outs;
    for (const LinearTile tile : {LinearTile::k16x64Split, LinearTile::k64x64Split, LinearTile::k128x128Whole}) {
      outs.push_back(product.run(in, tile, ComputeType::kF32));
      CHECK(outs.back().bytes == outs.front().bytes);
    }
    first = first.empty() ? outs : first;
    CHECK(outs.front().bytes == first.front().bytes);
    CHECK(session.report() == "");
  }
}

TEST_CASE("attention gives the same bits on every device, wide heads with a ring of one stage", "[simt]") {
  std::mt19937_64 random(5);
  TreeShape shape;
  shape.depth = 2;
  shape.leaves_most = 4;
  shape.tokens_most = 200;
  shape.chunk_most = 20;
  const TestStep step = random_tree(shape, 16, random);
  for (const std::int32_t head_dim : {64, 128, 256}) {
    std::vector<float> first;
    for (const simt::DeviceLimits& device : {simt::kDevices[0], simt::kDevices[1], simt::kDevices[4]}) {
      INFO("compute capability " << device.capability << ", heads of " << head_dim);
      const OnDevice on(device);
      cuda::GpuAttentionBench bench({4, 2, head_dim, ComputeType::kBF16, 5}, step.pages_used, step.page_size,
                                    step.row_count());
      AttentionPlanner planner;
      const auto sequences = step.plan_sequences();
      const std::vector<float> out = bench.run(planner.plan(sequences, bench.plan_options(step)), {.seed = 6});
      CHECK(bench.problems() == "");
      CHECK(bench.error(step, 0, out) <= 5e-3);
      first = first.empty() ? out : first;
      CHECK((out == first));
    }
  }
  const OnDevice on(simt::kDevices[1]);
  LoadedKernels loaded;
  CHECK(cuda::prepare_attention(256, kv_format_of(ComputeType::kBF16), loaded).stages == 1);
}

}  // namespace
}  // namespace coppice::kernels::test
