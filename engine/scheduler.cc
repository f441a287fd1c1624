// The order in which the scheduler's parts choose a step.
#include "engine/scheduler.h"

#include <utility>

namespace coppice::engine {

Scheduler::Scheduler(const Limits& limits, bool prefix_cache, SequenceTable& sequences, const RequestTable& requests,
                     std::shared_ptr<CacheChangeQueue> changes)
    : pages_(limits, prefix_cache, sequences, requests, std::move(changes)),
      lines_(limits.running_max, limits.priority_across_tenants, requests),
      preemption_(sequences, lines_, pages_),
      rows_(limits, sequences, lines_, pages_, preemption_),
      admission_(limits.running_max, sequences, lines_, pages_, preemption_, rows_) {}

void Scheduler::fork(const Sequence& parent, Sequence& child) {
  Admission::fork(parent, child, pages_.fork(parent, child));
  lines_.wait_beside(parent, child);
}

void Scheduler::remove(Sequence& sequence) {
  lines_.remove(sequence);
  pages_.drop(sequence);
}

Scheduler::Choice Scheduler::select(Choosing choosing) {
  if (!choosing.again) {
    lines_.begin_step();
  }
  preemption_.begin_step(choosing.ahead);
  pages_.begin_step();
  rows_.begin_step();
  admission_.make_way();
  rows_.select_decoding();
  const Sequence* first = rows_.first_prompt();
  rows_.select_prompts(first != nullptr && admission_.newcomer_wants_rows(*first));
  admission_.admit_waiting();
  rows_.top_up_prompts();
  return {.is_complete = !preemption_.was_needed(), .copies = pages_.copies()};
}

void Scheduler::advance(Sequence& sequence) {
  lines_.charge_output(sequence);
  pages_.advance(sequence);
}

}  // namespace coppice::engine
