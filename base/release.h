// release(): frees what a string or a vector holds. Assigning an empty one, clear() and moving an empty string into it
// keep the memory.
#pragma once

namespace coppice::base {

template <typename Container>
void release(Container& container) {
  Container().swap(container);
}

}  // namespace coppice::base
