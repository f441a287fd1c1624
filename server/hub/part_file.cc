// Files by descriptors.
#include "server/hub/part_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::server {
namespace {

constexpr mode_t kMode = 0666;                    // bits, less the user's mask: a cache is often shared
constexpr std::size_t kReadBytes = 1 << 18;       // at once: costs no call, fits a core's cache
constexpr std::chrono::milliseconds kAgain{100};  // between two tries for a lock: no wait that a person feels

absl::Status system_error(const std::filesystem::path& path, const char* doing, int error) {
  const bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  const auto code = is_full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal;
  return absl::Status(code, fmt::format("{}: {}: {}", path.string(), doing, std::generic_category().message(error)));
}

// Whether the path still leads to the open file: who holds a lock may remove its file.
bool is_still(int descriptor, const std::filesystem::path& path) {
  struct stat here {};
  struct stat there {};
  return ::fstat(descriptor, &here) == 0 && ::stat(path.c_str(), &there) == 0 && here.st_ino == there.st_ino &&
         here.st_dev == there.st_dev;
}

}  // namespace

absl::Status make_folders(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? system_error(path, "cannot be made", error.value()) : absl::OkStatus();
}

absl::StatusOr<LockFile> LockFile::take(const std::filesystem::path& path, const std::function<absl::Status()>& wait) {
  while (true) {
    LockFile lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, kMode));
    if (lock.descriptor_ < 0) {
      return system_error(path, "cannot be made", errno);
    }
    while (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return system_error(path, "cannot be locked", errno);
      }
      COPPICE_RETURN_IF_ERROR(wait());
      std::this_thread::sleep_for(kAgain);
    }
    if (is_still(lock.descriptor_, path)) {
      return lock;
    }
  }
}

LockFile::LockFile(LockFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

LockFile::~LockFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

PartFile::PartFile(std::filesystem::path path, std::filesystem::path part, int descriptor, std::uint64_t size)
    : path_(std::move(path)), part_(std::move(part)), descriptor_(descriptor), size_(size) {}

PartFile::PartFile(PartFile&& other) noexcept
    : path_(std::move(other.path_)),
      part_(std::move(other.part_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

PartFile::~PartFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

absl::Status PartFile::failed(const char* doing) const {
  return system_error(part_, doing, errno);
}

absl::StatusOr<PartFile> PartFile::open(const std::filesystem::path& path) {
  const std::filesystem::path part = path.string() + ".incomplete";
  const int descriptor = ::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, kMode);
  if (descriptor < 0) {
    return system_error(part, "cannot be made", errno);
  }
  PartFile file(path, part, descriptor, 0);
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file", part.string()));
  }
  file.size_ = static_cast<std::uint64_t>(facts.st_size);
  return file;
}

absl::Status PartFile::hash(ContentHash& hash) const {
  std::array<char, kReadBytes> bytes{};
  for (std::uint64_t at = 0; at < size_;) {
    const std::size_t count = std::min<std::uint64_t>(bytes.size(), size_ - at);
    const ssize_t got = ::pread(descriptor_, bytes.data(), count, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return failed("cannot be read");
    }
    hash.add(std::string_view(bytes.data(), static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::Status PartFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return failed("cannot be written");
    }
    size_ += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status PartFile::clear() {
  if (::ftruncate(descriptor_, 0) != 0) {
    return failed("cannot be cleared");
  }
  size_ = 0;
  return absl::OkStatus();
}

absl::Status PartFile::finish() {
  if (::fsync(descriptor_) != 0) {
    return failed("cannot be written");
  }
  if (::rename(part_.c_str(), path_.c_str()) != 0) {
    return failed("cannot be renamed");
  }
  return absl::OkStatus();
}

void PartFile::remove() {
  ::unlink(part_.c_str());
}

}  // namespace coppice::server
