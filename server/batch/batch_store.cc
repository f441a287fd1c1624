// Cards in memory and on disk.
#include "server/batch/batch_store.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "server/batch/batch_line.h"

namespace coppice::server {
namespace {

using openai::BatchCard;
using openai::BatchStatus;

// A card has 100 errors at most, each of which quotes some text.
constexpr std::size_t kCardBytesMax = std::size_t{1} << 20;
constexpr std::size_t kWaitingMax = 64;  // batches of a tenant that have not ended
constexpr std::size_t kCardsMax = 1000;  // of a tenant; beyond, those that ended first are forgotten
constexpr int kRetryAfterSeconds = 60;   // a batch takes minutes, mostly
constexpr std::string_view kEnding = ".json";

openai::ApiError no_such_batch(const std::string& id) {
  return openai::not_found("batch_id", "batch_not_found", fmt::format("there is no batch '{}'", id));
}

bool is_older(const BatchCard& a, const BatchCard& b) {
  return std::tie(a.created_s, a.id) < std::tie(b.created_s, b.id);
}

std::string file_name(const std::string& id) {
  return id + std::string(kEnding);
}

}  // namespace

BatchStore::BatchStore(FileStore& files) : files_(files) {
  for (const std::string& tenant : files_.tenants()) {
    read_tenant(tenant);
  }
}

void BatchStore::read_tenant(const std::string& tenant) {
  const auto folder = files_.folder(tenant);
  if (!folder.ok()) {
    return;
  }
  std::vector<std::string> wanted;
  for (const std::string& name : (*folder)->names()) {
    if (!name.starts_with(openai::kBatchPrefix) || !name.ends_with(kEnding)) {
      continue;
    }
    const absl::StatusOr<std::string> text = (*folder)->read(name, kCardBytesMax);
    openai::Result<openai::Json> json = openai::parse_json(text.ok() ? *text : "", {});
    openai::Result<BatchCard> card =
        json.ok() ? openai::read_batch_record(json.value()) : openai::Result<BatchCard>(json.error());
    if (!card.ok() || file_name(card.value().id) != name) {
      spdlog::warn("batches: {}: not the record of a batch; left alone", ((*folder)->path() / name).string());
      continue;
    }
    if (!is_final(card.value().status)) {
      wanted.push_back(card.value().output_file_id);
      wanted.push_back(card.value().error_file_id);
      (void)files_.hold(tenant, card.value().request.input_file_id);  // a missing one fails the batch when it is opened
    }
    tenants_[tenant].emplace(card.value().id, std::move(card.value()));
  }
  files_.drop_unfinished(tenant, wanted);
}

// REQUIRES: the lock, as of all that follows without it.
const BatchCard* BatchStore::card_of(const BatchKey& key) const {
  const auto owner = tenants_.find(key.tenant);
  if (owner == tenants_.end()) {
    return nullptr;
  }
  const auto found = owner->second.find(key.id);
  return found == owner->second.end() ? nullptr : &found->second;
}

// Takes the lock. Each batch that has not ended may make two files.
openai::MaybeError BatchStore::check_room(const std::string& tenant) const {
  std::size_t waiting = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto owner = tenants_.find(tenant);
    if (owner != tenants_.end()) {
      waiting =
          static_cast<std::size_t>(std::count_if(owner->second.begin(), owner->second.end(),
                                                 [](const auto& entry) { return !is_final(entry.second.status); }));
    }
  }
  const auto files_to_come = static_cast<std::int32_t>(2 * (waiting + 1));
  if (const std::string why = files_.quota_refusal(tenant, 0, files_to_come); !why.empty()) {
    openai::ApiError error = openai::bad_value("", why);
    error.code = "storage_quota_exceeded";
    return error;
  }
  if (waiting < kWaitingMax) {
    return std::nullopt;
  }
  return openai::overloaded(fmt::format("you have {} batches that have not ended; {} may wait", waiting, kWaitingMax),
                            kRetryAfterSeconds);
}

void BatchStore::forget_oldest(const std::string& tenant) {
  Cards& cards = tenants_[tenant];
  if (cards.size() <= kCardsMax) {
    return;
  }
  const BatchCard* oldest = nullptr;
  for (const auto& [id, card] : cards) {
    if (is_final(card.status) && (oldest == nullptr || is_older(card, *oldest))) {
      oldest = &card;
    }
  }
  if (oldest == nullptr) {
    return;
  }
  const std::string id = oldest->id;
  cards.erase(id);
  if (const auto folder = files_.folder(tenant); folder.ok()) {
    (*folder)->remove(file_name(id));
  }
}

openai::Result<BatchCard> BatchStore::create(const std::string& tenant, openai::BatchRequest request,
                                             const std::string& model) {
  if (find_batch_endpoint(request.endpoint) == nullptr) {
    return openai::bad_value("endpoint", fmt::format("'endpoint' must be {}; got \"{}\"", list_batch_endpoints(),
                                                     request.endpoint.substr(0, 60)));
  }
  openai::Result<openai::FileCard> input = files_.find(tenant, request.input_file_id);
  if (!input.ok()) {
    input.error().param = "input_file_id";
    return std::move(input.error());
  }
  if (input.value().purpose != "batch") {
    return openai::bad_value("input_file_id", fmt::format("'input_file_id' must be a file of purpose \"batch\"; it is "
                                                          "of \"{}\"",
                                                          input.value().purpose));
  }
  BatchCard card;
  card.id = FileStore::new_id(openai::kBatchPrefix);
  card.model = model;
  card.created_s = files_.now();
  card.expires_s = card.created_s + request.window.count();
  card.output_file_id = FileStore::new_id(openai::kFilePrefix);
  card.error_file_id = FileStore::new_id(openai::kFilePrefix);
  card.request = std::move(request);
  {
    const std::lock_guard<std::mutex> disk_lock(disk_mutex_);  // creations one by one: the room is still there
    if (openai::MaybeError error = check_room(tenant)) {
      return *std::move(error);
    }
    if (openai::MaybeError error = files_.hold(tenant, card.request.input_file_id)) {
      return *std::move(error);
    }
    // Neither clients nor the runner see the batch before it is stored: what the runner has seen stays.
    if (const absl::Status status = write(tenant, card); !status.ok()) {
      spdlog::error("batches: {}", std::string(status.message()));
      files_.release(tenant, card.request.input_file_id);
      return openai::internal_error("the batch could not be stored");
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    tenants_[tenant].emplace(card.id, card);
    forget_oldest(tenant);
  }
  changed_();
  return card;
}

openai::Result<BatchCard> BatchStore::find(const BatchKey& key) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const BatchCard* const card = card_of(key);
  return card == nullptr ? openai::Result<BatchCard>(no_such_batch(key.id)) : *card;
}

BatchStore::State BatchStore::state_of(const BatchKey& key) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const BatchCard* const card = card_of(key);
  COPPICE_CHECK(card != nullptr, "a batch that has not ended is not forgotten");
  return {card->status, card->expires_s};
}

openai::Result<std::vector<BatchCard>> BatchStore::list(const std::string& tenant,
                                                        const openai::ListQuery& query) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const BatchCard* const after = query.after.empty() ? nullptr : card_of({tenant, query.after});
  if (!query.after.empty() && after == nullptr) {
    return openai::bad_value("after", fmt::format("'after' is no batch of yours: '{}'", query.after.substr(0, 60)));
  }
  std::vector<BatchCard> cards;
  const auto owner = tenants_.find(tenant);
  if (owner == tenants_.end()) {
    return cards;
  }
  std::vector<const BatchCard*> found;
  for (const auto& [id, card] : owner->second) {
    if (after == nullptr || is_older(card, *after)) {
      found.push_back(&card);
    }
  }
  std::sort(found.begin(), found.end(), [](const BatchCard* a, const BatchCard* b) { return is_older(*b, *a); });
  found.resize(std::min(found.size(), static_cast<std::size_t>(query.limit) + 1));
  for (const BatchCard* const card : found) {
    cards.push_back(*card);
  }
  return cards;
}

openai::Result<BatchCard> BatchStore::cancel(const BatchKey& key) {
  BatchCard card;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (card_of(key) == nullptr) {
      return no_such_batch(key.id);
    }
    BatchCard& stored = tenants_[key.tenant][key.id];
    if (is_final(stored.status)) {
      return openai::bad_value(
          "batch_id", fmt::format("the batch '{}' has ended: it is {}", key.id, batch_status_name(stored.status)));
    }
    if (stored.status != BatchStatus::kCancelling) {
      stored.status = BatchStatus::kCancelling;
      stored.cancelling_s = files_.now();
    }
    card = stored;
  }
  if (const absl::Status status = save(key); !status.ok()) {
    spdlog::error("batches: {}", std::string(status.message()));  // it is cancelled all the same, unless we end now
  }
  changed_();
  return card;
}

std::vector<BatchKey> BatchStore::unfinished() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::pair<const BatchCard*, const std::string*>> found;
  for (const auto& [tenant, cards] : tenants_) {
    for (const auto& [id, card] : cards) {
      if (!is_final(card.status)) {
        found.emplace_back(&card, &tenant);
      }
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return is_older(*a.first, *b.first); });
  std::vector<BatchKey> keys;
  for (const auto& [card, tenant] : found) {
    keys.push_back({*tenant, card->id});
  }
  return keys;
}

BatchCard BatchStore::change(const BatchKey& key, const Change& change) {
  const std::lock_guard<std::mutex> lock(mutex_);
  BatchCard& card = tenants_[key.tenant].at(key.id);
  change(card);
  return card;
}

// REQUIRES: disk_mutex_.
absl::Status BatchStore::write(const std::string& tenant, const BatchCard& card) {
  COPPICE_ASSIGN_OR_RETURN(const std::shared_ptr<const base::Folder> folder, files_.folder(tenant));
  const std::string text = openai::write_batch_record(card);
  const std::array<std::string_view, 1> parts = {text};
  return folder->replace(file_name(card.id), parts);
}

absl::Status BatchStore::save(const BatchKey& key) {
  const std::lock_guard<std::mutex> disk_lock(disk_mutex_);
  const openai::Result<BatchCard> card = find(key);
  return card.ok() ? write(key.tenant, card.value()) : absl::OkStatus();
}

void BatchStore::conclude(const BatchKey& key, const Change& last) {
  const std::lock_guard<std::mutex> disk_lock(disk_mutex_);
  BatchCard card = find(key).value();
  last(card);
  if (const absl::Status status = write(key.tenant, card); !status.ok()) {
    spdlog::error("batches: {}", std::string(status.message()));
  }
  files_.release(key.tenant, card.request.input_file_id);
  const std::lock_guard<std::mutex> lock(mutex_);
  tenants_[key.tenant][key.id] = std::move(card);
}

}  // namespace coppice::server
