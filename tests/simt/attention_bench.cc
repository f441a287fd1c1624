// Launches of attention on the emulator and their float64 judge.
#include "tests/simt/attention_bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>

#include "base/check.h"
#include "tests/simt/half.h"

namespace coppice::kernels::cuda {
namespace {

constexpr std::int32_t kLayer = 1;  // of two, so that a wrong one shows

KvLayout layout_of(const GpuAttentionBench::Config& config, std::int32_t pages, std::int32_t page_size) {
  return {2, config.first_page + std::max(pages, 1), config.key_heads, page_size, config.head_dim};
}

}  // namespace

Numbers::Numbers(ComputeType dtype, std::size_t count, const char* name)
    : dtype_(dtype), memory_(count * element_bytes(dtype), name) {}

float Numbers::at(std::size_t i) const {
  const std::byte* address = memory_.data() + i * element_bytes(dtype_);
  if (dtype_ == ComputeType::kF32) {
    float value = 0;
    std::memcpy(&value, address, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, address, sizeof bits);
  return dtype_ == ComputeType::kBF16 ? simt::bf16_to_float(bits) : simt::f16_to_float(bits);
}

void Numbers::set(std::size_t i, float value) {
  if (dtype_ == ComputeType::kF32) {
    std::memcpy(address(i), &value, sizeof value);
  } else {
    const std::uint16_t bits = dtype_ == ComputeType::kBF16 ? simt::float_to_bf16(value) : simt::float_to_f16(value);
    std::memcpy(address(i), &bits, sizeof bits);
  }
}

GpuAttentionBench::GpuAttentionBench(const Config& config, std::int32_t pages, std::int32_t page_size,
                                     std::int32_t rows)
    : config_(config),
      layout_(layout_of(config, pages, page_size)),
      cache_(config.dtype, static_cast<std::size_t>(layout_.elements()), "cache"),
      query_(config.dtype, static_cast<std::size_t>(rows * config.query_heads * config.head_dim), "query") {
  std::mt19937_64 random(config.seed);
  std::normal_distribution<float> normal;
  const auto spread = static_cast<float>(config.spread);
  for (std::int32_t layer = 0; layer < layout_.layers; ++layer) {
    const auto end = static_cast<std::size_t>((layer + 1) * layout_.layer_elements());
    for (auto i = static_cast<std::size_t>(layout_.plane(layer, config.first_page, 0, 0)); i < end; ++i) {
      cache_.set(i, normal(random) * (i % 2 == 0 ? spread : 1.0F));
    }
  }
  for (std::size_t i = 0; i < query_.size(); ++i) {
    query_.set(i, normal(random) * spread);
  }
}

PlanOptions GpuAttentionBench::plan_options(const TestStep& step) const {
  PlanOptions options;
  options.page_size = step.page_size;
  options.group_size = config_.query_heads / config_.key_heads;
  options.key_heads = config_.key_heads;
  options.workers = 3;
  return options;
}

std::vector<float> GpuAttentionBench::run(const AttentionPlan& plan, const Run& run) {
  const std::int32_t group = config_.query_heads / config_.key_heads;
  const std::size_t columns = static_cast<std::size_t>(config_.query_heads * config_.head_dim);
  const std::size_t numbers = static_cast<std::size_t>(plan.row_count) * columns;
  const std::size_t bytes = attention_plan_bytes(plan, group, config_.head_dim);
  // The positions, then the plan, as in a step's block.
  const std::size_t plan_begin = (plan.row_positions.size() * sizeof(std::int32_t) + 15) / 16 * 16;
  std::vector<std::byte> staging(plan_begin + bytes);
  std::memcpy(staging.data(), plan.row_positions.data(), plan.row_positions.size() * sizeof(std::int32_t));
  const auto positions = -static_cast<std::int32_t>(plan_begin / sizeof(std::int32_t));
  COPPICE_CHECK(
      pack_attention_plan(plan, group, config_.head_dim, positions, std::span(staging).subspan(plan_begin)) == bytes,
      "packing");
  simt::Buffer<std::byte> packed(staging, "plan");
  simt::Buffer<float> partials(attention_partial_floats(plan.partial_count, config_.query_heads, config_.head_dim),
                               "partials");
  simt::Buffer<std::uint32_t> progress(attention_progress_words(plan.items.size(), config_.key_heads), "progress");
  progress.zero();
  Numbers out(run.f32_out ? ComputeType::kF32 : config_.dtype, numbers, "out");

  AttentionCall call;
  call.plan = packed.data() + plan_begin;
  call.partials = partials.data();
  call.partial_capacity = plan.partial_count;
  call.progress = progress.data();
  call.query = query_.address(static_cast<std::size_t>(run.first_row) * columns);
  call.query_stride = static_cast<std::int64_t>(columns);
  call.out = out.address(0);
  call.out_stride = static_cast<std::int64_t>(columns);
  call.out_is_f32 = run.f32_out || config_.dtype == ComputeType::kF32;
  call.cache = cache_.address(0);
  call.layout = layout_;
  call.layer = kLayer;
  call.query_heads = config_.query_heads;
  call.scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  call.kv = kv_format_of(config_.dtype);
  LoadedKernels loaded;
  const RingFit fit = prepare_attention(config_.head_dim, call.kv, loaded);
  COPPICE_CHECK(loaded.error() == 0, "attention does not fit this device");
  call.stages = run.stages > 0 ? std::min(run.stages, fit.stages) : fit.stages;
  simt::Session session({.seed = run.seed, .resident_blocks = run.blocks});
  if (launch_attention(call, run.blocks, {}) != 0) {
    problems_ += "the launch was given up\n";
  }
  problems_ += session.report();
  counters_ = session.counters();
  for (std::size_t i = 0; i < progress.size(); ++i) {
    if (progress[i] != 0) {
      problems_ += "counter " + std::to_string(i) + " was left at " + std::to_string(progress[i]) + "\n";
    }
  }
  std::vector<float> result(numbers);
  for (std::size_t i = 0; i < numbers; ++i) {
    result[i] = out.at(i);
  }
  return result;
}

std::vector<double> GpuAttentionBench::reference(const std::vector<KvSlot>& slots, std::int32_t window,
                                                 std::int32_t row, std::int32_t head) const {
  const auto dims = static_cast<std::size_t>(config_.head_dim);
  const std::int32_t key_head = head / (config_.query_heads / config_.key_heads);
  const std::size_t query = static_cast<std::size_t>(row * config_.query_heads + head) * dims;
  const std::size_t begin = window > 0 && slots.size() > static_cast<std::size_t>(window)
                                ? slots.size() - static_cast<std::size_t>(window)
                                : 0;
  std::vector<double> scores;
  for (std::size_t i = begin; i < slots.size(); ++i) {
    const auto key = static_cast<std::size_t>(layout_.token(kLayer, slots[i], key_head, KvLayout::kPlaneKey));
    double score = 0;
    for (std::size_t dim = 0; dim < dims; ++dim) {
      score += static_cast<double>(query_.at(query + dim)) * static_cast<double>(cache_.at(key + dim));
    }
    scores.push_back(score / std::sqrt(static_cast<double>(dims)));
  }
  const double highest = *std::max_element(scores.begin(), scores.end());
  std::vector<double> out(dims, 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - highest);
    const auto value =
        static_cast<std::size_t>(layout_.token(kLayer, slots[begin + i], key_head, KvLayout::kPlaneValue));
    sum += weight;
    for (std::size_t dim = 0; dim < dims; ++dim) {
      out[dim] += weight * static_cast<double>(cache_.at(value + dim));
    }
  }
  for (double& number : out) {
    number /= sum;
  }
  return out;
}

double GpuAttentionBench::error(const TestStep& step, std::int32_t window, const std::vector<float>& out) const {
  double worst = 0;
  for (std::size_t i = 0; i < step.sequences.size(); ++i) {
    for (std::int32_t j = 0; j < step.sequences[i].row_count; ++j) {
      const std::vector<KvSlot> slots = step.row_slots(i, j);
      const std::int32_t row = step.sequences[i].row_begin + j;
      double difference = 0;
      double norm = 0;
      for (std::int32_t head = 0; head < config_.query_heads; ++head) {
        const std::vector<double> expected = reference(slots, window, row, head);
        const float* found = out.data() + (row * config_.query_heads + head) * config_.head_dim;
        for (std::size_t dim = 0; dim < expected.size(); ++dim) {
          const double delta = static_cast<double>(found[dim]) - expected[dim];
          difference += delta * delta;
          norm += expected[dim] * expected[dim];
        }
      }
      const double relative = std::sqrt(difference / norm);
      worst = relative <= worst ? worst : relative;  // a NaN is worst
    }
  }
  return worst;
}

void GpuAttentionBench::overwrite(KvSlot slot, float key, float value) {
  const auto dims = static_cast<std::size_t>(config_.head_dim);
  for (std::int32_t head = 0; head < config_.key_heads; ++head) {
    const auto keys = static_cast<std::size_t>(layout_.token(kLayer, slot, head, KvLayout::kPlaneKey));
    const auto values = static_cast<std::size_t>(layout_.token(kLayer, slot, head, KvLayout::kPlaneValue));
    for (std::size_t dim = 0; dim < dims; ++dim) {
      cache_.set(keys + dim, key);
      cache_.set(values + dim, value);
    }
  }
}

void GpuAttentionBench::copy_slot(KvSlot from, KvSlot to) {
  for (std::int32_t head = 0; head < config_.key_heads; ++head) {
    for (const std::int32_t plane : {KvLayout::kPlaneKey, KvLayout::kPlaneValue}) {
      std::memcpy(cache_.address(static_cast<std::size_t>(layout_.token(kLayer, to, head, plane))),
                  cache_.address(static_cast<std::size_t>(layout_.token(kLayer, from, head, plane))),
                  static_cast<std::size_t>(config_.head_dim) * element_bytes(config_.dtype));
    }
  }
}

}  // namespace coppice::kernels::cuda
