// What a draft is made from: a growing sequence's matches in a suffix tree that it is entered in.
#pragma once

#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

struct DraftSource {
  const SuffixTree* tree = nullptr;
  SuffixTree::SequenceId sequence = 0;
};

}  // namespace coppice::engine
