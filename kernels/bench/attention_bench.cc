// Builds the tree in a KV cache, times plans with and without sharing, and judges some rows by float64.
#include "kernels/bench/attention_bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/attention_forest.h"
#include "kernels/key_positions.h"

namespace coppice::kernels {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kTableSize = 1U << 16;  // random numbers that K, V and Q are made of
constexpr std::int32_t kLayersMax = 64;       // of the cache: enough to leave any last-level cache cold
// A device that works behind the caller's back gets as many layers at once as take this long, so that waiting for it
// counts for little.
constexpr double kAtOnceUs = 4000;
constexpr double kAtOnceMost = 512;
constexpr std::int64_t kStoreBatch = 2048;
// Slots with numbers of their own; the pages beyond are copies of these, which is quicker than making them.
constexpr std::int64_t kOwnSlots = 1 << 13;
constexpr std::size_t kCpuCacheBytesMax = 12ULL << 30;

float rounded_to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7FFFU + ((bits >> 16) & 1U)) & 0xFFFF0000U;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

enum Kind : std::uint8_t { kKey, kValue, kQuery };

// Numbers near a unit normal, exact in bf16, as a function of where they stand; nothing large is kept.
class Numbers {
 public:
  explicit Numbers(std::size_t row) {
    for (std::size_t kind = 0; kind < tables_.size(); ++kind) {
      tables_[kind].resize(kTableSize + row);
      for (std::size_t i = 0; i < tables_[kind].size(); ++i) {
        float sum = -2.0F;
        for (std::uint64_t j = 0; j < 4; ++j) {
          sum += base::uniform01(j, i, kind);
        }
        tables_[kind][i] = rounded_to_bf16(sum * 1.7320508F);
      }
    }
  }
  // The numbers of row `index`. Each kind has a table of its own: no query may find itself among the keys.
  const float* row(std::int64_t index, Kind kind) const {
    const auto words = base::philox4x32(kind, static_cast<std::uint64_t>(index), 1);
    return tables_[kind].data() + words[0] % kTableSize;
  }

 private:
  std::array<std::vector<float>, 3> tables_;
};

// Everything of one measurement.
class Measurement {
 public:
  Measurement(const AttentionBenchOptions& options, Backend& backend)
      : options_(options),
        backend_(backend),
        numbers_(static_cast<std::size_t>(std::max(options.query_heads, options.key_heads) * options.head_dim)),
        forest_(grow_forest(options.tree, options.page_size)) {
    plan_options_.page_size = options.page_size;
    plan_options_.window = options.window;
    plan_options_.group_size = options.query_heads / options.key_heads;
    plan_options_.key_heads = options.key_heads;
    parameters_ = {options.query_heads, options.key_heads, options.head_dim,
                   1.0F / std::sqrt(static_cast<float>(options.head_dim))};
  }

  absl::Status make_memory();
  absl::StatusOr<AttentionBenchResult> measure();

 private:
  std::int64_t columns() const { return std::int64_t{options_.query_heads} * options_.head_dim; }
  std::int64_t rows() const { return static_cast<std::int64_t>(forest_.sequences.size()); }
  Matrix query() const { return query_.matrix(options_.type, rows(), columns()); }
  Matrix out() const { return out_.matrix(ComputeType::kF32, rows(), columns()); }
  // Slots whose numbers are made, whole pages of them.
  std::int64_t own_slots() const {
    const std::int64_t pages = std::max(kOwnSlots, rows()) / options_.page_size + 1;
    return std::min<std::int64_t>(pages, forest_.pages) * options_.page_size;
  }
  absl::Status store();
  void copy_other_pages();
  double time_plan();
  double time_update();
  double attend(const AttentionPlan& plan);
  double row_error(std::int64_t row, const float* found) const;
  double largest_error();

  const AttentionBenchOptions& options_;
  Backend& backend_;
  Numbers numbers_;
  Forest forest_;
  PlanOptions plan_options_;
  AttentionParameters parameters_;
  KvGeometry geometry_;
  std::unique_ptr<KvCache> cache_;
  Buffer query_;
  Buffer out_;
  std::int32_t next_layer_ = 0;
  int layers_at_once_ = 1;
};

absl::Status Measurement::make_memory() {
  geometry_ = {1, options_.key_heads, options_.head_dim, options_.page_size, forest_.pages, options_.kv_format()};
  const std::size_t layer_bytes = geometry_.bytes_per_token() * static_cast<std::size_t>(forest_.pages) *
                                  static_cast<std::size_t>(options_.page_size);
  const std::size_t cache_bytes_max = options_.cache_bytes_max != 0 ? options_.cache_bytes_max
                                      : backend_.device().name() == "cpu"
                                          ? kCpuCacheBytesMax
                                          : static_cast<std::size_t>(backend_.device().available_bytes()) / 10 * 9;
  if (layer_bytes > cache_bytes_max) {
    return absl::ResourceExhaustedError(fmt::format("the tree's KV takes {:.1f} GiB, more than the {:.1f} GiB allowed",
                                                    static_cast<double>(layer_bytes) * 0x1p-30,
                                                    static_cast<double>(cache_bytes_max) * 0x1p-30));
  }
  const std::size_t layers = std::min(options_.cold_bytes, cache_bytes_max) / layer_bytes + 1;
  geometry_.layers = static_cast<std::int32_t>(std::min<std::size_t>(layers, kLayersMax));
  COPPICE_ASSIGN_OR_RETURN(cache_, backend_.device().make_kv_cache(geometry_));
  plan_options_.workers = cache_->workers();
  plan_options_.costs = cache_->plan_costs();
  const auto numbers = static_cast<std::size_t>(rows() * columns());
  COPPICE_ASSIGN_OR_RETURN(query_, backend_.device().allocate(numbers * element_bytes(options_.type)));
  COPPICE_ASSIGN_OR_RETURN(out_, backend_.device().allocate(numbers * sizeof(float)));
  COPPICE_RETURN_IF_ERROR(store());
  copy_other_pages();
  return absl::OkStatus();
}

void Measurement::copy_other_pages() {
  const auto own = static_cast<PageId>(own_slots() / options_.page_size);
  for (PageId page = own; page < forest_.pages; ++page) {
    backend_.device().copy_page(*cache_, page % own, page);
  }
  backend_.device().synchronize();
}

// K and V of the own slots, the same in all layers, and Q (whose rows are stored along with the first slots).
absl::Status Measurement::store() {
  const std::int64_t slots = own_slots();
  const std::int64_t width = std::int64_t{options_.key_heads} * options_.head_dim;
  const std::int64_t qkv_columns = columns() + 2 * width;
  const std::int64_t batch = std::max(kStoreBatch, rows());
  COPPICE_ASSIGN_OR_RETURN(Buffer qkv,
                           backend_.device().allocate(static_cast<std::size_t>(batch * qkv_columns) * sizeof(float)));
  COPPICE_ASSIGN_OR_RETURN(Buffer spare, backend_.device().allocate(static_cast<std::size_t>(batch * columns()) *
                                                                    element_bytes(options_.type)));
  COPPICE_ASSIGN_OR_RETURN(Buffer places,
                           backend_.device().allocate(static_cast<std::size_t>(batch) * 2 * sizeof(std::int32_t)));
  RopeParameters rope;
  rope.query_heads = options_.query_heads;
  rope.key_heads = options_.key_heads;
  rope.head_dim = options_.head_dim;
  std::vector<float> host(static_cast<std::size_t>(batch * qkv_columns));
  std::vector<std::int32_t> host_places(static_cast<std::size_t>(batch) * 2);
  for (std::int64_t begin = 0; begin < slots; begin += batch) {
    const std::int64_t count = std::min(batch, slots - begin);
    for (std::int64_t i = 0; i < count; ++i) {
      float* row = host.data() + i * qkv_columns;
      std::copy_n(numbers_.row(begin + i, kQuery), columns(), row);
      std::copy_n(numbers_.row(begin + i, kKey), width, row + columns());
      std::copy_n(numbers_.row(begin + i, kValue), width, row + columns() + width);
      host_places[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(begin + i);
    }
    backend_.device().upload(host.data(), qkv.data(), static_cast<std::size_t>(count * qkv_columns) * sizeof(float));
    backend_.device().upload(host_places.data(), places.data(), static_cast<std::size_t>(count) * sizeof(std::int32_t));
    const std::span place(static_cast<const std::int32_t*>(places.data()), static_cast<std::size_t>(count));
    for (std::int32_t layer = 0; layer < geometry_.layers; ++layer) {
      backend_.operations().rope_and_store(qkv.matrix(ComputeType::kF32, count, qkv_columns), place, place, rope,
                                           *cache_, layer, spare.matrix(options_.type, count, columns()));
    }
    backend_.device().synchronize();
    if (begin == 0) {
      const std::size_t bytes = static_cast<std::size_t>(rows() * columns()) * element_bytes(options_.type);
      std::vector<std::uint8_t> copy(bytes);
      backend_.device().download(spare.data(), copy.data(), bytes);
      backend_.device().upload(copy.data(), query_.data(), bytes);
    }
  }
  return absl::OkStatus();
}

double Measurement::time_plan() {
  std::vector<PlanSequence> sequences = forest_.sequences;
  for (PlanSequence& sequence : sequences) {
    sequence.identity = 0;
  }
  AttentionPlanner planner;
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 20; ++i) {
    const auto begin = Clock::now();
    planner.plan(sequences, plan_options_);
    best = std::min(best, std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  return best;
}

double Measurement::time_update() {
  double best = std::numeric_limits<double>::infinity();
  std::vector<PlanSequence> next = forest_.sequences;
  for (PlanSequence& sequence : next) {
    ++sequence.position_begin;
  }
  for (int i = 0; i < 20; ++i) {
    AttentionPlanner planner;
    planner.plan(forest_.sequences, plan_options_);
    const auto begin = Clock::now();
    planner.plan(next, plan_options_);
    best = std::min(best, std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  return best;
}

// One layer's attention, in microseconds.
double Measurement::attend(const AttentionPlan& plan) {
  const LoadedAttention attention = backend_.steps().load_attention(plan, parameters_);
  backend_.device().synchronize();
  const auto begin = Clock::now();
  for (int i = 0; i < layers_at_once_; ++i) {
    backend_.operations().attention(attention, query(), *cache_, next_layer_, out());
    next_layer_ = (next_layer_ + 1) % geometry_.layers;
  }
  backend_.device().synchronize();
  const double us = std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / layers_at_once_;
  if (backend_.device().name() != "cpu") {
    layers_at_once_ = static_cast<int>(std::clamp(kAtOnceUs / us, 1.0, kAtOnceMost));
  }
  return us;
}

double Measurement::row_error(std::int64_t row, const float* found) const {
  const PlanSequence& sequence = forest_.sequences[static_cast<std::size_t>(row)];
  const std::int32_t end = sequence.position_begin + 1;
  const std::int32_t begin = options_.window > 0 ? std::max(0, end - options_.window) : 0;
  const auto dims = static_cast<std::size_t>(options_.head_dim);
  double difference = 0;
  double norm = 0;
  for (std::int32_t head = 0; head < options_.query_heads; ++head) {
    const float* q = numbers_.row(row, kQuery) + head * options_.head_dim;
    const std::int32_t offset = head / plan_options_.group_size * options_.head_dim;
    std::vector<double> sums(dims, 0.0);
    double highest = -std::numeric_limits<double>::infinity();
    double total = 0;
    for (std::int32_t key = begin; key < end; ++key) {
      const std::int64_t place =
          std::int64_t{sequence.pages[static_cast<std::size_t>(key / options_.page_size)]} * options_.page_size +
          key % options_.page_size;
      const std::int64_t slot = place % own_slots();  // as copy_other_pages
      const float* k = numbers_.row(slot, kKey) + offset;
      const float* v = numbers_.row(slot, kValue) + offset;
      double score = 0;
      for (std::size_t dim = 0; dim < dims; ++dim) {
        score += static_cast<double>(q[dim]) * static_cast<double>(k[dim]);
      }
      score *= static_cast<double>(parameters_.scale);
      const double higher = std::max(highest, score);
      const double kept = std::exp(highest - higher);
      const double weight = std::exp(score - higher);
      highest = higher;
      total = total * kept + weight;
      for (std::size_t dim = 0; dim < dims; ++dim) {
        sums[dim] = sums[dim] * kept + weight * static_cast<double>(v[dim]);
      }
    }
    for (std::size_t dim = 0; dim < dims; ++dim) {
      const double expected = sums[dim] / total;
      const double delta = static_cast<double>(found[static_cast<std::size_t>(head) * dims + dim]) - expected;
      difference += delta * delta;
      norm += expected * expected;
    }
  }
  return std::sqrt(difference / norm);
}

// Over a few rows, spread evenly; of the output that is in out_ now.
double Measurement::largest_error() {
  std::vector<float> host(static_cast<std::size_t>(rows() * columns()));
  backend_.device().download(out_.data(), host.data(), host.size() * sizeof(float));
  const std::int64_t count = std::min<std::int64_t>(options_.checked_rows, rows());
  double worst = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = count == 1 ? 0 : i * (rows() - 1) / (count - 1);
    const double error = row_error(row, host.data() + row * columns());
    worst = error <= worst ? worst : error;  // a NaN is worst
  }
  return worst;
}

absl::StatusOr<AttentionBenchResult> Measurement::measure() {
  AttentionPlanner planner;
  AttentionPlanner unshared_planner;
  PlanOptions unshared_options = plan_options_;
  unshared_options.sharing = false;
  const AttentionPlan& plan = planner.plan(forest_.sequences, plan_options_);
  const AttentionPlan& unshared = unshared_planner.plan(forest_.sequences, unshared_options);

  AttentionBenchResult result;
  const auto begin = Clock::now();
  result.us = std::numeric_limits<double>::infinity();
  result.us_unshared = std::numeric_limits<double>::infinity();
  constexpr int kRoundsLeast = 3;  // the quickest of fewer says little
  attend(unshared);                // so that both begin warm, with as many layers at once as they need
  for (int round = 0; round < kRoundsLeast || seconds_since(begin) < 2 * options_.seconds; ++round) {
    result.us_unshared = std::min(result.us_unshared, attend(unshared));
    result.us = std::min(result.us, attend(plan));
  }
  attend(plan);
  result.max_rel_error = largest_error();
  result.us_plan = time_plan();
  result.us_plan_update = time_update();
  result.keys_attended = plan.keys_attended;
  result.keys_read = plan.keys_read;
  result.keys_read_unshared = unshared.keys_read;
  result.sequences = static_cast<std::int32_t>(rows());
  result.workers = plan_options_.workers;
  const auto kv_bytes = static_cast<std::int64_t>(
      KvGeometry{1, options_.key_heads, options_.head_dim, options_.page_size, 1, options_.kv_format()}
          .bytes_per_token());
  result.bytes_min = options_.tree.unique_tokens() * kv_bytes +
                     rows() * columns() * static_cast<std::int64_t>(element_bytes(options_.type) + sizeof(float));
  result.gb_per_s = static_cast<double>(result.bytes_min) / result.us * 1e-3;
  result.tflops = 4.0 * static_cast<double>(plan.keys_attended) * static_cast<double>(columns()) / result.us * 1e-6;
  return result;
}

}  // namespace

absl::StatusOr<AttentionBenchResult> measure_attention(const AttentionBenchOptions& options, Backend& backend) {
  if (options.tree.nodes.empty() || options.tree.nodes.size() != options.tree.tokens.size() || options.key_heads <= 0 ||
      options.query_heads <= 0 || options.query_heads % options.key_heads != 0 || options.head_dim <= 0 ||
      options.page_size <= 0 || kSmallSplit % options.page_size != 0 || options.window < 0) {
    return absl::InvalidArgumentError(
        "bench attention: a tree, query heads a multiple of key heads, and a page size that divides 128 are needed");
  }
  Measurement measurement(options, backend);
  COPPICE_RETURN_IF_ERROR(measurement.make_memory());
  return measurement.measure();
}

}  // namespace coppice::kernels
