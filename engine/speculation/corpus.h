// Corpus: token sequences to draft from that no request of this run produced: a code base, yesterday's answers.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

// Belongs to one tenant, or to everyone (`tenant` is ignored then). Each owner has names of its own.
struct Corpus {
  std::string name;
  std::string tenant;
  bool everyones = false;
  std::vector<std::vector<TokenId>> sequences;
};

}  // namespace coppice::engine
