// JobContext: who waits for a piece of work, and what pays for its memory.
#pragma once

#include <cstddef>
#include <optional>

#include "server/work/memory_budget.h"
#include "server/work/work_pool.h"

namespace coppice::server {

// A value. Both may be null: no client leaves, nothing is counted.
struct JobContext {
  const CancelFlag* cancelled = nullptr;
  MemoryBudget::Lease* memory = nullptr;

  bool is_cancelled() const { return cancelled != nullptr && cancelled->load(); }
  // The job's memory is now `bytes`. ERRORS: as Lease::set.
  openai::MaybeError hold(std::size_t bytes) const {
    return memory == nullptr ? std::nullopt : memory->set(MemoryPart::kWork, bytes);
  }
};

// A job, and the memory that it holds beside what comes next.
struct JobMemory {
  const JobContext& job;
  std::size_t held = 0;

  // ERRORS: as JobContext::hold.
  openai::MaybeError hold(std::size_t next) const { return job.hold(held + next); }
};

}  // namespace coppice::server
