// GgufReader: the fields of a GGUF header, one after the other. Never reads behind the file, and never allocates more
// than what is left of the file can fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/gguf.h"

namespace coppice::models {

// Owner: parse_gguf(). ERRORS of all: InvalidArgument, without a name; what the file's reading gives.
class GgufReader {
 public:
  // Fills `into` from byte `offset` of a file on.
  using ReadAt = std::function<absl::Status(std::uint64_t offset, std::span<std::byte> into)>;

  GgufReader(ReadAt read, std::uint64_t file_bytes) : read_(std::move(read)), file_bytes_(file_bytes) {}

  std::uint64_t at() const { return at_; }
  std::uint64_t left() const { return file_bytes_ - at_; }

  // A number of type T as it lies in the file, little-endian.
  template <typename T>
  absl::StatusOr<T> number();
  absl::StatusOr<std::string> text(std::uint64_t bytes_max);
  absl::StatusOr<GgufValue> value();

 private:
  absl::Status bytes(std::span<std::byte> into);
  absl::StatusOr<GgufValue> scalar(std::uint32_t type);
  absl::StatusOr<GgufValue> array();

  const ReadAt read_;
  const std::uint64_t file_bytes_;
  std::uint64_t at_ = 0;
  std::vector<std::byte> window_;  // of the file, from window_begin_ on
  std::uint64_t window_begin_ = 0;
};

}  // namespace coppice::models
