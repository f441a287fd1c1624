// A batch as MessagePack, by nlohmann/json.
#include "server/kv_events/event_encoder.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace coppice::server {
namespace {

using engine::CacheChange;
using nlohmann::json;

// Where the blocks are. Routers know "GPU" as the place that requests are served from; what it is made of they do not
// ask.
constexpr const char* kMedium = "GPU";

json stored_event(const CacheChange& change, std::int32_t page_size, bool is_shared) {
  json event = {{"type", "BlockStored"},      {"block_hashes", change.blocks}, {"parent_block_hash", nullptr},
                {"token_ids", change.tokens}, {"block_size", page_size},       {"lora_id", nullptr},
                {"medium", kMedium},          {"lora_name", nullptr}};
  if (change.parent) {
    event["parent_block_hash"] = *change.parent;
  }
  if (!is_shared) {
    const json keys = json::array({fmt::format("{:016x}", engine::root_hash(change.tenant))});
    event["extra_keys"] = json(change.blocks.size(), keys);
  }
  return event;
}

json event_of(const CacheChange& change, std::int32_t page_size, const IsShared& is_shared) {
  switch (change.kind) {
    case CacheChange::Kind::kStored:
      return stored_event(change, page_size, is_shared(change.tenant));
    case CacheChange::Kind::kRemoved:
      return {{"type", "BlockRemoved"}, {"block_hashes", change.blocks}, {"medium", kMedium}};
    case CacheChange::Kind::kCleared:
      break;
  }
  return {{"type", "AllBlocksCleared"}};
}

}  // namespace

std::string encode_batch(const KvEventBatch& batch, std::int32_t page_size, const IsShared& is_shared) {
  json events = json::array();
  for (const CacheChange& change : batch.changes) {
    events.push_back(event_of(change, page_size, is_shared));
  }
  std::string bytes;
  json::to_msgpack(json::array({batch.unix_s, std::move(events)}), bytes);
  return bytes;
}

}  // namespace coppice::server
