// FileStore: clients' files in one folder, for the files API and for batches. Each tenant has a folder of its own with
// a quota in bytes and in files, and sees nothing of the others'.
//
// Two files on disk make one of a client's: file-ID.data, its content, and file-ID.json, its card (what write_file()
// writes). Each is replaced only as a whole, the card last: what a killed process leaves without a card no client
// has heard of, and goes at the next start. The names are ours; a client's name for a file is text in its card.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/folder.h"
#include "proto/openai/files.h"

namespace coppice::server {

struct FileLimits {
  std::size_t tenant_bytes = std::size_t{1} << 30;  // --files-quota
  std::int32_t tenant_files = 1000;                 // --files-max
  // Of all tenants: bounds the memory that cards take, about 500 bytes each.
  std::int32_t files = 100'000;
};

// What a client sends of a new file beside its content.
struct NewFile {
  std::string filename;
  std::string purpose;
  std::int64_t expires_after_s = 0;  // 0 = never
};

// Owner: the app; outlives front ends and batches. Thread: any; files are read and written outside the lock.
class FileStore {
 public:
  using Now = std::function<std::int64_t()>;  // Unix time

  // Opens or makes the folder, and reads what is there; what cannot be read is left alone, with a warning. ERRORS:
  // InvalidArgument when it is no folder or another process has it.
  static absl::StatusOr<std::unique_ptr<FileStore>> open(const std::string& path, const FileLimits& limits, Now now);

  // ERRORS: 400 when the quota does not allow it; 507 when the disk is full.
  openai::Result<openai::FileCard> add(const std::string& tenant, const NewFile& file, std::string_view content);
  // ERRORS: 404, as of all that follows.
  openai::Result<openai::FileCard> find(const std::string& tenant, const std::string& id) const;
  // Of one purpose, or all (""), in order of creation, `query.limit` and one more: whether there are more. ERRORS: 400
  // when query.after is no file of the tenant's.
  openai::Result<std::vector<openai::FileCard>> list(const std::string& tenant, const openai::ListQuery& query,
                                                     const std::string& purpose) const;
  openai::Result<base::RegularFile> content(const std::string& tenant, const std::string& id) const;
  // ERRORS: 400 while the file is held.
  openai::MaybeError remove(const std::string& tenant, const std::string& id);

  // The file neither goes nor expires until as many release(). ERRORS: 404.
  openai::MaybeError hold(const std::string& tenant, const std::string& id);
  void release(const std::string& tenant, const std::string& id);
  // Why the tenant may not store more bytes beside `more` of its own that are not files yet, nor `more_files`, or "".
  std::string quota_refusal(const std::string& tenant, std::int64_t more, std::int32_t more_files = 0) const;

  // A tenant's folder, for content that grows line by line and becomes a file with adopt(). ERRORS: Internal.
  absl::StatusOr<std::shared_ptr<const base::Folder>> folder(const std::string& tenant);
  // Gives content that stands in the tenant's folder under data_name(card.id) its card. Quotas do not stop it. ERRORS:
  // Internal, ResourceExhausted.
  absl::Status adopt(const std::string& tenant, openai::FileCard card);
  // Drops content without a card, except that with one of these ids. To be called once, before the first add().
  void drop_unfinished(const std::string& tenant, const std::vector<std::string>& wanted);

  // Removes files whose time is over.
  void expire();
  // Tenants that have a folder.
  std::vector<std::string> tenants() const;
  std::int64_t now() const { return now_(); }

  static std::string new_id(std::string_view prefix);
  static std::string data_name(const std::string& id) { return id + ".data"; }
  static std::string card_name(const std::string& id) { return id + ".json"; }

 private:
  struct Entry {
    openai::FileCard card;
    std::int32_t holds = 0;
  };
  struct Tenant {
    std::shared_ptr<const base::Folder> folder;
    std::map<std::string, Entry> files;
    std::int64_t bytes = 0;
    std::int32_t reserved_files = 0;  // being written
    std::int64_t reserved_bytes = 0;
  };
  using Tenants = std::map<std::string, Tenant>;

  FileStore(base::Folder root, const FileLimits& limits, Now now)
      : root_(std::move(root)), limits_(limits), now_(std::move(now)) {}

  absl::StatusOr<Tenant*> open_tenant(const std::string& tenant);
  void read_cards(Tenant& tenant);
  const Entry* entry_of(const std::string& tenant, const std::string& id) const;
  openai::MaybeError reserve(const std::string& tenant, std::int64_t bytes);
  void forget(Tenant& tenant, const std::string& id);
  absl::Status write(const base::Folder& folder, const openai::FileCard& card, std::string_view content);

  const base::Folder root_;
  const FileLimits limits_;
  const Now now_;
  mutable std::mutex mutex_;
  Tenants tenants_;         // guarded by mutex_
  std::int32_t files_ = 0;  // of all tenants, those being written included; guarded by mutex_
};

}  // namespace coppice::server
