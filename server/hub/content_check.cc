// The note is .NAME.checked in the file's folder: the hash that was found and the time of the file's last change.
#include "server/hub/content_check.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "fmt/format.h"
#include "server/hub/content_hash.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNoteBytesMost = 256;  // a hash and two numbers
constexpr std::size_t kReadBytes = 1 << 18;  // at once: costs no call, fits a core's cache

std::optional<std::string> hash_of(const fs::path& path, std::uint64_t bytes) {
  const absl::StatusOr<base::RegularFile> file = base::RegularFile::open(path);
  if (!file.ok() || file->size() != bytes) {
    return std::nullopt;
  }
  ContentHash hash(HashKind::kSha256, bytes);
  std::vector<char> part(kReadBytes);
  for (std::uint64_t at = 0; at < bytes; at += part.size()) {
    const std::span<char> some = std::span(part).first(std::min<std::uint64_t>(part.size(), bytes - at));
    if (!file->read(at, std::as_writable_bytes(some)).ok()) {
      return std::nullopt;
    }
    hash.add(std::string_view(some.data(), some.size()));
  }
  return hash.finish();
}

}  // namespace

bool has_content(const fs::path& path, std::uint64_t bytes, const std::string& sha256) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode) ||
      static_cast<std::uint64_t>(facts.st_size) != bytes) {
    return false;
  }
  const std::string note = fmt::format("{} {}.{:09}\n", sha256, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec);
  const fs::path beside = path.parent_path() / fmt::format(".{}.checked", path.filename().string());
  if (const absl::StatusOr<std::string> noted = base::read_file(beside, kNoteBytesMost); noted.ok() && *noted == note) {
    return true;
  }
  if (hash_of(path, bytes) != sha256) {
    return false;
  }
  const std::array<std::string_view, 1> parts = {note};
  static_cast<void>(base::replace_file(beside, parts, base::FileReaders::kEveryone));  // without it, read again
  return true;
}

}  // namespace coppice::server
