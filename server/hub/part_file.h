// PartFile: a file that is being fetched, beside the place where it will stand: NAME.incomplete. What was written stays
// when the process dies, and the next one goes on behind it. LockFile: one process at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/hub/content_hash.h"

namespace coppice::server {

// Holds an flock(2) on a file of its own, as Hugging Face's client does. Move-only.
class LockFile {
 public:
  // Waits until no other process has it; `wait` is called every 100 ms and ends the waiting by an error. ERRORS: its;
  // Internal.
  static absl::StatusOr<LockFile> take(const std::filesystem::path& path, const std::function<absl::Status()>& wait);
  LockFile(LockFile&& other) noexcept;
  LockFile& operator=(LockFile&&) = delete;
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;
  ~LockFile();

 private:
  explicit LockFile(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

// Owner: the function that fetches. Thread: one. Bytes are written at their own place, so that two processes on a file
// system whose locks do not hold write the same.
class PartFile {
 public:
  // `path`: of the whole file; what is left of an earlier run is kept. ERRORS: InvalidArgument for what is no regular
  // file; Internal; ResourceExhausted.
  static absl::StatusOr<PartFile> open(const std::filesystem::path& path);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile();

  std::uint64_t size() const { return size_; }
  // All of it, to the hash. ERRORS: Internal.
  absl::Status hash(ContentHash& hash) const;
  // ERRORS: ResourceExhausted when the disk is full; Internal.
  absl::Status append(std::string_view bytes);
  absl::Status clear();
  // Forces it to the disk and gives it its name.
  absl::Status finish();
  void remove();

 private:
  PartFile(std::filesystem::path path, std::filesystem::path part, int descriptor, std::uint64_t size);
  absl::Status failed(const char* doing) const;

  std::filesystem::path path_;
  std::filesystem::path part_;
  int descriptor_;
  std::uint64_t size_;
};

// Makes a folder and those above it. ERRORS: Internal; PermissionDenied.
absl::Status make_folders(const std::filesystem::path& path);

}  // namespace coppice::server
