// FrontBoard: what the server and the clients of `coppice bench front` tell each other: when each stream was asked for,
// and when each of its tokens was emitted and received. It lies in memory that both processes share, on one clock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace coppice::server {

struct FrontBenchOptions;

// Owner: run_front_bench(), which maps it before it forks. Each cell has one writer. Times are nanoseconds of the
// monotonic clock; 0 = not yet.
class FrontBoard {
 public:
  // Maps cells for `streams` × `tokens`, all 0.
  FrontBoard(std::int32_t streams, std::int32_t tokens);
  ~FrontBoard();
  FrontBoard(const FrontBoard&) = delete;
  FrontBoard& operator=(const FrontBoard&) = delete;

  using Cell = std::atomic<std::int64_t>;

  Cell& port() { return cells_[0]; }      // of the server, once it listens
  Cell& failures() { return cells_[1]; }  // streams that ended otherwise than they should
  Cell& asked(std::int32_t stream) { return cells_[at(stream, 0)]; }
  Cell& submitted(std::int32_t stream) { return cells_[at(stream, 1)]; }
  Cell& emitted(std::int32_t stream, std::int32_t token) { return cells_[at(stream, 2) + index(token)]; }
  Cell& received(std::int32_t stream, std::int32_t token) { return cells_[at(stream, 2 + tokens_) + index(token)]; }

  std::int32_t streams() const { return streams_; }
  std::int32_t tokens() const { return tokens_; }

  static std::int64_t now();

 private:
  static std::size_t index(std::int32_t number) { return static_cast<std::size_t>(number); }
  std::size_t at(std::int32_t stream, std::int32_t cell) const {
    return kShared + index(stream) * index(2 + 2 * tokens_) + index(cell);
  }

  static constexpr std::size_t kShared = 2;  // port and failures

  const std::int32_t streams_;
  const std::int32_t tokens_;
  const std::size_t bytes_;
  Cell* cells_;
};

}  // namespace coppice::server
