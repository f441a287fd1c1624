// Cards in memory, content on disk.
#include "server/files/file_store.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/status_macros.h"
#include "server/access/api_keys.h"
#include "server/sessions/request_id.h"

namespace coppice::server {
namespace {

constexpr std::size_t kCardBytesMax = std::size_t{64} << 10;  // a card has some hundred bytes
constexpr std::size_t kIdDigits = 24;                         // hexadecimal; 96 random bits
constexpr std::string_view kNoKey = "default";  // the folder of a server without keys; no key's name is so
constexpr int kNoRoom = 507;                    // RFC 4918, 11.5

openai::ApiError no_such_file(const std::string& id) {
  return openai::not_found("file_id", "file_not_found", fmt::format("there is no file '{}'", id));
}

openai::ApiError quota_exceeded(std::string why) {
  openai::ApiError error = openai::bad_value("file", std::move(why));
  error.code = "storage_quota_exceeded";
  return error;
}

openai::ApiError cannot_store(const absl::Status& status) {
  spdlog::error("files: {}", std::string(status.message()));
  openai::ApiError error = openai::internal_error("the file could not be stored");
  if (absl::IsResourceExhausted(status)) {
    error.status = kNoRoom;
    error.code = "disk_full";
    error.message = std::string("the server has no room for the file");
  }
  return error;
}

// A tenant's name as a folder's: the name of a key is letters, digits and '-'.
std::string folder_name(const std::string& tenant) {
  return tenant.empty() ? std::string(kNoKey) : tenant;
}

bool is_older(const openai::FileCard& a, const openai::FileCard& b) {
  return std::tie(a.created_s, a.id) < std::tie(b.created_s, b.id);
}

}  // namespace

std::string FileStore::new_id(std::string_view prefix) {
  return std::string(prefix) + choose_request_id(std::string_view()).substr(0, kIdDigits);
}

absl::StatusOr<std::unique_ptr<FileStore>> FileStore::open(const std::string& path, const FileLimits& limits, Now now) {
  absl::StatusOr<base::Folder> root = base::Folder::open(path);
  if (!root.ok()) {
    return absl::InvalidArgumentError(fmt::format("--files-folder {}", std::string(root.status().message())));
  }
  if (!root->lock()) {
    return absl::InvalidArgumentError(
        fmt::format("--files-folder {}: another server has it; give each a folder of its own", path));
  }
  std::unique_ptr<FileStore> store(new FileStore(*std::move(root), limits, std::move(now)));  // NOLINT: private
  for (const std::string& name : store->root_.names()) {
    if (name != kNoKey && !is_key_tenant(name)) {
      continue;  // not ours
    }
    const absl::StatusOr<Tenant*> tenant = store->open_tenant(name == kNoKey ? "" : name);
    if (!tenant.ok()) {
      spdlog::warn("files: {}; left alone", std::string(tenant.status().message()));
      continue;
    }
    store->read_cards(**tenant);
  }
  return store;
}

// REQUIRES: the lock, or no other thread. ERRORS: InvalidArgument, Internal.
absl::StatusOr<FileStore::Tenant*> FileStore::open_tenant(const std::string& tenant) {
  const auto found = tenants_.find(tenant);
  if (found != tenants_.end()) {
    return &found->second;
  }
  COPPICE_ASSIGN_OR_RETURN(base::Folder folder, root_.subfolder(folder_name(tenant)));
  Tenant& made = tenants_[tenant];
  made.folder = std::make_shared<const base::Folder>(std::move(folder));
  return &made;
}

void FileStore::read_cards(Tenant& tenant) {
  constexpr std::string_view kEnding = ".json";
  for (const std::string& name : tenant.folder->names()) {
    if (!name.starts_with(openai::kFilePrefix) || !name.ends_with(kEnding)) {
      continue;
    }
    const std::string id = name.substr(0, name.size() - kEnding.size());
    const absl::StatusOr<std::string> text = tenant.folder->read(name, kCardBytesMax);
    openai::Result<openai::Json> json = openai::parse_json(text.ok() ? *text : "", {});
    const openai::Result<openai::FileCard> card =
        json.ok() ? openai::read_file_card(json.value()) : openai::Result<openai::FileCard>(json.error());
    const absl::StatusOr<base::RegularFile> content = tenant.folder->file(data_name(id));
    const bool is_whole = card.ok() && content.ok() && card.value().id == id &&
                          content->size() == static_cast<std::size_t>(card.value().bytes);
    if (!is_whole) {
      spdlog::warn("files: {}: not a file's card, or its content is not whole; left alone",
                   (tenant.folder->path() / name).string());
      continue;
    }
    tenant.files[id].card = card.value();
    tenant.bytes += card.value().bytes;
    ++files_;
  }
}

const FileStore::Entry* FileStore::entry_of(const std::string& tenant, const std::string& id) const {
  const auto owner = tenants_.find(tenant);
  if (owner == tenants_.end()) {
    return nullptr;
  }
  const auto found = owner->second.files.find(id);
  const bool is_there =
      found != owner->second.files.end() &&
      (found->second.holds > 0 || found->second.card.expires_s == 0 || found->second.card.expires_s > now_());
  return is_there ? &found->second : nullptr;
}

// REQUIRES: the lock.
openai::MaybeError FileStore::reserve(const std::string& tenant, std::int64_t bytes) {
  const absl::StatusOr<Tenant*> owner = open_tenant(tenant);
  if (!owner.ok()) {
    return cannot_store(owner.status());
  }
  const std::int64_t held = (*owner)->bytes + (*owner)->reserved_bytes;
  const auto count = static_cast<std::int32_t>((*owner)->files.size()) + (*owner)->reserved_files;
  if (held + bytes > static_cast<std::int64_t>(limits_.tenant_bytes)) {
    return quota_exceeded(
        fmt::format("the file has {} bytes, your other files have {}; together {} are allowed: delete "
                    "some (--files-quota)",
                    bytes, held, limits_.tenant_bytes));
  }
  if (count >= limits_.tenant_files || files_ >= limits_.files) {
    return quota_exceeded(
        fmt::format("you have {} files, the server {}; {} and {} are allowed: delete some (--files-max)", count, files_,
                    limits_.tenant_files, limits_.files));
  }
  (*owner)->reserved_bytes += bytes;
  ++(*owner)->reserved_files;
  ++files_;
  return std::nullopt;
}

openai::Result<openai::FileCard> FileStore::add(const std::string& tenant, const NewFile& file,
                                                std::string_view content) {
  const auto bytes = static_cast<std::int64_t>(content.size());
  std::shared_ptr<const base::Folder> folder;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (openai::MaybeError error = reserve(tenant, bytes)) {
      return *std::move(error);
    }
    folder = tenants_[tenant].folder;
  }
  openai::FileCard card;
  card.id = new_id(openai::kFilePrefix);
  card.bytes = bytes;
  card.created_s = now_();
  card.expires_s = file.expires_after_s > 0 ? card.created_s + file.expires_after_s : 0;
  card.filename = file.filename;
  card.purpose = file.purpose;
  const absl::Status status = write(*folder, card, content);
  const std::lock_guard<std::mutex> lock(mutex_);
  Tenant& owner = tenants_[tenant];
  owner.reserved_bytes -= bytes;
  --owner.reserved_files;
  if (!status.ok()) {
    --files_;
    return cannot_store(status);
  }
  owner.bytes += bytes;
  owner.files[card.id].card = card;
  return card;
}

// The card last: without it the content is no file.
absl::Status FileStore::write(const base::Folder& folder, const openai::FileCard& card, std::string_view content) {
  const std::array<std::string_view, 1> data = {content};
  const std::string text = openai::write_file(card);
  const std::array<std::string_view, 1> about = {text};
  absl::Status status = folder.replace(data_name(card.id), data);
  if (status.ok()) {
    status = folder.replace(card_name(card.id), about);
  }
  if (!status.ok()) {
    folder.remove(data_name(card.id));
  }
  return status;
}

openai::Result<openai::FileCard> FileStore::find(const std::string& tenant, const std::string& id) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Entry* const entry = entry_of(tenant, id);
  return entry == nullptr ? openai::Result<openai::FileCard>(no_such_file(id)) : entry->card;
}

openai::Result<std::vector<openai::FileCard>> FileStore::list(const std::string& tenant, const openai::ListQuery& query,
                                                              const std::string& purpose) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Entry* const after = query.after.empty() ? nullptr : entry_of(tenant, query.after);
  if (!query.after.empty() && after == nullptr) {
    return openai::bad_value("after", fmt::format("'after' is no file of yours: '{}'", query.after.substr(0, 60)));
  }
  std::vector<openai::FileCard> cards;
  const auto owner = tenants_.find(tenant);
  if (owner == tenants_.end()) {
    return cards;
  }
  for (const auto& [id, entry] : owner->second.files) {
    const bool is_behind =
        after == nullptr || (query.ascending ? is_older(after->card, entry.card) : is_older(entry.card, after->card));
    if (is_behind && (purpose.empty() || entry.card.purpose == purpose) && entry_of(tenant, id) != nullptr) {
      cards.push_back(entry.card);
    }
  }
  std::sort(cards.begin(), cards.end(), [&query](const openai::FileCard& a, const openai::FileCard& b) {
    return query.ascending ? is_older(a, b) : is_older(b, a);
  });
  cards.resize(std::min(cards.size(), static_cast<std::size_t>(query.limit) + 1));
  return cards;
}

openai::Result<base::RegularFile> FileStore::content(const std::string& tenant, const std::string& id) const {
  std::shared_ptr<const base::Folder> folder;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entry_of(tenant, id) == nullptr) {
      return no_such_file(id);
    }
    folder = tenants_.at(tenant).folder;
  }
  absl::StatusOr<base::RegularFile> file = folder->file(data_name(id));
  if (!file.ok()) {
    spdlog::error("files: {}", std::string(file.status().message()));
    return openai::internal_error("the file's content cannot be read");
  }
  return *std::move(file);
}

// REQUIRES: the lock. The card goes first, as it came last.
void FileStore::forget(Tenant& tenant, const std::string& id) {
  const auto found = tenant.files.find(id);
  tenant.bytes -= found->second.card.bytes;
  tenant.files.erase(found);
  --files_;
  if (!tenant.folder->remove(card_name(id)) || !tenant.folder->remove(data_name(id))) {
    spdlog::warn("files: {} cannot be removed", (tenant.folder->path() / id).string());
  }
}

openai::MaybeError FileStore::remove(const std::string& tenant, const std::string& id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Entry* const entry = entry_of(tenant, id);
  if (entry == nullptr) {
    return no_such_file(id);
  }
  if (entry->holds > 0) {
    openai::ApiError error = openai::bad_value(
        "file_id", fmt::format("'{}' is the input of a batch that has not ended: cancel it first", id));
    error.code = "file_in_use";
    return error;
  }
  forget(tenants_[tenant], id);
  return std::nullopt;
}

openai::MaybeError FileStore::hold(const std::string& tenant, const std::string& id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (entry_of(tenant, id) == nullptr) {
    return no_such_file(id);
  }
  ++tenants_[tenant].files[id].holds;
  return std::nullopt;
}

void FileStore::release(const std::string& tenant, const std::string& id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const auto found = tenants_[tenant].files.find(id); found != tenants_[tenant].files.end()) {
    --found->second.holds;
  }
}

std::string FileStore::quota_refusal(const std::string& tenant, std::int64_t more, std::int32_t more_files) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto owner = tenants_.find(tenant);
  const std::int64_t held = owner == tenants_.end() ? 0 : owner->second.bytes + owner->second.reserved_bytes;
  const std::int32_t count = owner == tenants_.end()
                                 ? 0
                                 : static_cast<std::int32_t>(owner->second.files.size()) + owner->second.reserved_files;
  if (more_files > 0 && (count + more_files > limits_.tenant_files || files_ + more_files > limits_.files)) {
    return fmt::format(
        "you have {} files and {} to come, the server has {}; {} and {} are allowed: delete some "
        "(--files-max)",
        count, more_files, files_, limits_.tenant_files, limits_.files);
  }
  if (held + more <= static_cast<std::int64_t>(limits_.tenant_bytes)) {
    return "";
  }
  return fmt::format("your files have {} bytes; {} are allowed: delete some (--files-quota)", held + more,
                     limits_.tenant_bytes);
}

absl::StatusOr<std::shared_ptr<const base::Folder>> FileStore::folder(const std::string& tenant) {
  const std::lock_guard<std::mutex> lock(mutex_);
  COPPICE_ASSIGN_OR_RETURN(const Tenant* const owner, open_tenant(tenant));
  return owner->folder;
}

absl::Status FileStore::adopt(const std::string& tenant, openai::FileCard card) {
  COPPICE_ASSIGN_OR_RETURN(const std::shared_ptr<const base::Folder> place, folder(tenant));
  COPPICE_ASSIGN_OR_RETURN(const base::RegularFile content, place->file(data_name(card.id)));
  card.bytes = static_cast<std::int64_t>(content.size());
  const std::string text = openai::write_file(card);
  const std::array<std::string_view, 1> about = {text};
  COPPICE_RETURN_IF_ERROR(place->replace(card_name(card.id), about));
  const std::lock_guard<std::mutex> lock(mutex_);
  Tenant& owner = tenants_[tenant];
  const bool is_new = !owner.files.contains(card.id);
  owner.bytes += card.bytes - (is_new ? 0 : owner.files[card.id].card.bytes);
  files_ += is_new ? 1 : 0;
  owner.files[card.id].card = std::move(card);
  return absl::OkStatus();
}

void FileStore::drop_unfinished(const std::string& tenant, const std::vector<std::string>& wanted) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto owner = tenants_.find(tenant);
  if (owner == tenants_.end()) {
    return;
  }
  constexpr std::string_view kData = ".data";
  for (const std::string& name : owner->second.folder->names()) {
    const bool is_data = name.starts_with(openai::kFilePrefix) && name.ends_with(kData);
    const std::string id = is_data ? name.substr(0, name.size() - kData.size()) : "";
    const bool has_card = owner->second.files.contains(id);
    const bool is_needed = std::find(wanted.begin(), wanted.end(), id) != wanted.end();
    const bool is_torn = name.ends_with(".tmp");
    // A card that could not be read may be mended by hand: its content stays.
    const bool has_torn_card = is_data && owner->second.folder->file(card_name(id)).ok();
    if (is_torn || (is_data && !has_card && !is_needed && !has_torn_card)) {
      owner->second.folder->remove(name);
    }
  }
}

void FileStore::expire() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now = now_();
  for (auto& [name, tenant] : tenants_) {
    std::vector<std::string> over;
    for (const auto& [id, entry] : tenant.files) {
      if (entry.holds == 0 && entry.card.expires_s > 0 && entry.card.expires_s <= now) {
        over.push_back(id);
      }
    }
    for (const std::string& id : over) {
      forget(tenant, id);
    }
  }
}

std::vector<std::string> FileStore::tenants() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, tenant] : tenants_) {
    names.push_back(name);
  }
  return names;
}

}  // namespace coppice::server
