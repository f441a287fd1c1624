// Files by their names in one folder.
#include "base/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::base {
namespace {

// Flags: a folder and nothing else, not for children of the process.
constexpr int kOpeningFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

void check_name(const std::string& name) {
  COPPICE_CHECK(!name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
                    name.find('\0') == std::string::npos,
                "a name stays in its folder");
}

absl::Status failed(const std::filesystem::path& path, const char* doing) {
  const std::string message = fmt::format("{}: {}: {}", path.string(), doing, std::generic_category().message(errno));
  const bool is_other = errno == ENOTDIR || errno == ELOOP || errno == EEXIST;
  return is_other ? absl::InvalidArgumentError(message) : absl::InternalError(message);
}

// A folder at `name`, from the folder `from` on.
absl::StatusOr<int> open_or_make(int from, const std::string& name, int flags, const std::filesystem::path& path) {
  if (::mkdirat(from, name.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return failed(path, "cannot be made");
  }
  const int descriptor = ::openat(from, name.c_str(), kOpeningFolder | flags);
  if (descriptor < 0) {
    return failed(path, "cannot be opened as a folder");
  }
  return descriptor;
}

}  // namespace

absl::StatusOr<Folder> Folder::open(const std::filesystem::path& path) {
  COPPICE_ASSIGN_OR_RETURN(const int descriptor, open_or_make(AT_FDCWD, path.string(), 0, path));
  return Folder(path, descriptor);
}

absl::StatusOr<Folder> Folder::subfolder(const std::string& name) const {
  check_name(name);
  COPPICE_ASSIGN_OR_RETURN(const int descriptor, open_or_make(descriptor_, name, O_NOFOLLOW, path_ / name));
  return Folder(path_ / name, descriptor);
}

Folder::Folder(Folder&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

Folder& Folder::operator=(Folder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Folder::~Folder() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

bool Folder::lock() const {
  return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  // A descriptor of its own: reading moves it.
  DIR* const listing = ::fdopendir(::openat(descriptor_, ".", kOpeningFolder));
  if (listing == nullptr) {
    return names;
  }
  while (const dirent* const entry = ::readdir(listing)) {
    if (const std::string name = entry->d_name; name != "." && name != "..") {
      names.push_back(name);
    }
  }
  ::closedir(listing);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<RegularFile> Folder::file(const std::string& name) const {
  check_name(name);
  return RegularFile::open_in(descriptor_, name, path_ / name);
}

absl::StatusOr<std::string> Folder::read(const std::string& name, std::size_t bytes_max) const {
  COPPICE_ASSIGN_OR_RETURN(const RegularFile opened, file(name));
  if (opened.size() > bytes_max) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} bytes, at most {} are read", opened.path().string(), opened.size(), bytes_max));
  }
  std::string text(opened.size(), '\0');
  COPPICE_RETURN_IF_ERROR(opened.read(0, std::as_writable_bytes(std::span<char>(text))));
  return text;
}

absl::StatusOr<int> Folder::open_to_append(const std::string& name) const {
  check_name(name);
  const int descriptor = ::openat(descriptor_, name.c_str(),
                                  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, S_IRUSR | S_IWUSR);
  if (descriptor < 0) {
    return failed(path_ / name, "cannot be opened");
  }
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    ::close(descriptor);
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file", (path_ / name).string()));
  }
  return descriptor;
}

absl::Status Folder::replace(const std::string& name, std::span<const std::string_view> parts) const {
  check_name(name);
  return replace_file_in(descriptor_, name, parts, FileReaders::kOwner, path_ / name);
}

bool Folder::remove(const std::string& name) const {
  check_name(name);
  return ::unlinkat(descriptor_, name.c_str(), 0) == 0 || errno == ENOENT;
}

}  // namespace coppice::base
