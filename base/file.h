// Files from outside: opened only if they are regular, read with a size limit, and replaced only as a whole. A FIFO, a
// device or a file that shrinks under the reader is an error with one clear line, never a hang, an unbounded read or a
// signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace coppice::base {

// A regular file, open for reading; closes itself. Immutable; move-only. Thread: any may read.
class RegularFile {
 public:
  // Never waits for a writer. ERRORS: NotFound; InvalidArgument (a FIFO, device, socket or folder; no permission).
  static absl::StatusOr<RegularFile> open(const std::filesystem::path& path);
  // The file `name` in an open folder, of which `path` is the whole name, for messages. A link is not followed: it is
  // an InvalidArgument. ERRORS: as above.
  static absl::StatusOr<RegularFile> open_in(int folder, const std::string& name, std::filesystem::path path);

  RegularFile(RegularFile&& other) noexcept;
  RegularFile& operator=(RegularFile&& other) noexcept;
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;
  ~RegularFile();

  // Bytes when it was opened. It may have shrunk since.
  std::size_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  // Fills `into` from byte `offset` on. ERRORS: DataLoss when the file ends before; Internal.
  absl::Status read(std::size_t offset, std::span<std::byte> into) const;
  // The system need not keep these bytes of the file in memory. For bytes that are not read again.
  void forget(std::size_t offset, std::size_t count) const;

 private:
  RegularFile(std::filesystem::path path, int descriptor, std::size_t size)
      : path_(std::move(path)), descriptor_(descriptor), size_(size) {}
  static absl::StatusOr<RegularFile> take(int descriptor, std::filesystem::path path);

  std::filesystem::path path_;
  int descriptor_;
  std::size_t size_;
};

// What stands in the place of a file whose download is not complete, when its first bytes say so: "a git-lfs pointer
// ...". Empty: nothing known.
std::string_view placeholder_name(std::string_view bytes);

// The whole of a regular file. ERRORS: as RegularFile; InvalidArgument when it has more than `bytes_max` bytes, or is
// something that stands in for the file.
absl::StatusOr<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max);

enum class FileReaders : std::uint8_t { kEveryone, kOwner };

// Replaces `path` by a file that holds `parts` one behind the other: written beside it, forced to the disk, renamed. A
// reader sees the old file or the new one, whole. After an error the old file stands and nothing is left beside it.
// ERRORS: Internal with the system's reason; ResourceExhausted when there is no room for it.
absl::Status replace_file(const std::filesystem::path& path, std::span<const std::string_view> parts,
                          FileReaders readers);

// The same for the file `name` in an open folder, of which `path` is the whole name, for messages.
absl::Status replace_file_in(int folder, const std::string& name, std::span<const std::string_view> parts,
                             FileReaders readers, const std::filesystem::path& path);

// Writes all of `bytes` at the descriptor's position. False: errno says why not.
bool write_all(int descriptor, std::string_view bytes);

}  // namespace coppice::base
