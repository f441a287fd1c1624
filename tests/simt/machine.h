// The emulator's machine: runs a grid of blocks whose threads are fibers, in an order drawn from a seed, and watches
// what they do. Its entry points for the primitives are at the bottom; tests use Session and Buffer (session.h).
//
// A thread runs until it meets others (a barrier, a primitive of its warp) or yields (atomics, waiting loads); then the
// next thread is drawn. Which interleavings are wrong does not depend on luck: races are found from what barriers
// order (shadow.h), not from what happened to happen.
#pragma once

#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simt/shadow.h"

namespace coppice::simt {

inline constexpr std::int32_t kLanes = 32;

struct Options {
  std::uint64_t seed = 1;
  std::int32_t resident_blocks = 3;       // blocks that run side by side; the rest wait for their end
  std::int64_t idle_yields_max = 200000;  // in a row without any thread getting on: none will
  bool adds_products_first = false;       // multiply_async alone sums its 16 products before they join the sum
};

struct GridShape {
  std::int32_t blocks = 1;
  std::int32_t blocks_y = 1;
  std::int32_t threads = kLanes;
  std::int32_t shared_bytes = 0;
};

// What a run counted, over all launches of a session.
struct Counters {
  std::int64_t matrix_loads = 0;           // load_matrix_x4 calls, each four reads of eight rows
  std::int64_t matrix_load_conflicts = 0;  // extra passes through the 32 banks that they need
  std::int64_t products = 0;               // multiply_accumulate and multiply_async, by warp
  std::int64_t bytes_copied_async = 0;
};

// A source line, for messages and for telling barriers apart. As a default argument it is the caller's. (clang 14 has
// no std::source_location.)
struct Place {
  const char* file = "";
  std::int32_t line = 0;

  static constexpr Place current(const char* file = __builtin_FILE(), std::int32_t line = __builtin_LINE()) {
    return {file, line};
  }
  bool operator==(const Place& other) const;
};
std::string describe(const Place& where);

// Thrown through a kernel when its run cannot go on; never leaves the machine.
struct Abort {};

class Block;
class Hopper;

struct PendingCopy {
  std::int32_t to = 0;  // shared memory
  const void* from = nullptr;
  bool present = true;
};

// What load_acquire() read last.
struct LastAsked {
  const void* address = nullptr;
  std::uint32_t value = 0;

  bool operator==(const LastAsked& other) const {
    return address != nullptr && address == other.address && value == other.value;
  }
};

struct Thread {
  std::int32_t index = 0;
  Block* block = nullptr;
  boost::context::fiber fiber;
  Place waits_at;
  const char* waits_for = nullptr;  // null: it can run
  bool done = false;
  LastAsked asked;                                  // since its last rest() or barrier
  bool waited = false;                              // for the kernels before (device/overlap.cuh)
  std::vector<PendingCopy> open_copies;             // not committed
  std::vector<std::vector<PendingCopy>> committed;  // oldest first

  std::int32_t lane() const { return index % kLanes; }
  std::int32_t warp() const { return index / kLanes; }
};

// Where threads meet: who has come, and from where.
struct Meeting {
  std::int32_t arrived = 0;
  const char* kind = nullptr;
  Place where;
  std::array<void*, kLanes> arguments = {};  // of a warp's lanes
  std::int32_t first = -1;                   // thread that came first
};

class Block {
 public:
  Block();
  ~Block();

  std::int32_t x = 0;
  std::int32_t y = 0;
  std::int32_t blocks = 0;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Meeting> warps;
  Meeting barrier;
  std::int32_t done = 0;
  std::unique_ptr<SharedMemory> shared;
  std::unique_ptr<Hopper> hopper;  // made when first used
};

class Machine {
 public:
  explicit Machine(const Options& options);

  // Runs the body once a thread. False if it had to be given up; what was wrong is in violations().
  bool run(const GridShape& shape, const std::function<void()>& body);

  const std::vector<std::string>& violations() const { return violations_; }
  const Counters& counters() const { return counters_; }

  // For the primitives, on a fiber. Machine::current() is the one that runs now.
  static Machine& current();
  Thread& thread() { return *running_; }
  Counters& counters() { return counters_; }
  const Options& options() const { return options_; }
  void report(const char* kind, const std::string& what);             // the run goes on
  [[noreturn]] void fail(const char* kind, const std::string& what);  // it cannot
  void block_barrier(const Place& where);
  // Waits until all lanes of the warp called with the same `kind` at the same place; then `execute` runs once for all,
  // with every lane's argument.
  void warp_meeting(const char* kind, void* argument, const Place& where,
                    const std::function<void(const std::array<void*, kLanes>&)>& execute);
  void yield();
  // Until wake(); `kind` and `where` are named if no thread does.
  void sleep(const char* kind, const Place& where);
  void wake(Thread& thread);
  Hopper& hopper();  // the running block's
  void copy_async(std::int32_t to, const void* from, bool present);
  void copy_async_commit();
  void copy_async_wait(std::size_t groups_left);

 private:
  void start_block(std::int32_t index, const GridShape& shape, const std::function<void()>& body);
  void finish_block(Block& block);
  void suspend();
  void resume(Thread& thread);
  bool schedule(const GridShape& shape, const std::function<void()>& body);
  void meet(Meeting& meeting, const char* kind, const Place& where);
  void describe_waiting();
  std::uint64_t draw();

  Options options_;
  std::uint64_t random_;
  std::vector<std::string> violations_;
  std::map<std::string, std::int32_t> violation_counts_;  // by kind
  Counters counters_;
  boost::context::pooled_fixedsize_stack stacks_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Thread*> ready_;
  std::vector<std::int32_t> waiting_blocks_;
  boost::context::fiber scheduler_;
  Thread* running_ = nullptr;
  std::int64_t idle_yields_ = 0;
  bool failed_ = false;
};

}  // namespace coppice::simt
