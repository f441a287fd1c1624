// What each thread of a block may rely on having happened: vector clocks (Fidge 1988, Mattern 1989) for the order that
// barriers in shared memory make, which the epochs of shadow.h cannot express. A thread's knowledge is a row of
// numbers: up to which of its own times it knows every other thread; up to which time every thread had fenced its
// writes for the async proxy; how many products of every warp it knows to be done; how many phases of every barrier it
// has seen end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace coppice::simt {

class Clocks {
 public:
  using Knowledge = std::vector<std::int32_t>;

  explicit Clocks(std::int32_t threads);

  std::int32_t time(std::int32_t thread) const { return known_[index(thread)][index(thread)]; }
  // A barrier more; its number.
  std::int32_t add_barrier();

  // The thread hands what it knows to the thread that takes `into`; what it does from now on is later.
  void release(std::int32_t thread, Knowledge& into);
  void acquire(std::int32_t thread, const Knowledge& from);
  // Threads [begin, end) met: each knows what any of them knew.
  void meet(std::int32_t begin, std::int32_t end);
  // The thread's writes up to now are ordered before what the async proxy does later.
  void fence(std::int32_t thread);
  void note_products_done(std::int32_t thread, std::int32_t warp, std::int32_t count);
  void note_phases(std::int32_t thread, std::int32_t barrier, std::int32_t count);

  // What all of threads [begin, end) know.
  Knowledge common(std::int32_t begin, std::int32_t end) const;
  const Knowledge& of(std::int32_t thread) const { return known_[index(thread)]; }
  bool knows(const Knowledge& reader, std::int32_t thread, std::int32_t time) const {
    return reader[index(thread)] >= time;
  }
  bool knows_fenced(const Knowledge& reader, std::int32_t thread, std::int32_t time) const {
    return reader[index(threads_ + thread)] >= time;
  }
  std::int32_t products_known(const Knowledge& reader, std::int32_t warp) const {
    return reader[index(2 * threads_ + warp)];
  }
  std::int32_t phases_known(const Knowledge& reader, std::int32_t barrier) const {
    return reader[index(2 * threads_ + warps_ + barrier)];
  }

 private:
  static std::size_t index(std::int32_t at) { return static_cast<std::size_t>(at); }

  std::int32_t threads_;
  std::int32_t warps_;
  std::int32_t barriers_ = 0;
  std::vector<Knowledge> known_;
};

// Each entry the larger of the two; `into` may be shorter.
void join(Clocks::Knowledge& into, const Clocks::Knowledge& from);

}  // namespace coppice::simt
