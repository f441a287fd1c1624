// Opening, reading and replacing files.
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::base {
namespace {

// Bytes of one call of read(2) or write(2): the system moves at most 2 GiB in one.
constexpr std::size_t kBytesPerCall = std::size_t{1} << 30;

std::string system_reason() {
  return std::generic_category().message(errno);
}

// A full disk or quota is told apart: it is no fault of the program's.
absl::Status failed(const std::filesystem::path& path, const char* doing) {
  const bool is_full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  return absl::Status(is_full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal,
                      fmt::format("{}: {}: {}", path.string(), doing, system_reason()));
}

// Writes a new file in a folder and closes it. Some file systems report a full disk only in fsync() or close().
absl::Status write_new(int folder, const std::string& name, std::span<const std::string_view> parts, mode_t mode,
                       const std::filesystem::path& path) {
  const int descriptor = ::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (descriptor < 0) {
    return failed(path, "cannot be made");
  }
  bool is_good = std::all_of(parts.begin(), parts.end(),
                             [descriptor](std::string_view part) { return write_all(descriptor, part); });
  is_good = is_good && ::fsync(descriptor) == 0;
  const absl::Status status = is_good ? absl::OkStatus() : failed(path, "cannot be written");
  const bool is_closed = ::close(descriptor) == 0;
  return is_good && !is_closed ? failed(path, "cannot be written") : status;
}

// Without O_NONBLOCK, opening a FIFO would wait for a writer before fstat could refuse it; without O_NOCTTY a terminal
// could become the process's own.
constexpr int kReading = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

}  // namespace

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), std::min(bytes.size(), kBytesPerCall));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

absl::StatusOr<RegularFile> RegularFile::open(const std::filesystem::path& path) {
  return take(::open(path.c_str(), kReading), path);
}

absl::StatusOr<RegularFile> RegularFile::open_in(int folder, const std::string& name, std::filesystem::path path) {
  return take(::openat(folder, name.c_str(), kReading | O_NOFOLLOW), std::move(path));
}

// What open() returned.
absl::StatusOr<RegularFile> RegularFile::take(int descriptor, std::filesystem::path path) {
  if (descriptor < 0) {
    const std::string message = fmt::format("{}: cannot be opened: {}", path.string(), system_reason());
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  RegularFile file(std::move(path), descriptor, 0);
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) {
    return failed(file.path(), "cannot be examined");
  }
  if (!S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file", file.path().string()));
  }
  file.size_ = static_cast<std::size_t>(facts.st_size);
  return file;
}

RegularFile::RegularFile(RegularFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

RegularFile& RegularFile::operator=(RegularFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

RegularFile::~RegularFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

absl::Status RegularFile::read(std::size_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t count =
        ::pread(descriptor_, into.data(), std::min(into.size(), kBytesPerCall), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return failed(path_, "cannot be read");
    }
    if (count == 0) {
      return absl::DataLossError(
          fmt::format("{}: the file has shrunk to {} bytes while it was read", path_.string(), offset));
    }
    offset += static_cast<std::size_t>(count);
    into = into.subspan(static_cast<std::size_t>(count));
  }
  return absl::OkStatus();
}

void RegularFile::forget(std::size_t offset, std::size_t count) const {
  (void)::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(count), POSIX_FADV_DONTNEED);
}

std::string_view placeholder_name(std::string_view bytes) {
  return bytes.starts_with("version https://git-lfs.github.com/spec/")
             ? "a git-lfs pointer, not the file itself: run \"git lfs pull\" in its folder"
             : "";
}

absl::StatusOr<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
  COPPICE_ASSIGN_OR_RETURN(const RegularFile file, RegularFile::open(path));
  if (file.size() > bytes_max) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} bytes, at most {} are read", path.string(), file.size(), bytes_max));
  }
  std::string text(file.size(), '\0');
  COPPICE_RETURN_IF_ERROR(file.read(0, std::as_writable_bytes(std::span<char>(text))));
  if (const std::string_view placeholder = placeholder_name(text); !placeholder.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: is {}", path.string(), placeholder));
  }
  return text;
}

absl::Status replace_file(const std::filesystem::path& path, std::span<const std::string_view> parts,
                          FileReaders readers) {
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    return failed(path, "cannot be made");
  }
  const absl::Status status = replace_file_in(descriptor, path.filename().string(), parts, readers, path);
  ::close(descriptor);
  return status;
}

absl::Status replace_file_in(int folder, const std::string& name, std::span<const std::string_view> parts,
                             FileReaders readers, const std::filesystem::path& path) {
  const std::string beside = name + ".tmp";
  // What an earlier run left there, be it a FIFO, must neither be waited for nor written through.
  if (::unlinkat(folder, beside.c_str(), 0) != 0 && errno != ENOENT) {
    return failed(path.string() + ".tmp", "is in the way");
  }
  const mode_t mode = readers == FileReaders::kOwner ? S_IRUSR | S_IWUSR : S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH;
  absl::Status status = write_new(folder, beside, parts, mode, path.string() + ".tmp");
  if (status.ok() && ::renameat(folder, beside.c_str(), folder, name.c_str()) != 0) {
    status = failed(path, "cannot be replaced");
  }
  if (!status.ok()) {
    ::unlinkat(folder, beside.c_str(), 0);
    return status;
  }
  ::fsync(folder);  // so that the renaming outlives a loss of power; not every file system can
  return absl::OkStatus();
}

}  // namespace coppice::base
