// Folders, links, and the one line of a reference.
#include "server/hub/hub_cache.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <string_view>
#include <system_error>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/hub/part_file.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRefBytesMost = 256;   // a commit and a line end
constexpr std::size_t kFilesMost = 100'000;  // of one snapshot; the largest repositories have some 10,000

}  // namespace

HubCache::HubCache(const fs::path& root, const HubName& name) {
  const std::string folder = fmt::format("models--{}--{}", name.owner, name.name);
  folder_ = root / folder;
  locks_ = root / ".locks" / folder;
}

std::optional<std::string> HubCache::commit(const std::string& revision) const {
  std::error_code error;
  if (is_commit(revision)) {
    return fs::is_directory(snapshot(revision), error) ? std::optional(revision) : std::nullopt;
  }
  const absl::StatusOr<std::string> text = base::read_file(folder_ / "refs" / revision, kRefBytesMost);
  if (!text.ok()) {
    return std::nullopt;
  }
  const std::string commit = text->substr(0, text->find_first_of(" \r\n"));
  return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

std::vector<std::string> HubCache::files(const std::string& commit) const {
  std::vector<std::string> names;
  const fs::path root = snapshot(commit);
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root, error), end; !error && entry != end && names.size() < kFilesMost;
       entry.increment(error)) {
    std::error_code other;
    if (fs::is_regular_file(entry->path(), other)) {  // what a link leads to
      names.push_back(entry->path().lexically_relative(root).generic_string());
    }
  }
  return names;
}

bool HubCache::is_absent(const std::string& commit, const std::string& file) const {
  std::error_code error;
  return fs::exists(folder_ / ".no_exist" / commit / file, error);
}

absl::Status HubCache::note_absent(const std::string& commit, const std::string& file) const {
  if (is_absent(commit, file)) {
    return absl::OkStatus();
  }
  const fs::path note = folder_ / ".no_exist" / commit / file;
  COPPICE_RETURN_IF_ERROR(make_folders(note.parent_path()));
  // Not written beside and renamed: it has no content, and two may make it at once.
  return std::ofstream(note, std::ios::app).good()
             ? absl::OkStatus()
             : absl::InternalError(fmt::format("{}: cannot be written", note.string()));
}

absl::Status HubCache::prepare() const {
  COPPICE_RETURN_IF_ERROR(make_folders(folder_ / "blobs"));
  return make_folders(locks_);
}

absl::Status HubCache::link(const std::string& commit, const std::string& name, const std::string& hash) const {
  const fs::path file = snapshot(commit) / name;
  COPPICE_RETURN_IF_ERROR(make_folders(file.parent_path()));
  const fs::path target = blob(hash).lexically_relative(file.parent_path());
  std::error_code error;
  if (fs::exists(file, error) && fs::equivalent(file, blob(hash), error)) {
    return absl::OkStatus();
  }
  // A link cannot be replaced, but renamed: two processes may make it at once.
  const fs::path beside = file.string() + fmt::format(".{}.tmp", ::getpid());
  ::unlink(beside.c_str());
  if (::symlink(target.c_str(), beside.c_str()) != 0 || ::rename(beside.c_str(), file.c_str()) != 0) {
    const std::string reason = std::generic_category().message(errno);
    ::unlink(beside.c_str());
    return absl::InternalError(fmt::format("{}: cannot be linked: {}", file.string(), reason));
  }
  return absl::OkStatus();
}

absl::Status HubCache::publish(const std::string& revision, const std::string& commit,
                               const std::vector<std::pair<std::string, std::string>>& names_and_hashes) const {
  for (const auto& [name, hash] : names_and_hashes) {
    COPPICE_RETURN_IF_ERROR(link(commit, name, hash));
  }
  if (is_commit(revision)) {
    return absl::OkStatus();
  }
  const fs::path reference = folder_ / "refs" / revision;
  COPPICE_RETURN_IF_ERROR(make_folders(reference.parent_path()));
  if (this->commit(revision) == commit) {
    return absl::OkStatus();
  }
  // Under a name of this process's own first: two may do this at once.
  const fs::path beside = reference.string() + fmt::format(".{}", ::getpid());
  const std::array<std::string_view, 1> parts = {commit};
  COPPICE_RETURN_IF_ERROR(base::replace_file(beside, parts, base::FileReaders::kEveryone));
  std::error_code error;
  fs::rename(beside, reference, error);
  return error ? absl::InternalError(fmt::format("{}: cannot be replaced: {}", reference.string(), error.message()))
               : absl::OkStatus();
}

}  // namespace coppice::server
