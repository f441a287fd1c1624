// ChunkedBody: the chunked transfer coding of a request's body (RFC 9112, 7.1), read strictly: a proxy in front must
// not see the body's end in another place. Trailers are checked and dropped: they never become headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace coppice::server {

// Owner: a request parser, for one body. Its memory is bounded by its limits.
class ChunkedBody {
 public:
  // `trailer_bytes_max`: of all trailers together.
  ChunkedBody(std::size_t body_bytes_max, std::size_t trailer_bytes_max)
      : body_bytes_max_(body_bytes_max), trailer_bytes_max_(trailer_bytes_max) {}

  enum class Problem : std::uint8_t { kNone, kSyntax, kBodyTooLarge, kTrailerTooLarge };

  // Appends what belongs to the body and returns how many bytes it has read. REQUIRES: not done(), no problem().
  std::size_t feed(std::string_view bytes, std::string& body);

  bool done() const { return state_ == State::kDone; }
  Problem problem() const { return problem_; }

 private:
  enum class State : std::uint8_t { kSize, kData, kDataEnd, kTrailer, kDone };

  std::size_t feed_line(std::string_view bytes);
  void end_line(std::size_t body_bytes);
  void read_size(std::size_t body_bytes);
  void read_trailer();
  void fail(Problem problem) { problem_ = problem; }

  const std::size_t body_bytes_max_;
  const std::size_t trailer_bytes_max_;
  State state_ = State::kSize;
  Problem problem_ = Problem::kNone;
  std::string line_;       // the line being read, without its end
  bool has_line_ = false;  // line_ is complete
  std::size_t left_ = 0;   // bytes of the chunk still to come
  std::size_t trailer_bytes_ = 0;
};

}  // namespace coppice::server
