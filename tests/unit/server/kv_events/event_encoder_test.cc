// KV events in MessagePack: exactly the keys and types that strict readers take.
#include "server/kv_events/event_encoder.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace coppice::server {
namespace {

using engine::CacheChange;
using nlohmann::json;

constexpr std::uint64_t kLargeHash = 0xfedcba9876543210U;  // more than a signed number holds

json encode(std::vector<CacheChange> changes) {
  KvEventBatch batch;
  batch.sequence = 7;
  batch.unix_s = 1.5;
  batch.changes = std::move(changes);
  const std::string bytes = encode_batch(batch, 2, [](std::string_view tenant) { return tenant.empty(); });
  return json::from_msgpack(bytes);
}

std::set<std::string> keys_of(const json& event) {
  std::set<std::string> keys;
  for (const auto& [key, value] : event.items()) {
    keys.insert(key);
  }
  return keys;
}

TEST_CASE("a batch is its time and its events, each with the keys that readers know", "[kv_events]") {
  const json batch =
      encode({{.kind = CacheChange::Kind::kCleared, .tenant = {}, .parent = {}, .blocks = {}},
              {.kind = CacheChange::Kind::kStored,
               .tenant = "",
               .parent = kLargeHash,
               .blocks = {1, kLargeHash},
               .tokens = {10, 11, 12, 70000}},
              {.kind = CacheChange::Kind::kRemoved, .tenant = "", .parent = {}, .blocks = {kLargeHash}}});
  REQUIRE(batch.is_array());
  REQUIRE(batch.size() == 2);
  CHECK(batch[0] == 1.5);
  REQUIRE(batch[1].size() == 3);
  CHECK(batch[1][0] == json({{"type", "AllBlocksCleared"}}));
  const json& stored = batch[1][1];
  CHECK((keys_of(stored) == std::set<std::string>{"type", "block_hashes", "parent_block_hash", "token_ids",
                                                  "block_size", "lora_id", "medium", "lora_name"}));
  CHECK(stored["type"] == "BlockStored");
  CHECK(stored["block_hashes"][0].is_number_unsigned());
  CHECK(stored["block_hashes"][1].get<std::uint64_t>() == kLargeHash);
  CHECK(stored["parent_block_hash"].get<std::uint64_t>() == kLargeHash);
  CHECK((stored["token_ids"] == json({10, 11, 12, 70000})));
  CHECK(stored["block_size"] == 2);
  CHECK(stored["lora_id"].is_null());
  CHECK(stored["lora_name"].is_null());
  CHECK(stored["medium"] == "GPU");
  CHECK((batch[1][2] == json({{"type", "BlockRemoved"}, {"block_hashes", {kLargeHash}}, {"medium", "GPU"}})));
}

TEST_CASE("the first block of a prompt has no parent", "[kv_events]") {
  const json batch =
      encode({{.kind = CacheChange::Kind::kStored, .tenant = "", .parent = {}, .blocks = {5}, .tokens = {1, 2}}});
  CHECK(batch[1][0].at("parent_block_hash").is_null());
}

TEST_CASE("blocks that only some requests find have an extra key each, which is not the salt", "[kv_events]") {
  const json batch =
      encode({{.kind = CacheChange::Kind::kStored,
               .tenant = "|secret",
               .parent = {},
               .blocks = {5, 6},
               .tokens = {1, 2, 3, 4}},
              {.kind = CacheChange::Kind::kStored, .tenant = "|other", .parent = {}, .blocks = {7}, .tokens = {1, 2}}});
  const json keys = batch[1][0].at("extra_keys");
  REQUIRE(keys.size() == 2);
  CHECK(keys[0].is_array());
  CHECK(keys[0] == keys[1]);
  CHECK(keys[0] != batch[1][1].at("extra_keys")[0]);
  CHECK(batch.dump().find("secret") == std::string::npos);
}

}  // namespace
}  // namespace coppice::server
