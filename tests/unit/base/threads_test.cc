// What stands between threads: the bounded queue and the snapshot; and the slot table.
#include <pthread.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/slot_table.h"
#include "base/snapshot.h"

namespace coppice::base {

TEST_CASE("a full queue refuses and leaves the item alone", "[queue]") {
  BoundedQueue<std::string> queue(2);
  CHECK(queue.is_empty());
  CHECK(queue.try_push("a"));
  CHECK_FALSE(queue.is_empty());
  CHECK(queue.try_push("b"));
  std::string third = "c";
  CHECK_FALSE(queue.try_push(std::move(third)));
  CHECK(third == "c");  // NOLINT(bugprone-use-after-move): that is what is tested
  queue.push("d");
  std::vector<std::string> taken = {"old"};
  queue.take(taken);
  CHECK(taken == std::vector<std::string>{"a", "b", "d"});
  CHECK(queue.is_empty());
  queue.push("e");
  CHECK_FALSE(queue.is_empty());
}

TEST_CASE("many threads push, one takes all, nothing is lost", "[queue]") {
  BoundedQueue<int> queue(1000000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&queue, t] {
      for (int i = 0; i < 1000; ++i) {
        queue.push(t * 1000 + i);
      }
    });
  }
  std::vector<bool> seen(4000, false);
  std::vector<int> taken;
  for (int count = 0; count < 4000;) {
    queue.wait();
    queue.take(taken);
    for (const int item : taken) {
      REQUIRE_FALSE(seen[static_cast<std::size_t>(item)]);
      seen[static_cast<std::size_t>(item)] = true;
      ++count;
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  queue.close();
  queue.wait();  // returns although the queue is empty
}

TEST_CASE("a snapshot is read whole", "[snapshot]") {
  struct Pair {
    std::uint64_t number = 0;
    std::uint64_t twice = 0;
    std::array<std::uint64_t, 20> more{};
  };
  Snapshot<Pair> snapshot;
  std::thread writer([&snapshot] {
    Pair pair;
    for (std::uint64_t i = 1; i <= 20000; ++i) {
      pair.number = i;
      pair.twice = 2 * i;
      pair.more.fill(i);
      snapshot.publish(pair);
    }
  });
  std::uint64_t last = 0;
  bool torn = false;
  while (last < 20000) {
    const Pair pair = snapshot.read();
    torn = torn || pair.twice != 2 * pair.number || pair.more.back() != pair.number || pair.number < last;
    last = pair.number;
  }
  writer.join();
  CHECK_FALSE(torn);
}

namespace {

std::atomic<bool> is_held{false};
std::atomic<int> held_count{0};
std::atomic<int> freed_count{0};

// Stands still wherever the signal meets the thread.
void hold_thread(int /*signal*/) {
  held_count.fetch_add(1);
  while (is_held.load()) {
  }
  freed_count.fetch_add(1);
}

}  // namespace

TEST_CASE("a reader does not wait for a writer that stands still while it publishes", "[snapshot]") {
  struct Large {
    std::array<std::uint64_t, 4096> numbers;
  };
  const auto snapshot = std::make_unique<Snapshot<Large>>();
  std::signal(SIGUSR1, hold_thread);
  std::atomic<bool> is_over{false};
  std::thread writer([&] {
    Large value{};
    while (!is_over) {
      value.numbers.fill(value.numbers[0] + 1);
      snapshot->publish(value);
    }
  });
  int torn = 0;
  for (int round = 1; round <= 20; ++round) {  // the writer spends most of its time in publish()
    is_held = true;
    pthread_kill(writer.native_handle(), SIGUSR1);
    while (held_count.load() < round) {
    }
    std::future<Large> read = std::async(std::launch::async, [&] { return snapshot->read(); });
    const bool is_read = read.wait_for(std::chrono::seconds(10)) == std::future_status::ready;
    is_held = false;
    const Large value = read.get();
    torn += value.numbers.front() == value.numbers.back() ? 0 : 1;
    while (freed_count.load() < round) {
    }
    REQUIRE(is_read);
  }
  is_over = true;
  writer.join();
  std::signal(SIGUSR1, SIG_DFL);
  CHECK(torn == 0);
}

TEST_CASE("an empty slot table gives its memory back and begins anew", "[slots]") {
  SlotTable<std::string> table;
  for (int i = 0; i < 100; ++i) {
    table.take();
  }
  for (int i = 0; i < 100; ++i) {
    table.release(i);
  }
  CHECK(table.slots() == 100);
  table.shrink();
  CHECK(table.slots() == 0);
  CHECK_FALSE(table.is_live(0));
  CHECK(table.take() == 0);
  CHECK(table.live() == 1);
}

TEST_CASE("slots are reused and addresses stay", "[slots]") {
  SlotTable<std::string> table;
  const std::int32_t a = table.take();
  const std::int32_t b = table.take();
  table[a] = "first";
  const std::string* address = &table[a];
  for (int i = 0; i < 1000; ++i) {
    table.take();
  }
  CHECK(&table[a] == address);
  CHECK(table.live() == 1002);
  table.release(b);
  CHECK_FALSE(table.is_live(b));
  CHECK(table.take() == b);
  CHECK(table[b].empty());
  CHECK_FALSE(table.is_live(-1));
}

}  // namespace coppice::base
