// One lock; what is destroyed under it is memory alone. Runs are stopped after it is given back.
#include "server/stored/response_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace coppice::server {
namespace {

constexpr std::size_t kEntryBytes = 512;  // nodes, ids and strings' own blocks
constexpr int kRetryAfterSeconds = 5;     // a background response takes seconds

}  // namespace

struct ResponseStore::Entry {
  std::string object;
  MeteredBytes bytes;  // of the object
  TurnPointer turn;
  Clock::time_point used;
  Order::iterator place;       // in the tenant's order; only when it does not run
  std::optional<Running> run;  // it runs
  bool is_background = false;
};

struct ResponseStore::Tenant {
  explicit Tenant(std::shared_ptr<MemoryMeter> above) : meter(std::make_shared<MemoryMeter>(std::move(above))) {}

  // 0: all that is left runs.
  std::size_t droppable_bytes() const { return order.empty() ? 0 : meter->bytes(); }

  std::shared_ptr<MemoryMeter> meter;
  std::map<std::string, Entry> entries;
  Order order;  // of those that do not run; the one that was used last comes first
};

// A long conversation is a long chain: it goes link by link, not by a call inside a call.
StoredTurn::~StoredTurn() {
  std::shared_ptr<const StoredTurn> next = std::move(previous);
  while (next != nullptr && next.use_count() == 1) {
    std::shared_ptr<const StoredTurn> after = std::move(next->previous);
    next = std::move(after);
  }
}

ResponseStore::ResponseStore(const ResponseStoreLimits& limits, std::function<Clock::time_point()> now)
    : limits_(limits), now_(std::move(now)) {}

ResponseStore::~ResponseStore() = default;

ResponseStore::Tenant& ResponseStore::tenant_at(const std::string& name) {
  std::unique_ptr<Tenant>& tenant = tenants_[name];
  if (tenant == nullptr) {
    tenant = std::make_unique<Tenant>(meter_);
  }
  return *tenant;
}

ResponseStore::Entry* ResponseStore::entry_at(const std::string& tenant, const std::string& id) {
  const auto owner = tenants_.find(tenant);
  if (owner == tenants_.end()) {
    return nullptr;
  }
  const auto found = owner->second->entries.find(id);
  return found == owner->second->entries.end() ? nullptr : &found->second;
}

void ResponseStore::drop_if_empty(const std::string& name) {
  const auto found = tenants_.find(name);
  if (found != tenants_.end() && found->second->entries.empty()) {
    tenants_.erase(found);
  }
}

bool ResponseStore::could_hold(std::size_t bytes) const {
  return bytes <= limits_.tenant_bytes && bytes <= limits_.server_bytes && limits_.tenant_responses > 0;
}

// False: all that is left runs.
bool ResponseStore::drop_oldest(Tenant& tenant) {
  if (tenant.order.empty()) {
    return false;
  }
  tenant.entries.erase(tenant.order.back());
  tenant.order.pop_back();
  return true;
}

// For one more of `tenant`. When the server's part is full, the tenant that has most gives. False: there is none to be
// had, because runs, or the conversation that goes on, hold it.
bool ResponseStore::make_room(Tenant& tenant, std::size_t bytes) {
  while (tenant.entries.size() >= limits_.tenant_responses || tenant.meter->bytes() + bytes > limits_.tenant_bytes) {
    if (!drop_oldest(tenant)) {
      break;
    }
  }
  while (meter_->bytes() + bytes > limits_.server_bytes) {
    const auto largest = std::max_element(tenants_.begin(), tenants_.end(), [](const auto& a, const auto& b) {
      return a.second->droppable_bytes() < b.second->droppable_bytes();
    });
    if (largest == tenants_.end() || !drop_oldest(*largest->second)) {
      break;
    }
  }
  return tenant.entries.size() < limits_.tenant_responses && tenant.meter->bytes() + bytes <= limits_.tenant_bytes &&
         meter_->bytes() + bytes <= limits_.server_bytes;
}

void ResponseStore::touch(Tenant& tenant, Entry& entry, const std::string& id) {
  entry.used = now_();
  if (!entry.run) {
    tenant.order.erase(entry.place);
    tenant.order.push_front(id);
    entry.place = tenant.order.begin();
  }
}

namespace {

TurnPointer make_turn(const std::shared_ptr<MemoryMeter>& meter, const std::string& id, std::string input,
                      std::string output, TurnPointer previous) {
  auto turn = std::make_shared<StoredTurn>();
  turn->response_id = id;
  turn->bytes = MeteredBytes(meter, input.size() + output.size() + kEntryBytes);
  turn->input = std::move(input);
  turn->output = std::move(output);
  turn->previous = std::move(previous);
  return turn;
}

}  // namespace

void ResponseStore::put(const std::string& tenant, const std::string& id, std::string object, const std::string& input,
                        const std::string& output, TurnPointer previous) {
  const std::size_t bytes = object.size() + input.size() + output.size() + 2 * kEntryBytes;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!could_hold(bytes)) {
    return;
  }
  Tenant& owner = tenant_at(tenant);
  if (!make_room(owner, bytes)) {
    drop_if_empty(tenant);
    return;
  }
  Entry& entry = owner.entries[id];
  entry.turn = make_turn(owner.meter, id, input, output, std::move(previous));
  entry.bytes = MeteredBytes(owner.meter, object.size() + kEntryBytes);
  entry.object = std::move(object);
  entry.used = now_();
  owner.order.push_front(id);
  entry.place = owner.order.begin();
}

openai::MaybeError ResponseStore::begin(const std::string& tenant, const std::string& id, Running running) {
  const std::size_t bytes =
      running.object.size() + running.cancelled_object.size() + running.input.size() + kEntryBytes;
  const std::lock_guard<std::mutex> lock(mutex_);
  Tenant& owner = tenant_at(tenant);
  if (!could_hold(bytes) || !make_room(owner, bytes)) {
    drop_if_empty(tenant);
    openai::ApiError error =
        openai::overloaded("background responses fill the memory for stored ones (--stored-responses); try again later",
                           kRetryAfterSeconds);
    error.code = "response_store_full";
    return error;
  }
  Entry& entry = owner.entries[id];
  entry.bytes = MeteredBytes(owner.meter, bytes);
  entry.object = running.object;
  entry.used = now_();
  entry.run = std::move(running);
  entry.is_background = true;
  return std::nullopt;
}

void ResponseStore::update(const std::string& tenant, const std::string& id, std::string object) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Entry* const entry = entry_at(tenant, id);
  if (entry != nullptr && entry->run) {
    entry->object = std::move(object);
  }
}

void ResponseStore::end(const std::string& tenant, const std::string& id, std::string object,
                        std::optional<std::string> output) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Entry* entry = entry_at(tenant, id);
  if (entry == nullptr || !entry->run) {
    return;
  }
  Tenant& owner = tenant_at(tenant);
  Running run = *std::exchange(entry->run, std::nullopt);
  entry->bytes = MeteredBytes();
  const std::size_t bytes = object.size() + run.input.size() + (output ? output->size() : 0) + 2 * kEntryBytes;
  auto node = owner.entries.extract(id);  // its place is counted, and it is in no order yet
  if (!could_hold(bytes) || !make_room(owner, bytes)) {
    drop_if_empty(tenant);
    return;
  }
  entry = &owner.entries.insert(std::move(node)).position->second;
  entry->bytes = MeteredBytes(owner.meter, object.size() + kEntryBytes);
  entry->object = std::move(object);
  if (output) {
    entry->turn = make_turn(owner.meter, id, std::move(run.input), *std::move(output), std::move(run.previous));
  }
  entry->used = now_();
  owner.order.push_front(id);
  entry->place = owner.order.begin();
}

std::optional<ResponseStore::Found> ResponseStore::find(const std::string& tenant, const std::string& id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Entry* const entry = entry_at(tenant, id);
  if (entry == nullptr) {
    return std::nullopt;
  }
  touch(tenant_at(tenant), *entry, id);
  return Found{entry->object, entry->turn, entry->is_background, entry->run.has_value()};
}

std::optional<ResponseStore::Found> ResponseStore::cancel(const std::string& tenant, const std::string& id) {
  std::function<void()> stop;
  std::optional<Found> found;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Entry* const entry = entry_at(tenant, id);
    if (entry == nullptr) {
      return std::nullopt;
    }
    if (entry->run) {
      Tenant& owner = tenant_at(tenant);
      stop = std::move(entry->run->stop);
      entry->object = std::move(entry->run->cancelled_object);
      entry->bytes = MeteredBytes(owner.meter, entry->object.size() + kEntryBytes);
      entry->run.reset();
      owner.order.push_front(id);
      entry->place = owner.order.begin();
    }
    entry->used = now_();
    found = Found{entry->object, entry->turn, entry->is_background, false};
  }
  if (stop) {
    stop();
  }
  return found;
}

bool ResponseStore::erase(const std::string& tenant, const std::string& id) {
  std::function<void()> stop;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Entry* const entry = entry_at(tenant, id);
    if (entry == nullptr) {
      return false;
    }
    Tenant& owner = tenant_at(tenant);
    if (entry->run) {
      stop = std::move(entry->run->stop);
    } else {
      owner.order.erase(entry->place);
    }
    owner.entries.erase(id);
    drop_if_empty(tenant);
  }
  if (stop) {
    stop();
  }
  return true;
}

void ResponseStore::drop_tenants(std::span<const std::string> tenants) {
  Stops stops;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const std::string& name : tenants) {
      const auto found = tenants_.find(name);
      if (found == tenants_.end()) {
        continue;
      }
      for (auto& [id, entry] : found->second->entries) {
        if (entry.run) {
          stops.push_back(std::move(entry.run->stop));
        }
      }
      tenants_.erase(found);
    }
  }
  for (const std::function<void()>& stop : stops) {
    stop();
  }
}

void ResponseStore::expire() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Clock::time_point oldest = now_() - limits_.time_to_live;
  for (auto tenant = tenants_.begin(); tenant != tenants_.end();) {
    Order& order = tenant->second->order;
    while (!order.empty() && tenant->second->entries.at(order.back()).used < oldest) {
      drop_oldest(*tenant->second);
    }
    tenant = tenant->second->entries.empty() ? tenants_.erase(tenant) : std::next(tenant);
  }
}

std::size_t ResponseStore::responses() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::size_t count = 0;
  for (const auto& [name, tenant] : tenants_) {
    count += tenant->entries.size();
  }
  return count;
}

}  // namespace coppice::server
