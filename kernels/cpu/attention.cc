// The driver of attention on the CPU: workspace, hand-out of tasks, order between items, merge of partials.
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
// Tasks a thread that are left when threads stop taking their next task ahead: the last ones go to the first free
// thread.
constexpr std::int64_t kTasksLeft = 8;
constexpr std::int64_t kFreeTasksLeast = 2;  // at the beginning of a round, for each thread
constexpr int kSpins = 256;                  // looks at an item that must come first, before the core is given away

std::size_t aligned(std::size_t floats) {
  return (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
}

// Memory that grows and is never read before it is written.
class Workspace {
 public:
  // At least `count` floats, 64-byte aligned; the contents are lost.
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

  // The order in which the tasks of a call are handed out (order_tasks).
  struct Order {
    std::int64_t first_items = 0;  // the plan's items [first_items, …) have none that run after them
    std::int64_t heads = 0;        // key heads in a round
    std::int64_t rounds = 0;
  };

  // One call.
  struct Run {
    const AttentionPlan* plan = nullptr;
    AttentionCall call;
    const CpuKvCache* cache = nullptr;
    std::int32_t layer = 0;
    std::int32_t key_heads = 0;
    std::uint32_t epoch = 0;
    Order order;
  };

  void order_tasks(Run& run) const;
  static std::int64_t task_at(const Run& run, std::int64_t place);
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

// Gives a task the place of the next one's first keys, to fetch them early.
void CpuAttention::State::foresee(const Run& run, std::int64_t next, AttentionTask& task) {
  const AttentionItem& item = run.plan->items[static_cast<std::size_t>(next / run.key_heads)];
  if (item.slot_begin < 0) {
    task.next_words = run.cache->head(run.layer, static_cast<std::int32_t>(next % run.key_heads));
    task.next_pages = run.plan->pages.data() + item.page_begin;
    task.next_keys = std::min(kv_split_end(item.key_begin), item.key_end) - item.key_begin;
  }
}

// next: the task that this thread will run after this one, -1: not known.
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

// Items that others run after (prefixes of many rows) compute much for each key they read; the last ones of all (what a
// sequence has for itself) wait for memory. One kind after the other would leave first the memory, then the arithmetic
// idle. So tasks are handed out in rounds of a few key heads (a divisor of their number): the first kind for this
// round's heads, mixed evenly with the second kind for the heads of the round before. A round begins with enough tasks
// that wait for no other; with too few heads for that there is one round, and the order is the plan's.
void CpuAttention::State::order_tasks(Run& run) const {
  std::int64_t free_items = 0;  // that run after no other, at the plan's beginning
  std::int64_t last_parent = -1;
  for (const AttentionItem& item : run.plan->items) {
    last_parent = std::max<std::int64_t>(last_parent, item.after);
    free_items += item.after < 0 && last_parent < 0 ? 1 : 0;
  }
  Order& order = run.order;
  order.first_items = last_parent + 1;
  order.heads = 1;
  while (order.heads < run.key_heads &&
         (run.key_heads % order.heads != 0 || free_items * order.heads < kFreeTasksLeast * context.threads)) {
    ++order.heads;
  }
  order.rounds = last_parent < 0 ? 1 : run.key_heads / order.heads;
}

// Task number (item * key_heads + head) at a place of the order.
std::int64_t CpuAttention::State::task_at(const Run& run, std::int64_t place) {
  const Order& order = run.order;
  if (order.rounds == 1) {
    return place;
  }
  const auto items = static_cast<std::int64_t>(run.plan->items.size());
  const std::int64_t firsts = order.first_items;
  const std::int64_t seconds = items - firsts;
  const auto task = [&](std::int64_t round, std::int64_t number, std::int64_t begin) {
    return (begin + number / order.heads) * run.key_heads + round * order.heads + number % order.heads;
  };
  const std::int64_t round =
      place < firsts * order.heads ? 0 : 1 + (place - firsts * order.heads) / (items * order.heads);
  if (round > 0) {
    place -= firsts * order.heads + (round - 1) * items * order.heads;
  }
  const std::int64_t first_count = round < order.rounds ? firsts * order.heads : 0;
  const std::int64_t second_count = round > 0 ? seconds * order.heads : 0;
  const std::int64_t count = first_count + second_count;
  const std::int64_t firsts_before = (place * first_count + count - 1) / count;  // rounded up: one stands at the front
  const std::int64_t firsts_after = ((place + 1) * first_count + count - 1) / count;
  return firsts_after > firsts_before ? task(round, firsts_before, 0) : task(round - 1, place - firsts_before, firsts);
}

// Tasks are taken in this order, which puts a task behind those it runs after, and every thread keeps to it. So of the
// tasks not done, the first is being run, not waited for behind another: there is no deadlock.
void CpuAttention::State::work(const Run& run, Thread& thread) {
  thread.bounds_item = -1;
  const auto tasks = static_cast<std::int64_t>(run.plan->items.size()) * run.key_heads;
  const std::int64_t foreseen_end = tasks - kTasksLeft * context.threads;
  std::int64_t index = next_task.fetch_add(1, std::memory_order_relaxed);
  while (index < tasks) {
    std::int64_t next = index < foreseen_end ? next_task.fetch_add(1, std::memory_order_relaxed) : -1;
    next = next < tasks ? next : -1;
    run_task(run, thread, task_at(run, index), next >= 0 ? task_at(run, next) : -1);
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
  state.order_tasks(run);
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
  call.out_is_f32 = out.dtype == ComputeType::kF32;
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
