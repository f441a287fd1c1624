// Lines (sizes, ends of data, trailers) are collected and then read; data is copied as it comes.
#include "server/http/chunked_body.h"

#include <algorithm>
#include <charconv>

namespace coppice::server {
namespace {

constexpr std::size_t kSizeLineMax = 4096;  // bytes: a size and extensions, which no client is known to send

bool is_token_character(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kMarks.find(c) != std::string_view::npos;
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20U && c != '\t') || c == 0x7F;
}

}  // namespace

std::size_t ChunkedBody::feed(std::string_view bytes, std::string& body) {
  std::size_t used = 0;
  while (used < bytes.size() && !done() && problem_ == Problem::kNone) {
    const std::string_view rest = bytes.substr(used);
    if (state_ == State::kData) {
      const std::size_t count = std::min(left_, rest.size());
      body.append(rest.data(), count);
      used += count;
      left_ -= count;
      state_ = left_ == 0 ? State::kDataEnd : State::kData;
      continue;
    }
    used += feed_line(rest);
    if (has_line_) {
      has_line_ = false;
      end_line(body.size());
      line_.clear();
    }
  }
  return used;
}

// Bytes up to and with the line's end, as many as there are.
std::size_t ChunkedBody::feed_line(std::string_view bytes) {
  const std::size_t end = bytes.find('\n');
  const std::size_t count = end == std::string_view::npos ? bytes.size() : end + 1;
  const std::size_t line_max = state_ == State::kTrailer ? trailer_bytes_max_ - trailer_bytes_ : kSizeLineMax;
  if (line_.size() + count > line_max) {
    fail(state_ == State::kTrailer ? Problem::kTrailerTooLarge : Problem::kSyntax);
    return count;
  }
  line_.append(bytes.data(), count);
  if (end == std::string_view::npos) {
    return count;
  }
  if (!line_.ends_with("\r\n")) {
    fail(Problem::kSyntax);  // a bare line feed
    return count;
  }
  trailer_bytes_ += state_ == State::kTrailer ? line_.size() : 0;
  line_.resize(line_.size() - 2);
  has_line_ = true;
  return count;
}

void ChunkedBody::end_line(std::size_t body_bytes) {
  if (std::any_of(line_.begin(), line_.end(), is_control)) {
    fail(Problem::kSyntax);
    return;
  }
  switch (state_) {
    case State::kSize:
      read_size(body_bytes);
      return;
    case State::kDataEnd:
      state_ = State::kSize;
      if (!line_.empty()) {
        fail(Problem::kSyntax);
      }
      return;
    case State::kTrailer:
      read_trailer();
      return;
    case State::kData:
    case State::kDone:
      return;
  }
}

void ChunkedBody::read_size(std::size_t body_bytes) {
  std::uint64_t size = 0;
  constexpr int kHexadecimal = 16;  // base of sizes (RFC 9112, 7.1)
  const char* const end = line_.data() + line_.size();
  const auto [after, problem] = std::from_chars(line_.data(), end, size, kHexadecimal);
  if (problem == std::errc::result_out_of_range) {
    fail(Problem::kBodyTooLarge);
    return;
  }
  const std::string_view extension(after, static_cast<std::size_t>(end - after));
  if (problem != std::errc() || !(extension.empty() || extension.front() == ';')) {
    fail(Problem::kSyntax);
    return;
  }
  if (size > body_bytes_max_ - std::min(body_bytes, body_bytes_max_)) {
    fail(Problem::kBodyTooLarge);
    return;
  }
  left_ = static_cast<std::size_t>(size);
  state_ = left_ == 0 ? State::kTrailer : State::kData;
}

void ChunkedBody::read_trailer() {
  if (line_.empty()) {
    state_ = State::kDone;
    return;
  }
  const std::size_t colon = line_.find(':');
  const bool has_name =
      colon != std::string::npos && colon > 0 &&
      std::all_of(line_.begin(), line_.begin() + static_cast<std::ptrdiff_t>(colon), is_token_character);
  if (!has_name) {
    fail(Problem::kSyntax);
  }
}

}  // namespace coppice::server
