// The scheduler of fibers, barriers, and meetings of warps.
#include "tests/simt/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "tests/simt/hopper.h"
#include "tests/simt/session.h"

namespace coppice::simt {
namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr std::int32_t kViolationsMax = 5;  // of a kind
constexpr std::int32_t kCopyBytes = 16;

Machine* current_machine = nullptr;

}  // namespace

bool Place::operator==(const Place& other) const {
  return line == other.line && std::strcmp(file, other.file) == 0;
}

std::string describe(const Place& where) {
  const char* slash = std::strrchr(where.file, '/');
  return std::string(slash == nullptr ? where.file : slash + 1) + ":" + std::to_string(where.line);
}

Block::Block() = default;
Block::~Block() = default;

Machine::Machine(const Options& options)
    : options_(options), random_(options.seed * 0x9E3779B97F4A7C15U + 1), stacks_(kStackBytes) {}

Machine& Machine::current() {
  COPPICE_CHECK(current_machine != nullptr, "a primitive was called outside a kernel");
  return *current_machine;
}

std::uint64_t Machine::draw() {  // xorshift64*
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545F4914F6CDD1DU;
}

void Machine::report(const char* kind, const std::string& what) {
  if (failed_ || ++violation_counts_[kind] > kViolationsMax) {
    return;  // only unwinding, or enough of them
  }
  std::string text = std::string(kind) + ": " + what;
  if (running_ != nullptr) {
    text += " (block " + std::to_string(running_->block->x) + ")";
  }
  violations_.push_back(text);
}

void Machine::fail(const char* kind, const std::string& what) {
  report(kind, what);
  failed_ = true;
  throw Abort();
}

void Machine::suspend() {
  scheduler_ = std::move(scheduler_).resume();
  if (failed_) {
    throw Abort();
  }
}

void Machine::wake(Thread& thread) {
  thread.waits_for = nullptr;
  ready_.push_back(&thread);
  idle_yields_ = 0;
}

void Machine::yield() {
  ready_.push_back(running_);
  ++idle_yields_;
  suspend();
}

// A thread that was woken before it slept does not sleep.
void Machine::sleep(const char* kind, const Place& where) {
  running_->waits_for = kind;
  running_->waits_at = where;
  suspend();
  running_->waits_for = nullptr;
}

Hopper& Machine::hopper() {
  std::unique_ptr<Hopper>& hopper = running_->block->hopper;
  if (hopper == nullptr) {
    hopper = std::make_unique<Hopper>(*this);
  }
  return *hopper;
}

void Machine::resume(Thread& thread) {
  running_ = &thread;
  thread.fiber = std::move(thread.fiber).resume();
  running_ = nullptr;
}

// --- meetings ---

void Machine::meet(Meeting& meeting, const char* kind, const Place& where) {
  if (meeting.arrived == 0) {
    meeting.kind = kind;
    meeting.where = where;
    meeting.first = running_->index;
  } else if (std::strcmp(meeting.kind, kind) != 0 || !(meeting.where == where)) {
    fail("divergent barrier", "thread " + std::to_string(meeting.first) + " is at " + meeting.kind + " " +
                                  describe(meeting.where) + ", thread " + std::to_string(running_->index) + " at " +
                                  kind + " " + describe(where));
  }
  ++meeting.arrived;
  running_->waits_for = kind;
  running_->waits_at = where;
}

void Machine::block_barrier(const Place& where) {
  running_->asked = {};  // a wait that follows is another one
  Thread& self = *running_;
  Block& block = *self.block;
  meet(block.barrier, "sync_block", where);
  if (block.barrier.arrived == static_cast<std::int32_t>(block.threads.size())) {
    block.barrier.arrived = 0;
    block.shared->pass_block_barrier();
    for (const std::unique_ptr<Thread>& thread : block.threads) {
      wake(*thread);
    }
  }
  suspend();
}

void Machine::warp_meeting(const char* kind, void* argument, const Place& where,
                           const std::function<void(const std::array<void*, kLanes>&)>& execute) {
  Thread& self = *running_;
  Block& block = *self.block;
  Meeting& meeting = block.warps[static_cast<std::size_t>(self.warp())];
  meet(meeting, kind, where);
  meeting.arguments[static_cast<std::size_t>(self.lane())] = argument;
  if (meeting.arrived == kLanes) {
    meeting.arrived = 0;
    execute(meeting.arguments);
    for (std::int32_t lane = 0; lane < kLanes; ++lane) {
      wake(*block.threads[static_cast<std::size_t>(self.warp() * kLanes + lane)]);
    }
  }
  suspend();
}

// --- asynchronous copies ---

void Machine::copy_async(std::int32_t to, const void* from, bool present) {
  Thread& self = *running_;
  self.block->shared->begin_copy({self.index, self.warp()}, to, kCopyBytes);
  self.open_copies.push_back({to, from, present});
  counters_.bytes_copied_async += present ? kCopyBytes : 0;
}

void Machine::copy_async_commit() {
  running_->committed.push_back(std::move(running_->open_copies));
  running_->open_copies.clear();
}

// As late as it is allowed: the bytes arrive when they are waited for.
void Machine::copy_async_wait(std::size_t groups_left) {
  Thread& self = *running_;
  while (self.committed.size() > groups_left) {
    for (const PendingCopy& copy : self.committed.front()) {
      std::byte* target = self.block->shared->data(copy.to);
      if (copy.present) {
        std::memcpy(target, copy.from, kCopyBytes);
      } else {
        std::memset(target, 0, kCopyBytes);
      }
      self.block->shared->end_copy({self.index, self.warp()}, copy.to, kCopyBytes);
    }
    self.committed.erase(self.committed.begin());
  }
}

// --- the run ---

void Machine::start_block(std::int32_t index, const GridShape& shape, const std::function<void()>& body) {
  auto block = std::make_unique<Block>();
  block->x = index % shape.blocks;
  block->y = index / shape.blocks;
  block->blocks = shape.blocks;
  const std::int32_t warps = shape.threads / kLanes;
  block->warps.resize(static_cast<std::size_t>(warps));
  block->shared = std::make_unique<SharedMemory>(
      shape.shared_bytes, warps, [this](const char* kind, const std::string& what) { report(kind, what); });
  for (std::int32_t i = 0; i < shape.threads; ++i) {
    auto thread = std::make_unique<Thread>();
    thread->index = i;
    thread->block = block.get();
    Thread* self = thread.get();
    thread->fiber =
        boost::context::fiber(std::allocator_arg, stacks_, [this, self, &body](boost::context::fiber&& scheduler) {
          scheduler_ = std::move(scheduler);
          try {
            if (!failed_) {
              body();
            }
          } catch (const Abort&) {
            // The run is given up; the reason has been reported.
          }
          self->done = true;
          return std::move(scheduler_);
        });
    ready_.push_back(self);
    block->threads.push_back(std::move(thread));
  }
  blocks_.push_back(std::move(block));
}

void Machine::finish_block(Block& block) {
  for (const std::unique_ptr<Thread>& thread : block.threads) {
    if (!thread->open_copies.empty() || !thread->committed.empty()) {
      report("copy left", "thread " + std::to_string(thread->index) + " of block " + std::to_string(block.x) +
                              " ended before its asynchronous copies");
      break;
    }
  }
  if (block.hopper != nullptr) {
    block.hopper->finish();
  }
  std::erase_if(blocks_, [&](const std::unique_ptr<Block>& other) { return other.get() == &block; });
}

void Machine::describe_waiting() {
  std::int32_t named = 0;
  for (const std::unique_ptr<Block>& block : blocks_) {
    for (const std::unique_ptr<Thread>& thread : block->threads) {
      if (!thread->done && thread->waits_for != nullptr && named < 2) {
        ++named;
        report("divergent barrier", "block " + std::to_string(block->x) + ", thread " + std::to_string(thread->index) +
                                        " waits at " + thread->waits_for + " " + describe(thread->waits_at) +
                                        ", where others never come (" + std::to_string(block->done) +
                                        " threads have ended)");
        break;
      }
    }
  }
  if (named == 0) {
    report("endless wait", "threads wait for a value that no thread will write");
  }
}

bool Machine::schedule(const GridShape& shape, const std::function<void()>& body) {
  while (!blocks_.empty() || !waiting_blocks_.empty()) {
    while (static_cast<std::int32_t>(blocks_.size()) < options_.resident_blocks && !waiting_blocks_.empty()) {
      start_block(waiting_blocks_.back(), shape, body);
      waiting_blocks_.pop_back();
    }
    if (ready_.empty() || idle_yields_ > options_.idle_yields_max) {
      describe_waiting();
      return false;
    }
    std::swap(ready_[draw() % ready_.size()], ready_.back());
    Thread& thread = *ready_.back();
    ready_.pop_back();
    resume(thread);
    if (failed_) {
      return false;
    }
    if (thread.done) {
      idle_yields_ = 0;
      if (++thread.block->done == static_cast<std::int32_t>(thread.block->threads.size())) {
        finish_block(*thread.block);
      }
    }
  }
  return true;
}

bool Machine::run(const GridShape& shape, const std::function<void()>& body) {
  COPPICE_CHECK(shape.threads > 0 && shape.threads % kLanes == 0 && shape.threads <= 1024, "whole warps");
  COPPICE_CHECK(current_machine == nullptr, "a kernel inside a kernel");
  for (std::int32_t i = 0; i < shape.blocks * shape.blocks_y; ++i) {
    waiting_blocks_.push_back(i);
    std::swap(waiting_blocks_.back(), waiting_blocks_[draw() % waiting_blocks_.size()]);
  }
  current_machine = this;
  failed_ = false;
  idle_yields_ = 0;
  const bool finished = schedule(shape, body);
  failed_ = true;  // the threads that are left unwind
  for (const std::unique_ptr<Block>& block : blocks_) {
    for (const std::unique_ptr<Thread>& thread : block->threads) {
      while (!thread->done && thread->fiber) {
        resume(*thread);
      }
    }
  }
  current_machine = nullptr;
  blocks_.clear();
  ready_.clear();
  waiting_blocks_.clear();
  return finished;
}

}  // namespace coppice::simt
