// The driver of attention on the CPU: workspace, order of tasks, waiting between items, merge of partials.
#include "kernels/cpu/attention.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/memory.h"
#include "kernels/host/parallel.h"
#include "kernels/key_positions.h"

namespace coppice::kernels::cpu {
namespace {

constexpr std::size_t kAlignFloats = 16;  // 64 bytes
// Tasks per thread: when fewer are left, threads stop taking their next task ahead, so that the last ones go to the
// first free thread. Chosen, not measured.
constexpr std::int64_t kTasksLeft = 8;
constexpr std::int64_t kFreeTasksLeast = 2;  // per thread, at the beginning of a round; chosen, not measured
constexpr int kSpins = 256;  // loads of the flag of an awaited task before yielding the core; chosen, not measured

std::size_t aligned(std::size_t floats) {
  return (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
}

// Memory that grows. Its contents are lost when it does.
class Workspace {
 public:
  // Returns at least `count` floats, 64-byte aligned, with unspecified contents.
  float* floats(std::size_t count) {
    if (count * sizeof(float) > buffer_.bytes()) {
      buffer_ = Buffer();
      absl::StatusOr<Buffer> larger = allocate_uninitialized((count + count / 4) * sizeof(float));
      COPPICE_CHECK(larger.ok(), "no memory for attention's partial results");
      buffer_ = std::move(larger).value();
    }
    return static_cast<float*>(buffer_.data());
  }

 private:
  Buffer buffer_;
};

// The parts of one thread's scratch.
struct Scratch {
  explicit Scratch(const KvLayout& layout)
      : resident(aligned(std::size_t{kResidentRows} * static_cast<std::size_t>(layout.dim_lanes))),
        tile(std::size_t{kTileRowsMax} * std::size_t{kSplitKeysMax}),
        gathered(aligned(std::size_t{kSplitBlocksMax} *
                         static_cast<std::size_t>(layout.key_block_words + layout.value_block_words))) {}

  std::size_t floats() const { return 2 * resident + 2 * tile + gathered; }
  void give(float* memory, AttentionTask& task) const {
    task.resident_o = memory;
    task.resident_query = reinterpret_cast<std::uint32_t*>(memory + resident);
    task.scores = memory + 2 * resident;
    task.weights = reinterpret_cast<std::uint32_t*>(memory + 2 * resident + tile);
    task.gathered = reinterpret_cast<std::uint32_t*>(memory + 2 * resident + 2 * tile);
  }

  std::size_t resident;
  std::size_t tile;
  std::size_t gathered;
};

// Boundaries of an item's splits: [key_begin, …, key_end].
void find_bounds(const AttentionItem& item, std::vector<std::int32_t>& bounds) {
  bounds.clear();
  for (std::int32_t key = item.key_begin; key < item.key_end; key = kv_split_end(key)) {
    bounds.push_back(key);
  }
  bounds.push_back(item.key_end);
}

}  // namespace

// A task of this round's heads: `number` counts them for items from `item_begin` on, item by item.
std::int64_t TaskOrder::task(std::int64_t round, std::int64_t item_begin, std::int64_t number) const {
  return (item_begin + number / round_heads) * key_heads + round * round_heads + number % round_heads;
}

std::int64_t TaskOrder::at(std::int64_t place) const {
  if (rounds == 1) {
    return place;
  }
  const std::int64_t first_tasks = parents * round_heads;
  const std::int64_t round_tasks = items * round_heads;
  // Round 0 begins behind the second tasks that it lacks, so every round has the same length.
  const std::int64_t shifted = place + round_tasks - first_tasks;
  const std::int64_t round = shifted / round_tasks;
  const std::int64_t index = shifted % round_tasks;
  if (round == 0) {
    return task(0, 0, index - (round_tasks - first_tasks));
  }
  if (round == rounds) {
    return task(round - 1, parents, index);
  }
  // Spread evenly, rounded up: a first task stands at the front.
  const std::int64_t firsts_before = (index * first_tasks + round_tasks - 1) / round_tasks;
  const std::int64_t firsts_after = ((index + 1) * first_tasks + round_tasks - 1) / round_tasks;
  return firsts_after > firsts_before ? task(round, 0, firsts_before) : task(round - 1, parents, index - firsts_before);
}

TaskOrder order_tasks(const AttentionPlan& plan, std::int32_t key_heads, int threads) {
  std::int64_t free_items = 0;  // that run after no other, at the plan's beginning
  std::int64_t last_parent = -1;
  for (const AttentionItem& item : plan.items) {
    last_parent = std::max<std::int64_t>(last_parent, item.after);
    free_items += item.after < 0 && last_parent < 0 ? 1 : 0;
  }
  TaskOrder order{.items = std::ssize(plan.items), .parents = last_parent + 1, .key_heads = key_heads};
  while (order.round_heads < key_heads &&
         (key_heads % order.round_heads != 0 || free_items * order.round_heads < kFreeTasksLeast * threads)) {
    ++order.round_heads;
  }
  order.rounds = last_parent < 0 ? 1 : key_heads / order.round_heads;
  return order;
}

struct CpuAttention::State {
  explicit State(const CpuContext& given) : context(given), body(COPPICE_SELECT_BODY(given.isa, attention_body)) {
    threads.resize(static_cast<std::size_t>(given.threads));
  }

  // What one thread keeps.
  struct Thread {
    Workspace scratch;
    std::vector<std::int32_t> bounds;
    std::int32_t bounds_item = -1;
  };

  // One call.
  struct Run {
    const AttentionPlan* plan = nullptr;
    AttentionCall call;
    const CpuKvCache* cache = nullptr;
    std::int32_t layer = 0;
    std::int32_t key_heads = 0;
    std::uint32_t epoch = 0;
    TaskOrder order;
  };

  void work(const Run& run, Thread& thread);
  void run_task(const Run& run, Thread& thread, std::int64_t index, std::int64_t next);
  static void foresee(const Run& run, std::int64_t next, AttentionTask& task);
  void wait_for(std::int64_t index, std::uint32_t epoch) const;
  void merge_rows(const Run& run, Thread& thread);

  CpuContext context;
  const AttentionBody& body;
  Workspace partial_ml;
  Workspace partial_o;
  std::vector<Thread> threads;
  std::vector<std::atomic<std::uint32_t>> done;  // [items * key_heads], the epoch that finished it
  std::uint32_t epoch = 0;
  std::atomic<std::int64_t> next_task{0};
  std::atomic<std::int64_t> next_row{0};
};

CpuAttention::CpuAttention(const CpuContext& context) : state_(std::make_unique<State>(context)) {}
CpuAttention::~CpuAttention() = default;

void CpuAttention::prepare(const AttentionPlan& plan, const AttentionParameters& parameters) {
  const auto heads = static_cast<std::size_t>(parameters.query_heads);
  const auto slots = static_cast<std::size_t>(plan.partial_count);
  state_->partial_ml.floats(slots * heads * 2);
  state_->partial_o.floats(slots * heads * aligned(static_cast<std::size_t>(parameters.head_dim)));
  const std::size_t tasks = plan.items.size() * static_cast<std::size_t>(parameters.key_heads);
  if (state_->done.size() < tasks) {
    state_->done = std::vector<std::atomic<std::uint32_t>>(tasks + tasks / 4);
    state_->epoch = 0;
  }
}

void CpuAttention::State::wait_for(std::int64_t index, std::uint32_t wanted) const {
  const std::atomic<std::uint32_t>& flag = done[static_cast<std::size_t>(index)];
  for (int spin = 0; flag.load(std::memory_order_acquire) != wanted; ++spin) {
    if (spin >= kSpins) {
      std::this_thread::yield();
    }
  }
}

// Sets in a task where the next task's first keys are, so that it can prefetch them.
void CpuAttention::State::foresee(const Run& run, std::int64_t next, AttentionTask& task) {
  const AttentionItem& item = run.plan->items[static_cast<std::size_t>(next / run.key_heads)];
  if (item.slot_begin < 0) {
    task.next_words = run.cache->head(run.layer, static_cast<std::int32_t>(next % run.key_heads));
    task.next_pages = run.plan->pages.data() + item.page_begin;
    task.next_keys = std::min(kv_split_end(item.key_begin), item.key_end) - item.key_begin;
  }
}

// next: the task that this thread runs after this one; -1: unknown.
void CpuAttention::State::run_task(const Run& run, Thread& thread, std::int64_t index, std::int64_t next) {
  const auto item_index = static_cast<std::int32_t>(index / run.key_heads);
  const AttentionItem& item = run.plan->items[static_cast<std::size_t>(item_index)];
  AttentionTask task;
  task.key_head = static_cast<std::int32_t>(index % run.key_heads);
  if (thread.bounds_item != item_index) {
    thread.bounds_item = item_index;
    find_bounds(item, thread.bounds);
  }
  task.row_begin = item.row_begin;
  task.row_count = item.row_count;
  task.bounds = thread.bounds.data();
  task.splits = static_cast<std::int32_t>(thread.bounds.size()) - 1;
  if (item.slot_begin >= 0) {
    task.slots = run.plan->slots.data() + item.slot_begin;
  } else {
    task.pages = run.plan->pages.data() + item.page_begin;
  }
  task.partial_begin = item.partial_begin;
  task.folds = item.folds;
  task.continues = item.after >= 0;
  task.writes_output = item.writes_output;
  task.words = run.cache->head(run.layer, task.key_head);
  if (next >= 0) {
    foresee(run, next, task);
  }
  const Scratch parts(run.call.layout);
  parts.give(thread.scratch.floats(parts.floats()), task);
  if (item.after >= 0) {
    wait_for(std::int64_t{item.after} * run.key_heads + task.key_head, run.epoch);
  }
  body.run(run.call, task);
  done[static_cast<std::size_t>(index)].store(run.epoch, std::memory_order_release);
}

// Every thread takes tasks in the order of TaskOrder, in which a task comes after those it waits for. So the first task
// that is not done is being run, never waiting: there is no deadlock.
void CpuAttention::State::work(const Run& run, Thread& thread) {
  thread.bounds_item = -1;
  const auto tasks = static_cast<std::int64_t>(run.plan->items.size()) * run.key_heads;
  const std::int64_t foreseen_end = tasks - kTasksLeft * context.threads;
  std::int64_t index = next_task.fetch_add(1, std::memory_order_relaxed);
  while (index < tasks) {
    std::int64_t next = index < foreseen_end ? next_task.fetch_add(1, std::memory_order_relaxed) : -1;
    next = next < tasks ? next : -1;
    run_task(run, thread, run.order.at(index), next >= 0 ? run.order.at(next) : -1);
    index = next >= 0 ? next : next_task.fetch_add(1, std::memory_order_relaxed);
  }
}

void CpuAttention::State::merge_rows(const Run& run, Thread& thread) {
  const AttentionPlan& plan = *run.plan;
  const std::int64_t tasks = std::int64_t{plan.row_count} * run.key_heads;
  float* scratch = thread.scratch.floats(Scratch(run.call.layout).floats());
  for (std::int64_t index = next_row.fetch_add(1, std::memory_order_relaxed); index < tasks;
       index = next_row.fetch_add(1, std::memory_order_relaxed)) {
    const auto row = static_cast<std::int32_t>(index / run.key_heads);
    const std::int32_t begin = plan.row_partial_begin[static_cast<std::size_t>(row)];
    const std::int32_t end = plan.row_partial_begin[static_cast<std::size_t>(row) + 1];
    if (begin < end) {
      const auto head = static_cast<std::int32_t>(index % run.key_heads) * run.call.group;
      body.merge(run.call, row, plan.row_partials.data() + begin, end - begin, head, head + run.call.group, scratch);
    }
  }
}

void CpuAttention::run(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                       const KvCache& cache, std::int32_t layer, const Matrix& out) {
  State& state = *state_;
  prepare(plan, parameters);
  State::Run run;
  run.plan = &plan;
  run.cache = static_cast<const CpuKvCache*>(&cache);
  run.layer = layer;
  run.key_heads = parameters.key_heads;
  run.epoch = ++state.epoch;
  run.order = order_tasks(plan, parameters.key_heads, state.context.threads);
  AttentionCall& call = run.call;
  call.layout = run.cache->layout();
  call.query_heads = parameters.query_heads;
  call.group = parameters.query_heads / parameters.key_heads;
  call.window = plan.window;
  call.scale = parameters.scale;
  call.positions = plan.row_positions.data();
  call.query = static_cast<const std::uint8_t*>(query.data);
  call.query_type = query.dtype;
  call.query_stride = query.offset(1);
  call.query_head_bytes = query.offset(0, parameters.head_dim);
  call.out = static_cast<std::uint8_t*>(out.data);
  call.out_stride = out.offset(1);
  call.out_type = out.dtype;
  call.partial_ml = state.partial_ml.floats(0);
  call.partial_o = state.partial_o.floats(0);
  state.next_task.store(0, std::memory_order_relaxed);
  state.next_row.store(0, std::memory_order_relaxed);
  const bool merges = !plan.row_partials.empty();
  const std::int64_t bytes =
      plan.keys_read * parameters.key_heads * call.layout.page_words / call.layout.page_size * kWordBytes;
  if (state.context.threads <= 1 || bytes < kParallelBytes) {
    state.work(run, state.threads[0]);
    if (merges) {
      state.merge_rows(run, state.threads[0]);
    }
    return;
  }
#pragma omp parallel num_threads(state.context.threads)
  {
    State::Thread& thread = state.threads[static_cast<std::size_t>(omp_get_thread_num())];
    state.work(run, thread);
    if (merges) {
#pragma omp barrier
      state.merge_rows(run, thread);
    }
  }
}

}  // namespace coppice::kernels::cpu
