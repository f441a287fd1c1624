// Places of calls: all, a tenant's, and that they come back.
#include "server/grpc/call_table.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

namespace coppice::server {
namespace {

TEST_CASE("a tenant has half of the places at most, all tenants have all") {
  CallTable table(4);
  grpc::CallbackServerContext context;
  std::vector<std::unique_ptr<CallTable::Place>> places;
  places.push_back(table.enter("a", context));
  places.push_back(table.enter("a", context));
  CHECK(places[0] != nullptr);
  CHECK(places[1] != nullptr);
  CHECK(table.enter("a", context) == nullptr);
  places.push_back(table.enter("b", context));
  places.push_back(table.enter("c", context));
  CHECK(places[3] != nullptr);
  CHECK(table.enter("d", context) == nullptr);
  CHECK(table.alive() == 4);
  places.erase(places.begin());
  CHECK(table.enter("a", context) != nullptr);
  places.clear();
  CHECK(table.alive() == 0);
}

TEST_CASE("where there are no keys, callers have all places") {
  CallTable table(2);
  grpc::CallbackServerContext context;
  const auto first = table.enter("", context);
  const auto second = table.enter("", context);
  CHECK(second != nullptr);
  CHECK(table.enter("", context) == nullptr);
}

TEST_CASE("a call that has left, and one whose client reads, is never cancelled") {
  CallTable table(2);
  grpc::CallbackServerContext context;  // to cancel it would end the test: it has no call
  const auto gone = table.enter("", context);
  gone->entry().waits_for_client(true);
  gone->entry().leave();
  const auto read = table.enter("", context);
  read->entry().waits_for_client(true);
  read->entry().waits_for_client(false);
  const auto young = std::make_unique<CallTable>(1);
  const auto waits = young->enter("", context);
  waits->entry().waits_for_client(true);
  table.cancel_unread(std::chrono::milliseconds(0), CallTable::Clock::now() + std::chrono::hours(1));
  young->cancel_unread(std::chrono::hours(1));
  CHECK(table.alive() == 2);
}

TEST_CASE("calls without an end are not waited for") {
  CallTable table(8);
  grpc::CallbackServerContext context;
  auto stream = table.enter("a", context);
  const auto answer = table.enter("b", context);
  CHECK(table.ending() == 2);
  stream->goes_on_for_ever();
  CHECK(table.alive() == 2);
  CHECK(table.ending() == 1);
  stream.reset();
  CHECK(table.alive() == 1);
  CHECK(table.ending() == 1);
}

}  // namespace
}  // namespace coppice::server
