// KV events as routers read them: MessagePack in the form of vLLM's KV events.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "server/kv_events/kv_event_log.h"

namespace coppice::server {

// Whether any request may find the prefixes of this tenant. Others are marked, so that no router expects a hit there.
using IsShared = std::function<bool(std::string_view tenant)>;

// [time, [events]]: BlockStored, BlockRemoved and AllBlocksCleared as maps with a "type" and exactly the keys that
// strict readers know. Blocks of tenants that are not shared have extra keys: the tenant's root hash in hexadecimal,
// which says that they differ and not by what.
std::string encode_batch(const KvEventBatch& batch, std::int32_t page_size, const IsShared& is_shared);

}  // namespace coppice::server
