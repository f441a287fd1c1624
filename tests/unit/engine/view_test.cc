// What people see of an engine: who shares which node, how far each sequence is.
#include "engine/view.h"

#include <catch2/catch.hpp>
#include <memory>
#include <numeric>
#include <string>

#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

// Whole pages of one text, then tokens of the request's own.
engine::Request request_of(engine::RequestId id, const std::string& tenant, std::int32_t shared, std::int32_t own) {
  engine::Request request = FakeEngine::request(id, shared + own, 8, 1);
  request.tenant = tenant;
  std::fill(request.prompt.begin(), request.prompt.begin() + shared, 5);
  std::fill(request.prompt.begin() + shared, request.prompt.end(), 10 + static_cast<TokenId>(id % 40));
  request.prompt[static_cast<std::size_t>(shared)] = 10 + static_cast<TokenId>(id / 40);
  return request;
}

engine::EngineView look(FakeEngine& fake) {
  (void)fake.core().view();
  fake.step();
  const std::shared_ptr<const engine::EngineView> seen = fake.core().view();
  REQUIRE(seen != nullptr);
  return *seen;
}

TEST_CASE("a view shows sharers at their node, and a tenant's nodes under its root", "[engine][view]") {
  FakeEngine fake;
  CHECK(fake.core().view() == nullptr);
  fake.step();
  CHECK(fake.core().view()->nodes.empty());
  fake.submit(request_of(1, "a", 32, 20));
  for (int i = 0; i < 3; ++i) {
    fake.step();  // its prompt is in the cache
  }
  fake.submit(request_of(2, "a", 32, 20));
  fake.submit(request_of(3, "b", 32, 20));
  for (int i = 0; i < 3; ++i) {
    fake.step();
  }
  const engine::EngineView view = look(fake);
  REQUIRE(view.sequences.size() == 3);
  CHECK(view.sequences_total == 3);
  CHECK(view.nodes_total == static_cast<std::int32_t>(view.nodes.size()));
  std::int32_t shared = 0;
  for (const engine::ViewNode& node : view.nodes) {
    if (node.parent == engine::kNoViewNode) {
      CHECK(node.pages == 0);
      CHECK(node.locks == (view.tenants[static_cast<std::size_t>(node.tenant)] == "a" ? 2 : 1));
    } else if (node.locks == 2) {
      ++shared;
      CHECK(node.pages == 2);
      CHECK(node.hits == 1);
    }
  }
  CHECK(shared == 1);
  for (const engine::ViewSequence& sequence : view.sequences) {
    CHECK(sequence.is_running);
    CHECK(sequence.prompt_tokens == 52);
    CHECK(sequence.cached_tokens == (sequence.request == 2 ? 32 : 0));
    CHECK(sequence.computed_tokens >= 52);
    CHECK(sequence.output_tokens > 0);
    REQUIRE(sequence.node != engine::kNoViewNode);
    CHECK(view.nodes[static_cast<std::size_t>(sequence.node)].tenant == sequence.tenant);
    CHECK(view.tenants[static_cast<std::size_t>(sequence.tenant)] == (sequence.request == 3 ? "b" : "a"));
  }
  fake.run();
  const engine::EngineView after = look(fake);
  CHECK(after.sequences.empty());
  CHECK(std::all_of(after.nodes.begin(), after.nodes.end(), [](const auto& node) { return node.locks == 0; }));
}

TEST_CASE("a view is bounded, and keeps what is above what it shows", "[engine][view]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 1024;
  limits.queued_max = 1000;
  FakeEngine fake(limits);
  for (engine::RequestId id = 1; id <= 400; ++id) {
    fake.submit(request_of(id, "", 16, 17));
  }
  fake.step();
  CHECK(look(fake).sequences.size() == 256);
  CHECK(look(fake).sequences_total > 256);
  fake.run();
  const engine::EngineView view = look(fake);
  CHECK(view.nodes_total > 256);
  CHECK(view.nodes.size() >= 256);
  CHECK(view.nodes.size() <= 258);  // with the root and the node that all share
  for (std::size_t i = 0; i < view.nodes.size(); ++i) {
    CHECK(view.nodes[i].parent < static_cast<std::int32_t>(i));
  }
}

}  // namespace
}  // namespace coppice::testing
