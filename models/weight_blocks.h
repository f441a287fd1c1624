// WeightBlocks: host memory that the tensors of a model stand in, one after the other, while it is loaded. Fresh pages
// from the system take longer than to fill them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace coppice::models {

// Owner: a weight source. One thread.
class WeightBlocks {
 public:
  // Memory for the tensor, for any element type, until give_back(). Its contents are unspecified.
  std::byte* lend(const std::string& tensor, std::size_t bytes) {
    Block* found = nullptr;
    for (Block& block : blocks_) {
      if (block.tensor.empty() && block.bytes >= bytes && (found == nullptr || block.bytes < found->bytes)) {
        found = &block;
      }
    }
    if (found == nullptr) {
      found = &blocks_.emplace_back(Block{std::make_unique_for_overwrite<std::byte[]>(bytes), bytes, {}});
    }
    found->tensor = tensor;
    return found->memory.get();
  }

  void give_back(const std::string& tensor) {
    std::erase_if(blocks_, [&tensor](Block& block) {
      const bool is_free = block.tensor == tensor;
      if (is_free) {
        block.tensor.clear();
      }
      return is_free && block.bytes > kKeptMost;
    });
  }

 private:
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::size_t bytes = 0;
    std::string tensor;  // empty: free
  };
  // Bytes: a layer's matrices come again and again, a vocabulary's table of this size but once or twice.
  static constexpr std::size_t kKeptMost = std::size_t{256} << 20;

  std::vector<Block> blocks_;
};

}  // namespace coppice::models
