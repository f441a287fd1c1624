// BatchStore: the batches that clients have created, each tenant's for itself: their cards in memory, and on disk, in
// the tenant's folder of the FileStore, as batch_ID.json. A card is written when its status changes; what changes with
// every answer follows from the answers' files.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "proto/openai/batches.h"
#include "proto/openai/files.h"
#include "server/files/file_store.h"

namespace coppice::server {

// Names one batch.
struct BatchKey {
  std::string tenant;
  std::string id;
};

// Owner: the app; outlives front ends and runner. Thread: any.
class BatchStore {
 public:
  // Reads the batches that are there and holds the input of those that have not ended. Drops content that neither a
  // card nor such a batch has. REQUIRES: `files` outlives the store; called before the first file is added.
  explicit BatchStore(FileStore& files);

  // Called after create() and cancel(), on their thread. REQUIRES: neither runs meanwhile.
  void set_listener(std::function<void()> changed) { changed_ = std::move(changed); }

  // ERRORS: 400 for an endpoint or a file that cannot be; 404 for a file that is not there; 429 when the tenant has as
  // many batches as may wait; 500.
  openai::Result<openai::BatchCard> create(const std::string& tenant, openai::BatchRequest request,
                                           const std::string& model);
  // ERRORS: 404.
  openai::Result<openai::BatchCard> find(const BatchKey& key) const;
  // What the runner looks at often. REQUIRES: it is there.
  struct State {
    openai::BatchStatus status;
    std::int64_t expires_s;
  };
  State state_of(const BatchKey& key) const;
  // `query.limit` and one more: whether there are more. ERRORS: 400 when query.after is no batch of the tenant's.
  openai::Result<std::vector<openai::BatchCard>> list(const std::string& tenant, const openai::ListQuery& query) const;
  // Lines that run are cut off; the answers until then are kept. ERRORS: 404; 400 when it has ended.
  openai::Result<openai::BatchCard> cancel(const BatchKey& key);

  // For the runner. Batches that have not ended, in order of creation.
  std::vector<BatchKey> unfinished() const;
  // Changes the card in memory; returns it as it is then. REQUIRES: it is there.
  using Change = std::function<void(openai::BatchCard& card)>;
  openai::BatchCard change(const BatchKey& key, const Change& change);
  // Writes the card as it is to disk. ERRORS: as FileStore::adopt.
  absl::Status save(const BatchKey& key);
  // The last change, which ends the batch: on disk first, then clients see it and its input is given back. What cannot
  // be written is logged; the batch then ends again after the next start.
  void conclude(const BatchKey& key, const Change& last);

 private:
  using Cards = std::map<std::string, openai::BatchCard>;

  void read_tenant(const std::string& tenant);
  const openai::BatchCard* card_of(const BatchKey& key) const;
  openai::MaybeError check_room(const std::string& tenant) const;
  void forget_oldest(const std::string& tenant);
  absl::Status write(const std::string& tenant, const openai::BatchCard& card);

  FileStore& files_;
  std::function<void()> changed_ = [] {};
  std::mutex disk_mutex_;  // one card is written at a time; taken before mutex_
  mutable std::mutex mutex_;
  std::map<std::string, Cards> tenants_;  // guarded by mutex_
};

}  // namespace coppice::server
