// Files as the loaders see them: a whole small text file read at once with a size limit, or a large file mapped
// read-only. Paths come from the user or from checked index files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace coppice::models {

// Reads a regular file of at most `most_bytes`. ERRORS: NotFound; InvalidArgument (not a regular file, too large);
// Internal (reading failed).
absl::StatusOr<std::string> read_text_file(const std::filesystem::path& path, std::size_t most_bytes);

// A regular file mapped read-only. Immutable; move-only; unmapped on destruction. The file must not shrink while it is
// mapped: the operating system then ends the program on the first touch of a missing page.
class MappedFile {
 public:
  // ERRORS: NotFound; InvalidArgument (not a regular file, empty); Internal (mapping failed).
  static absl::StatusOr<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  // Drops the whole pages of `part` (of bytes()) from this process's resident memory: while weights are packed, only
  // one copy counts. The bytes stay readable; they would come from the file again.
  void forget(std::span<const std::byte> part) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace coppice::models
