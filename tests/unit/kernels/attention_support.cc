// Random steps, known caches and the float64 judge of attention.
#include "tests/unit/kernels/attention_support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/unit/kernels/kernel_support.h"

namespace coppice::kernels {
namespace {

std::int32_t draw(std::mt19937_64& random, std::int32_t least, std::int32_t most) {
  return std::uniform_int_distribution<std::int32_t>(least, std::max(least, most))(random);
}

bool chance(std::mt19937_64& random, double probability) {
  return std::uniform_real_distribution<double>(0, 1)(random) < probability;
}

float round_to(ComputeType dtype, float value) {
  return dtype == ComputeType::kF32    ? value
         : dtype == ComputeType::kBF16 ? test::from_bf16(test::to_bf16(value))
                                       : test::from_f16(test::to_f16(value));
}

// Walks the tree down; `path` has the pages so far and `length` the tokens. Only full pages are shared.
struct TreeMaker {
  const TreeShape& shape;
  std::mt19937_64& random;
  TestStep step;

  void extend(std::vector<PageId>& path, std::int32_t length) {
    while (static_cast<std::int32_t>(path.size()) * step.page_size < length) {
      path.push_back(step.pages_used++);
    }
  }

  void leaf(std::vector<PageId> path, std::int32_t length) {
    TestSequence sequence;
    const std::int32_t chunk = std::min(draw(random, 1, shape.chunk_most), length);
    sequence.position_begin = length - chunk;
    const std::int32_t drafts = draw(random, 0, shape.drafts_most);
    for (std::int32_t i = 0; i < drafts; ++i) {
      sequence.draft_parents.push_back(draw(random, -1, i - 1));
    }
    sequence.row_count = chunk + drafts;
    if (drafts > 0) {  // drafts write to their own pages
      path.resize(static_cast<std::size_t>((length - 1) / step.page_size));
    }
    extend(path, length + drafts);
    sequence.pages = std::move(path);
    step.sequences.push_back(std::move(sequence));
  }

  void node(const std::vector<PageId>& above, std::int32_t length, std::int32_t depth) {
    std::vector<PageId> path = above;
    const bool adds_nothing = length > 0 && depth == 0 && chance(random, shape.empty_suffix);
    const std::int32_t most = depth == 0 && shape.leaf_tokens_most > 0 ? shape.leaf_tokens_most : shape.tokens_most;
    const std::int32_t tokens = adds_nothing ? 0 : chance(random, shape.one_token) ? 1 : draw(random, 1, most);
    if (tokens > 0) {  // copy on write: a page that is not full is not shared
      path.resize(static_cast<std::size_t>(length / step.page_size));
    }
    length += tokens;
    extend(path, length);
    const std::int32_t children = depth == 0 ? 0 : draw(random, shape.children_least, shape.children_most);
    if (children == 0) {
      leaf(path, length);
      return;
    }
    for (std::int32_t i = 0; i < children; ++i) {
      if (static_cast<std::int32_t>(step.sequences.size()) < shape.leaves_most) {
        node(path, length, depth - 1);
      }
    }
  }
};

}  // namespace

std::int32_t TestStep::row_count() const {
  return sequences.empty() ? 0 : sequences.back().row_begin + sequences.back().row_count;
}

std::vector<PlanSequence> TestStep::plan_sequences() const {
  std::vector<PlanSequence> result;
  for (const TestSequence& sequence : sequences) {
    result.push_back({sequence.pages, sequence.row_begin, sequence.row_count, sequence.position_begin,
                      sequence.draft_parents, -1, sequence.identity});
  }
  return result;
}

void TestStep::number_rows() {
  std::int32_t row = 0;
  for (TestSequence& sequence : sequences) {
    sequence.row_begin = row;
    row += sequence.row_count;
  }
}

std::vector<KvSlot> TestStep::row_slots(std::size_t sequence, std::int32_t row) const {
  const TestSequence& source = sequences[sequence];
  const auto slot_of = [&](std::int32_t position) {
    return source.pages[static_cast<std::size_t>(position / page_size)] * page_size + position % page_size;
  };
  const auto drafts = static_cast<std::int32_t>(source.draft_parents.size());
  const std::int32_t linear = source.row_count - drafts;
  std::vector<KvSlot> path;
  std::int32_t committed = source.position_begin + row + 1;
  if (row >= linear) {
    committed = source.position_begin + linear;
    for (std::int32_t node = row - linear; node >= 0; node = source.draft_parents[static_cast<std::size_t>(node)]) {
      path.push_back(slot_of(committed + node));
    }
  }
  std::vector<KvSlot> slots;
  for (std::int32_t position = 0; position < committed; ++position) {
    slots.push_back(slot_of(position));
  }
  slots.insert(slots.end(), path.rbegin(), path.rend());
  return slots;
}

TestStep random_tree(const TreeShape& shape, std::int32_t page_size, std::mt19937_64& random) {
  TreeMaker maker{shape, random, {}};
  maker.step.page_size = page_size;
  const std::int32_t roots = draw(random, 1, shape.roots_most);
  for (std::int32_t i = 0; i < roots; ++i) {
    maker.node({}, 0, draw(random, shape.depth_least, shape.depth));
  }
  maker.step.number_rows();
  return std::move(maker.step);
}

AttentionBench::AttentionBench(const Options& options, std::int32_t pages, std::int32_t page_size, std::int32_t rows)
    : options_(options), rows_(rows) {
  backend_ =
      options.open_backend ? options.open_backend() : cpu::make_cpu_backend({options.threads, options.isa}).value();
  auto cache = backend_->device().make_kv_cache(
      {2, options.key_heads, options.head_dim, page_size, std::max(pages, 1), options.kv_format()});
  COPPICE_CHECK(cache.ok(), "cache");
  cache_ = std::move(cache).value();
  std::mt19937_64 random(options.seed);
  fill(0, pages * page_size, random);
  fill(1, pages * page_size, random);
  std::normal_distribution<float> normal(0.0F, static_cast<float>(options.spread));
  query_.resize(static_cast<std::size_t>(rows * options.query_heads * options.head_dim));
  for (float& number : query_) {
    number = round_to(options.dtype, normal(random));
  }
  upload_query();
}

void AttentionBench::upload_query() {
  auto memory = backend_->device().allocate(query_.size() * element_bytes(options_.dtype) + 64);
  COPPICE_CHECK(memory.ok(), "query");
  query_memory_ = std::move(memory).value();
  if (options_.dtype == ComputeType::kF32) {
    backend_->device().upload(query_.data(), query_memory_.data(), query_.size() * sizeof(float));
    return;
  }
  std::vector<std::uint16_t> halves(query_.size());
  for (std::size_t i = 0; i < query_.size(); ++i) {
    halves[i] = options_.dtype == ComputeType::kBF16 ? test::to_bf16(query_[i]) : test::to_f16(query_[i]);
  }
  backend_->device().upload(halves.data(), query_memory_.data(), halves.size() * sizeof(std::uint16_t));
}

std::size_t AttentionBench::index(KvSlot slot, std::int32_t head, std::int32_t dim) const {
  return (static_cast<std::size_t>(slot) * static_cast<std::size_t>(options_.key_heads) +
          static_cast<std::size_t>(head)) *
             static_cast<std::size_t>(options_.head_dim) +
         static_cast<std::size_t>(dim);
}

void AttentionBench::round(std::span<float> numbers) const {
  const KvKind kind = options_.kv_format().kind;
  const auto dims = static_cast<std::size_t>(options_.head_dim);
  for (std::size_t begin = 0; begin < numbers.size(); begin += dims) {
    const std::span<float> head = numbers.subspan(begin, dims);
    float highest = 0;
    for (const float number : head) {
      highest = std::max(highest, std::abs(number));
    }
    const float scale = highest > 0 ? highest / 127.0F : 1.0F;
    for (float& number : head) {
      number = kind == KvKind::kInt8 ? std::nearbyint(number / scale) * scale
               : kind == KvKind::kF32
                   ? number
                   : round_to(kind == KvKind::kBF16 ? ComputeType::kBF16 : ComputeType::kF16, number);
    }
  }
}

float AttentionBench::key(KvSlot slot, std::int32_t head, std::int32_t dim) const {
  return keys_[index(slot, head, dim)];
}
float AttentionBench::value(KvSlot slot, std::int32_t head, std::int32_t dim) const {
  return values_[index(slot, head, dim)];
}

void AttentionBench::fill(std::int32_t layer, std::int32_t slot_count, std::mt19937_64& random) {
  std::vector<KvSlot> slots;
  for (KvSlot slot = 0; slot < slot_count; ++slot) {
    slots.push_back(slot);
  }
  const std::size_t numbers = index(slot_count, 0, 0);
  keys_.resize(numbers);
  values_.resize(numbers);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  for (std::size_t i = 0; i < numbers; ++i) {
    keys_[i] = normal(random) * static_cast<float>(options_.spread);
    values_[i] = normal(random);
  }
  store(layer, slots, keys_, values_);
  round(keys_);
  round(values_);
}

void AttentionBench::store(std::int32_t layer, const std::vector<KvSlot>& slots, const std::vector<float>& keys,
                           const std::vector<float>& values) {
  const auto width = static_cast<std::size_t>(options_.key_heads * options_.head_dim);
  const auto query_width = static_cast<std::size_t>(options_.query_heads * options_.head_dim);
  RopeParameters parameters;
  parameters.query_heads = options_.query_heads;
  parameters.key_heads = options_.key_heads;
  parameters.head_dim = options_.head_dim;
  constexpr std::size_t kBatch = 4096;
  for (std::size_t begin = 0; begin < slots.size(); begin += kBatch) {
    const std::size_t count = std::min(kBatch, slots.size() - begin);
    std::vector<float> qkv(count * (query_width + 2 * width));
    for (std::size_t i = 0; i < count; ++i) {
      float* row = qkv.data() + i * (query_width + 2 * width) + query_width;
      std::copy_n(keys.data() + (begin + i) * width, width, row);
      std::copy_n(values.data() + (begin + i) * width, width, row + width);
    }
    auto unused = backend_->device().allocate(count * query_width * 4);
    auto numbers = backend_->device().allocate(qkv.size() * sizeof(float));
    auto places = backend_->device().allocate(2 * count * sizeof(std::int32_t));  // positions, all 0; slots
    COPPICE_CHECK(unused.ok() && numbers.ok() && places.ok(), "memory");
    backend_->device().upload(qkv.data(), numbers->data(), qkv.size() * sizeof(float));
    const auto* positions = static_cast<const std::int32_t*>(places->data());
    backend_->device().upload(slots.data() + begin, static_cast<KvSlot*>(places->data()) + count,
                              count * sizeof(KvSlot));
    const auto rows = static_cast<std::int64_t>(count);
    const auto columns = static_cast<std::int64_t>(query_width + 2 * width);
    backend_->operations().rope_and_store(numbers->matrix(ComputeType::kF32, rows, columns), {positions, count},
                                          {positions + count, count}, parameters, *cache_, layer,
                                          unused->matrix(options_.dtype, rows, static_cast<std::int64_t>(query_width)));
    backend_->device().synchronize();
  }
}

void AttentionBench::write(const std::vector<KvSlot>& slots, const std::vector<float>& keys,
                           const std::vector<float>& values) {
  const auto width = static_cast<std::size_t>(options_.key_heads * options_.head_dim);
  std::vector<float> rounded_keys = keys;
  std::vector<float> rounded_values = values;
  round(rounded_keys);
  round(rounded_values);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    std::copy_n(rounded_keys.data() + i * width, width, keys_.data() + index(slots[i], 0, 0));
    std::copy_n(rounded_values.data() + i * width, width, values_.data() + index(slots[i], 0, 0));
  }
  store(1, slots, keys, values);
}

PlanOptions AttentionBench::plan_options(const TestStep& step) const {
  PlanOptions options;
  options.page_size = step.page_size;
  options.group_size = options_.query_heads / options_.key_heads;
  options.key_heads = options_.key_heads;
  options.workers = options_.open_backend ? cache_->workers() : options_.threads;
  return options;
}

std::vector<float> AttentionBench::run(const AttentionPlan& plan, ComputeType out_dtype, std::int32_t first_row) {
  const std::int64_t columns = std::int64_t{options_.query_heads} * options_.head_dim;
  AttentionParameters parameters;
  parameters.query_heads = options_.query_heads;
  parameters.key_heads = options_.key_heads;
  parameters.head_dim = options_.head_dim;
  parameters.scale = 1.0F / std::sqrt(static_cast<float>(options_.head_dim));
  COPPICE_CHECK(first_row + plan.row_count <= rows_, "rows");
  const auto numbers = static_cast<std::size_t>(plan.row_count * columns);
  auto out = backend_->device().allocate(numbers * element_bytes(out_dtype) + 64);
  COPPICE_CHECK(out.ok(), "out");
  const std::vector<std::uint8_t> poison(numbers * element_bytes(out_dtype), 0xFF);  // NaN
  backend_->device().upload(poison.data(), out->data(), poison.size());
  Matrix query = query_memory_.matrix(options_.dtype, plan.row_count, columns);
  query.data = static_cast<std::uint8_t*>(query.data) +
               static_cast<std::size_t>(first_row * columns) * element_bytes(options_.dtype);
  const LoadedAttention attention = backend_->steps().load_attention(plan, parameters);
  backend_->operations().attention(attention, query, *cache_, 1, out->matrix(out_dtype, plan.row_count, columns));
  std::vector<float> result(numbers);
  if (out_dtype == ComputeType::kF32) {
    backend_->device().download(out->data(), result.data(), result.size() * sizeof(float));
    return result;
  }
  std::vector<std::uint16_t> halves(numbers);
  backend_->device().download(out->data(), halves.data(), halves.size() * sizeof(std::uint16_t));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(halves[i]) << 16;
    std::memcpy(&result[i], &bits, sizeof bits);
  }
  return result;
}

std::vector<double> AttentionBench::reference(const std::vector<KvSlot>& slots, std::int32_t window, std::int32_t row,
                                              std::int32_t head) const {
  const std::int32_t dims = options_.head_dim;
  const std::int32_t key_head = head / (options_.query_heads / options_.key_heads);
  const float* query = query_.data() + (row * options_.query_heads + head) * dims;
  const std::size_t begin = window > 0 && slots.size() > static_cast<std::size_t>(window)
                                ? slots.size() - static_cast<std::size_t>(window)
                                : 0;
  std::vector<double> scores;
  for (std::size_t i = begin; i < slots.size(); ++i) {
    double score = 0;
    for (std::int32_t dim = 0; dim < dims; ++dim) {
      score += static_cast<double>(query[dim]) * static_cast<double>(key(slots[i], key_head, dim));
    }
    scores.push_back(score * static_cast<double>(1.0F / std::sqrt(static_cast<float>(dims))));
  }
  const double highest = *std::max_element(scores.begin(), scores.end());
  std::vector<double> out(static_cast<std::size_t>(dims), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - highest);
    sum += weight;
    for (std::int32_t dim = 0; dim < dims; ++dim) {
      out[static_cast<std::size_t>(dim)] += weight * static_cast<double>(value(slots[begin + i], key_head, dim));
    }
  }
  for (double& number : out) {
    number /= sum;
  }
  return out;
}

double AttentionBench::row_error(const TestStep& step, std::size_t sequence, std::int32_t row, std::int32_t window,
                                 const std::vector<float>& out) const {
  const std::vector<KvSlot> slots = step.row_slots(sequence, row);
  const std::int32_t place = step.sequences[sequence].row_begin + row;
  double difference = 0;
  double norm = 0;
  for (std::int32_t head = 0; head < options_.query_heads; ++head) {
    const std::vector<double> expected = reference(slots, window, place, head);
    const float* found = out.data() + (place * options_.query_heads + head) * options_.head_dim;
    for (std::size_t dim = 0; dim < expected.size(); ++dim) {
      const double delta = static_cast<double>(found[dim]) - expected[dim];
      difference += delta * delta;
      norm += expected[dim] * expected[dim];
    }
  }
  return std::sqrt(difference / norm);
}

double AttentionBench::error(const TestStep& step, std::int32_t window, const std::vector<float>& out) const {
  double worst = 0;
  for (std::size_t i = 0; i < step.sequences.size(); ++i) {
    for (std::int32_t row = 0; row < step.sequences[i].row_count; ++row) {
      const double relative = row_error(step, i, row, window, out);
      worst = relative <= worst ? worst : relative;  // a NaN is worst
    }
  }
  return worst;
}

}  // namespace coppice::kernels
