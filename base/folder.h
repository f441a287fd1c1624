// Folder: a folder of the program's own, whose files are opened, replaced and removed by their names in it alone. No
// name leads out of it, and no link in it is followed, whatever stands there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"

namespace coppice::base {

// Closes itself. Owner: the caller of open() or subfolder(). Move-only. Thread: any, except for the same file at once.
// REQUIRES: names are not empty, "." or "..", and hold no '/' and no zero byte.
class Folder {
 public:
  // Opens a folder, or makes one, readable by its owner alone. ERRORS: InvalidArgument when something else is there;
  // Internal.
  static absl::StatusOr<Folder> open(const std::filesystem::path& path);
  // The same for a folder in this one.
  absl::StatusOr<Folder> subfolder(const std::string& name) const;

  Folder(Folder&& other) noexcept;
  Folder& operator=(Folder&& other) noexcept;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder();

  // True: no other process has it locked, and none will have it while this object lives.
  bool lock() const;
  // The names of what is in it, in order.
  std::vector<std::string> names() const;
  // ERRORS: as RegularFile::open_in.
  absl::StatusOr<RegularFile> file(const std::string& name) const;
  absl::StatusOr<std::string> read(const std::string& name, std::size_t bytes_max) const;
  // A descriptor, the caller's, of a regular file to read and append to; it is made when it is not there. ERRORS:
  // InvalidArgument for what is no regular file; Internal.
  absl::StatusOr<int> open_to_append(const std::string& name) const;
  // As base::replace_file. ERRORS: its, too; ResourceExhausted when the disk is full.
  absl::Status replace(const std::string& name, std::span<const std::string_view> parts) const;
  // What is not there is no error. False: it stays.
  bool remove(const std::string& name) const;

  const std::filesystem::path& path() const { return path_; }

 private:
  Folder(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace coppice::base
