// Vector clocks of a block's threads.
#include "tests/simt/clock.h"

#include <algorithm>

namespace coppice::simt {

namespace {

constexpr std::int32_t kUnknown = -1;  // times begin at 0

}  // namespace

void join(Clocks::Knowledge& into, const Clocks::Knowledge& from) {
  into.resize(std::max(into.size(), from.size()), kUnknown);
  for (std::size_t i = 0; i < from.size(); ++i) {
    into[i] = std::max(into[i], from[i]);
  }
}

Clocks::Clocks(std::int32_t threads) : threads_(threads), warps_(threads / 32) {
  Knowledge nothing(index(2 * threads_ + warps_), kUnknown);
  std::fill_n(nothing.begin() + 2 * threads_, warps_, 0);
  known_.assign(index(threads_), nothing);
  for (std::int32_t thread = 0; thread < threads_; ++thread) {
    known_[index(thread)][index(thread)] = 0;
  }
}

std::int32_t Clocks::add_barrier() {
  for (Knowledge& known : known_) {
    known.push_back(0);
  }
  return barriers_++;
}

void Clocks::release(std::int32_t thread, Knowledge& into) {
  Knowledge& own = known_[index(thread)];
  join(into, own);
  ++own[index(thread)];
}

void Clocks::acquire(std::int32_t thread, const Knowledge& from) {
  join(known_[index(thread)], from);
}

void Clocks::meet(std::int32_t begin, std::int32_t end) {
  Knowledge all;
  for (std::int32_t thread = begin; thread < end; ++thread) {
    release(thread, all);
  }
  for (std::int32_t thread = begin; thread < end; ++thread) {
    acquire(thread, all);
  }
}

void Clocks::fence(std::int32_t thread) {
  Knowledge& own = known_[index(thread)];
  own[index(threads_ + thread)] = own[index(thread)];
  ++own[index(thread)];
}

void Clocks::note_products_done(std::int32_t thread, std::int32_t warp, std::int32_t count) {
  std::int32_t& known = known_[index(thread)][index(2 * threads_ + warp)];
  known = std::max(known, count);
}

void Clocks::note_phases(std::int32_t thread, std::int32_t barrier, std::int32_t count) {
  std::int32_t& known = known_[index(thread)][index(2 * threads_ + warps_ + barrier)];
  known = std::max(known, count);
}

Clocks::Knowledge Clocks::common(std::int32_t begin, std::int32_t end) const {
  Knowledge all = known_[index(begin)];
  for (std::int32_t thread = begin + 1; thread < end; ++thread) {
    const Knowledge& other = known_[index(thread)];
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i] = std::min(all[i], other[i]);
    }
  }
  return all;
}

}  // namespace coppice::simt
