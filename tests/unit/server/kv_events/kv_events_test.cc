// The stream itself, over real sockets: what is published and replayed, and that no one has to read it.
#include "server/kv_events/kv_events.h"

#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/sanitized.h"

namespace coppice::server {
namespace {

using engine::CacheChange;
using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::int32_t kPageSize = 2;

CacheChange stored(engine::BlockHash first, std::size_t blocks = 1) {
  CacheChange change{.kind = CacheChange::Kind::kStored, .tenant = {}, .parent = {}, .blocks = {}};
  for (std::size_t i = 0; i < blocks; ++i) {
    change.blocks.push_back(first + i);
  }
  change.tokens.assign(blocks * kPageSize, 1);
  return change;
}

// A reader's socket.
class Peer {
 public:
  Peer(int type, const std::string& endpoint) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, type)) {
    const int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
    if (type == ZMQ_SUB) {
      zmq_setsockopt(socket_, ZMQ_SUBSCRIBE, "", 0);
    }
    REQUIRE(zmq_connect(socket_, endpoint.c_str()) == 0);
  }
  ~Peer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void send(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      REQUIRE(zmq_send(socket_, frames[i].data(), frames[i].size(), i + 1 < frames.size() ? ZMQ_SNDMORE : 0) >= 0);
    }
  }
  // The frames of a message; none if none comes.
  std::vector<std::string> receive(std::chrono::milliseconds patience) {
    zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
    std::vector<std::string> frames;
    if (zmq_poll(&item, 1, patience.count()) <= 0) {
      return frames;
    }
    int more = 1;
    std::size_t size = sizeof(more);
    while (more != 0) {
      std::string frame(1 << 16, '\0');
      const int length = zmq_recv(socket_, frame.data(), frame.size(), 0);
      REQUIRE(length >= 0);
      frame.resize(static_cast<std::size_t>(length));
      frames.push_back(frame);
      zmq_getsockopt(socket_, ZMQ_RCVMORE, &more, &size);
    }
    return frames;
  }

 private:
  void* context_;
  void* socket_;
};

std::unique_ptr<KvEvents> open_events(const ApiKeys& keys, std::size_t memory = 1 << 20) {
  auto events = KvEvents::open({.address = "tcp://127.0.0.1:0", .memory_bytes = memory}, keys);
  REQUIRE(events.ok());
  (*events)->queue()->make_room(100'000);
  REQUIRE((*events)->start(kPageSize).ok());
  return *std::move(events);
}

std::string sequence_frame(std::uint64_t sequence) {
  std::string frame;
  for (int shift = 56; shift >= 0; shift -= 8) {
    frame += static_cast<char>(sequence >> shift);
  }
  return frame;
}

void wait_for(const KvEvents& events, std::uint64_t batches) {
  for (int i = 0; i < 5000 && events.log().next() < batches; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  REQUIRE(events.log().next() >= batches);
}

TEST_CASE("addresses to publish at", "[kv_events]") {
  CHECK(parse_zmq_address("tcp://127.0.0.1:5557")->port == 5557);
  CHECK(parse_zmq_address("tcp://*:0")->host == "*");
  CHECK(parse_zmq_address("tcp://[::1]:5557")->host == "[::1]");
  for (const char* bad : {"", "tcp://", "tcp://x", "tcp://:1", "tcp://x:", "tcp://x:65535", "tcp://x:-1", "tcp://x:1y",
                          "udp://x:1", "on"}) {
    CHECK_FALSE(parse_zmq_address(bad).ok());
  }
}

TEST_CASE("what comes is published, numbered, behind a first event that says that the cache is empty", "[kv_events]") {
  const ApiKeys keys;
  const std::unique_ptr<KvEvents> events = open_events(keys);
  wait_for(*events, 1);
  CHECK(events->log().find(0)->changes.at(0).kind == CacheChange::Kind::kCleared);
  Peer reader(ZMQ_SUB, events->feed()->endpoint());
  std::vector<std::string> frames;
  engine::BlockHash block = 1;
  while (frames.empty()) {  // until the subscription has arrived
    REQUIRE(events->queue()->append({stored(++block)}));
    frames = reader.receive(milliseconds(20));
  }
  REQUIRE(frames.size() == 3);
  CHECK(frames[0].empty());
  const json batch = json::from_msgpack(frames[2]);
  const auto number = static_cast<std::uint64_t>(static_cast<unsigned char>(frames[1].back()));
  CHECK(frames[1] == sequence_frame(number));
  CHECK(batch[1][0]["block_hashes"][0].get<std::uint64_t>() == events->log().find(number)->changes.at(0).blocks.at(0));
}

TEST_CASE("who missed something gets it again, from the number that is asked for", "[kv_events]") {
  const ApiKeys keys;
  const std::unique_ptr<KvEvents> events = open_events(keys);
  for (engine::BlockHash i = 1; i < 10; ++i) {
    REQUIRE(events->queue()->append({stored(i)}));
    wait_for(*events, i + 1);
  }
  for (const bool has_empty_frame : {true, false}) {
    Peer reader(ZMQ_DEALER, events->feed()->replay_endpoint());
    std::vector<std::string> envelope;
    if (has_empty_frame) {
      envelope.emplace_back();
    }
    std::vector<std::string> request = envelope;
    request.push_back(sequence_frame(4));
    reader.send(request);
    for (std::uint64_t number = 4; number < 10; ++number) {
      const std::vector<std::string> frames = reader.receive(milliseconds(5'000));
      REQUIRE(frames.size() == envelope.size() + 3);
      CHECK(frames[frames.size() - 2] == sequence_frame(number));
      CHECK(json::from_msgpack(frames.back())[1][0]["block_hashes"][0] == number);
    }
    const std::vector<std::string> end = reader.receive(milliseconds(5'000));
    REQUIRE(end.size() == envelope.size() + 3);
    CHECK(end[end.size() - 2] == std::string(8, '\xff'));
    CHECK(end.back().empty());
  }
}

TEST_CASE("a nonsense request for a replay is passed over", "[kv_events]") {
  const ApiKeys keys;
  const std::unique_ptr<KvEvents> events = open_events(keys);
  Peer reader(ZMQ_DEALER, events->feed()->replay_endpoint());
  reader.send({"", "seven"});
  reader.send({"a", "b", "c", "d"});
  reader.send({"", sequence_frame(~std::uint64_t{0})});
  const std::vector<std::string> end = reader.receive(milliseconds(5'000));
  REQUIRE(end.size() == 4);
  CHECK(end[2] == std::string(8, '\xff'));
}

// Bytes of this process in memory.
std::int64_t resident_bytes() {
  std::int64_t pages = 0;
  std::int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * 4096;
}

TEST_CASE("a reader that does not read holds no one up, and costs no more than its bound", "[kv_events]") {
  constexpr std::uint64_t kBatches = test::kIsSanitized ? 300 : 3000;
  constexpr std::size_t kBlocks = 2048;  // some 22 KB each: 66 MB in all, of which a part may wait
  constexpr std::size_t kLogBytes = 1 << 20;
  const ApiKeys keys;
  const std::unique_ptr<KvEvents> events = open_events(keys, kLogBytes);
  const Peer idle(ZMQ_SUB, events->feed()->endpoint());
  Peer replayed(ZMQ_DEALER, events->feed()->replay_endpoint());
  replayed.send({"", sequence_frame(0)});
  std::int64_t before = 0;
  for (std::uint64_t i = 1; i <= kBatches; ++i) {
    CacheChange gone = stored((i - 1) * kBlocks, kBlocks);
    gone.kind = CacheChange::Kind::kRemoved;
    while (
        !events->queue()->append({gone, stored(i * kBlocks, kBlocks)})) {  // the engine would not wait but begin anew
      std::this_thread::sleep_for(milliseconds(1));
    }
    if (i == 100) {
      before = resident_bytes();
    }
  }
  events->close();
  const KvEventBatchPointer last = events->log().find(events->log().next() - 1);
  CHECK(last->changes.back().blocks.front() == kBatches * kBlocks);
  CHECK(events->log().bytes() <= kLogBytes);
  if (!test::kIsSanitized) {  // which keep what was freed
    CHECK(resident_bytes() - before < 48'000'000);
  }
}

TEST_CASE("prefixes of salts, and of one of several keys, are not everyone's", "[kv_events]") {
  const ApiKeys none;
  const auto open = KvEvents::open({.address = "grpc"}, none);
  REQUIRE(open.ok());
  CHECK((*open)->is_shared(""));
  CHECK_FALSE((*open)->is_shared("|salt"));
  CHECK((*open)->feed() == nullptr);

  const auto one = ApiKeys::parse("a-key-of-its-own\n", "keys");
  REQUIRE(one.ok());
  const auto with_one = KvEvents::open({.address = "grpc"}, *one);
  CHECK((*with_one)->is_shared(tenant_of_key("a-key-of-its-own")));
  CHECK_FALSE((*with_one)->is_shared(tenant_of(tenant_of_key("a-key-of-its-own"), "salt")));

  const auto two = ApiKeys::parse("a-key-of-its-own\nanother-key\n", "keys");
  REQUIRE(two.ok());
  const auto with_two = KvEvents::open({.address = "grpc"}, *two);
  CHECK_FALSE((*with_two)->is_shared(tenant_of_key("another-key")));
}

// Kinds of the changes of the batches from `first` on, in words: "c" cleared, "s" stored, "r" removed, a letter a
// block.
std::string kinds_from(const KvEvents& events, std::uint64_t first) {
  std::string kinds;
  while (const KvEventBatchPointer batch = events.log().find(first)) {
    for (const CacheChange& change : batch->changes) {
      const char kind = "src"[static_cast<std::size_t>(change.kind)];
      kinds += std::string(std::max<std::size_t>(change.blocks.size(), 1), kind);
    }
    first = batch->sequence + 1;
  }
  return kinds;
}

TEST_CASE("a key that is valid no longer shares nothing, and all is told anew when keys change", "[kv_events]") {
  auto keys = ApiKeys::parse("a-key-of-its-own\n", "keys");
  REQUIRE(keys.ok());
  const std::string tenant = tenant_of_key("a-key-of-its-own");
  const std::unique_ptr<KvEvents> events = open_events(*keys);
  CacheChange change = stored(10, 3);
  change.tenant = tenant;
  REQUIRE(events->queue()->append({change}));
  wait_for(*events, 2);
  CHECK(events->is_shared(tenant));
  std::atomic<int> woken{0};
  const std::uint64_t listener = events->log().add_listener([&woken] { ++woken; });
  (void)keys->replace(*ApiKeys::parse("the-next-key\n", "keys"));
  CHECK_FALSE(events->is_shared(tenant));
  events->keys_changed();
  CHECK(woken >= 1);  // at once: streams of keys that are gone end
  wait_for(*events, 3);
  events->log().remove_listener(listener);
  CHECK(kinds_from(*events, 2) == "csss");
  const KvSnapshot held = events->snapshot();
  CHECK(held.blocks.size() == 3);
  CHECK(held.next == 3);
}

TEST_CASE("a replay has all that is held, though its beginning is remembered no longer", "[kv_events]") {
  const ApiKeys keys;
  const std::unique_ptr<KvEvents> events = open_events(keys, 20'000);
  std::uint64_t told = 1;
  for (engine::BlockHash block = 1; block < 500; ++block) {  // of which five are held at any time
    CacheChange gone = stored(block - 5);
    gone.kind = CacheChange::Kind::kRemoved;
    REQUIRE(events->queue()->append(block > 5 ? std::vector{gone, stored(block)} : std::vector{stored(block)}));
    wait_for(*events, ++told);
  }
  events->close();
  CHECK(events->log().oldest() > 0);
  const std::string kinds = kinds_from(*events, 0);
  REQUIRE(kinds.find('c') != std::string::npos);
  CHECK(kinds.compare(kinds.rfind('c'), 6, "csssss") == 0);
  CHECK(std::count(kinds.begin(), kinds.end(), 'c') == 1);  // no more often than it must
  CHECK(events->snapshot().blocks.size() == 5);
}

}  // namespace
}  // namespace coppice::server
