// Reading and mapping files (mapped_file.h).
#include "models/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"

namespace coppice::models {
namespace {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }
  int number() const { return number_; }

 private:
  int number_;
};

struct OpenFile {
  Descriptor descriptor;
  std::size_t bytes;
};

std::string last_error() {
  return std::generic_category().message(errno);
}

absl::StatusOr<OpenFile> open_regular(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer before fstat could refuse it.
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.number() < 0) {
    const std::string message = fmt::format("{}: cannot be opened: {}", path.string(), last_error());
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  struct stat facts {};
  if (::fstat(descriptor.number(), &facts) != 0) {
    return absl::InternalError(fmt::format("{}: cannot be examined: {}", path.string(), last_error()));
  }
  if (!S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file", path.string()));
  }
  return OpenFile{std::move(descriptor), static_cast<std::size_t>(facts.st_size)};
}

}  // namespace

absl::StatusOr<std::string> read_text_file(const std::filesystem::path& path, std::size_t most_bytes) {
  COPPICE_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  if (file.bytes > most_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} bytes, at most {} are read", path.string(), file.bytes, most_bytes));
  }
  std::string text(file.bytes, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.descriptor.number(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return absl::InternalError(fmt::format("{}: cannot be read: {}", path.string(), last_error()));
    }
    if (count == 0) {
      text.resize(done);
      break;
    }
    done += static_cast<std::size_t>(count);
  }
  return text;
}

absl::StatusOr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  COPPICE_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  if (file.bytes == 0) {
    return absl::InvalidArgumentError(fmt::format("{}: the file is empty", path.string()));
  }
  void* start = ::mmap(nullptr, file.bytes, PROT_READ, MAP_PRIVATE, file.descriptor.number(), 0);
  if (start == MAP_FAILED) {
    return absl::InternalError(fmt::format("{}: cannot be mapped: {}", path.string(), last_error()));
  }
  return MappedFile(std::span<const std::byte>(static_cast<const std::byte*>(start), file.bytes));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, std::span<const std::byte>())) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

void MappedFile::forget(std::span<const std::byte> part) const {
  // Whole pages inside the part only: a page shared with a neighbour stays.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(part.data() - bytes_.data());
  const std::size_t begin = (offset + page - 1) / page * page;
  const std::size_t end = (offset + part.size()) / page * page;
  if (begin < end) {
    ::madvise(const_cast<std::byte*>(bytes_.data() + begin), end - begin, MADV_DONTNEED);
  }
}

}  // namespace coppice::models
