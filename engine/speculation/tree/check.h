// The invariants of a suffix tree, checked one by one. For tests.
#pragma once

#include <string>

#include "engine/speculation/tree/store.h"

namespace coppice::engine::suffix_tree {

// The first broken invariant, or "". Takes time in proportion to the text times the depth.
std::string integrity_problem(const Store& store);

}  // namespace coppice::engine::suffix_tree
