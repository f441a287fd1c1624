// Attention of kernels/cuda on the emulator: a cache full of known numbers in the GPU's layout, queries, launches of a
// plan by the very launcher that the backend calls, and float64 to judge by.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/cuda/attention/attention.h"
#include "tests/simt/session.h"
#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels::cuda {

// Numbers of any type in the emulator's memory.
class Numbers {
 public:
  Numbers(ComputeType dtype, std::size_t count, const char* name);

  std::size_t size() const { return memory_.size() / element_bytes(dtype_); }
  float at(std::size_t i) const;
  void set(std::size_t i, float value);  // rounds
  std::byte* address(std::size_t i) { return memory_.data() + i * element_bytes(dtype_); }

 private:
  ComputeType dtype_;
  simt::Buffer<std::byte> memory_;
};

class GpuAttentionBench {
 public:
  struct Config {
    std::int32_t query_heads = 4;
    std::int32_t key_heads = 2;
    std::int32_t head_dim = 64;
    ComputeType dtype = ComputeType::kBF16;
    std::uint64_t seed = 1;  // of numbers
    double spread = 1.0;
    PageId first_page = 0;  // the cache has this many pages before the step's; they hold zeros
  };
  struct Run {
    std::uint64_t seed = 1;  // of the order of threads
    std::int32_t blocks = 3;
    bool f32_out = true;
    std::int32_t stages = 0;     // 0: the launcher chooses
    std::int32_t first_row = 0;  // the plan's first row has this row's query
  };

  GpuAttentionBench(const Config& config, std::int32_t pages, std::int32_t page_size, std::int32_t rows);

  // [plan rows][query_heads * head_dim]. Whatever the emulator saw is appended to problems(); so is what a launch left
  // wrong behind (counters that are not zero).
  std::vector<float> run(const AttentionPlan& plan, const Run& run);
  const std::string& problems() const { return problems_; }
  const simt::Counters& counters() const { return counters_; }

  PlanOptions plan_options(const TestStep& step) const;
  // Largest error of any row, |out - reference| / |reference| in the 2-norm over all heads.
  double error(const TestStep& step, std::int32_t window, const std::vector<float>& out) const;
  // K and V of a slot become `value`, in all heads of the layer in use.
  void overwrite(KvSlot slot, float key, float value);
  // K and V of `from` are copied to `to`.
  void copy_slot(KvSlot from, KvSlot to);

 private:
  std::vector<double> reference(const std::vector<KvSlot>& slots, std::int32_t window, std::int32_t row,
                                std::int32_t head) const;

  Config config_;
  KvLayout layout_;
  Numbers cache_;
  Numbers query_;
  std::string problems_;
  simt::Counters counters_;
};

}  // namespace coppice::kernels::cuda
