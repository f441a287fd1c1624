// Corpus: token sequences to draft from that no request of this run produced: a code base, yesterday's answers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

// Calls a function when the last copy of the receipt is gone, on that thread: mostly the engine's.
class Receipt {
 public:
  Receipt() = default;  // calls nothing
  explicit Receipt(std::function<void()> function) : call_(std::make_shared<Call>(std::move(function))) {}

 private:
  struct Call {
    explicit Call(std::function<void()> to_call) : function(std::move(to_call)) {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { function(); }
    std::function<void()> function;
  };
  std::shared_ptr<const Call> call_;
};

// Belongs to one tenant, or to everyone (`tenant` is ignored then). Each owner has names of its own.
struct Corpus {
  std::string name;
  std::string tenant;
  bool everyones = false;
  std::vector<std::vector<TokenId>> sequences;
  Receipt while_kept = {};   // goes when the corpus is forgotten
  Receipt until_taken = {};  // goes when the engine has taken the command
};

}  // namespace coppice::engine
