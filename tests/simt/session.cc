// Sessions, and the register of global memory.
#include "tests/simt/session.h"

#include <sys/mman.h>

#include <map>

#include "base/check.h"

namespace coppice::simt {
namespace {

Session* current_session = nullptr;

struct Allocation {
  std::size_t bytes;
  bool writable;
  bool mixed;
  std::string name;
};

std::map<std::uintptr_t, Allocation>& allocations() {
  static std::map<std::uintptr_t, Allocation> all;
  return all;
}

// The allocation that was hit last: accesses come in runs.
struct Recent {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  bool writable = false;
  bool mixed = false;
};
Recent recent;

}  // namespace

Session::Session(const Options& options) : machine_(options) {
  COPPICE_CHECK(current_session == nullptr, "one session at a time");
  current_session = this;
}
Session::~Session() {
  current_session = nullptr;
}
Session* Session::current() {
  return current_session;
}

std::string Session::report() const {
  std::string text;
  for (const std::string& violation : violations()) {
    text += violation + "\n";
  }
  return text;
}

void FreeMemory::operator()(std::byte* memory) const {
  if (bytes > kSparseBytes) {
    munmap(memory, bytes);
  } else {
    delete[] memory;
  }
}

Memory take_memory(std::size_t bytes) {
  if (bytes <= kSparseBytes) {
    return {new std::byte[bytes], {bytes}};
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  COPPICE_CHECK(memory != MAP_FAILED, "no addresses for a sparse buffer");
  return {static_cast<std::byte*>(memory), {bytes}};
}

void GlobalMemory::add(const void* data, std::size_t bytes, bool writable, const std::string& name, bool mixed) {
  allocations()[reinterpret_cast<std::uintptr_t>(data)] = {bytes, writable, mixed, name};
  recent = {};
}

void GlobalMemory::remove(const void* data) {
  allocations().erase(reinterpret_cast<std::uintptr_t>(data));
  recent = {};
}

void GlobalMemory::freeze(const void* data) {
  allocations().at(reinterpret_cast<std::uintptr_t>(data)).writable = false;
  recent = {};
}

void GlobalMemory::check(const void* address, std::size_t bytes, std::size_t alignment, bool write) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  Machine& machine = Machine::current();
  const auto fail = [&](const std::string& what) {
    machine.fail("bad access", "thread " + std::to_string(machine.thread().index) + what);
  };
  if (begin % alignment != 0) {
    fail(" makes a misaligned access of " + std::to_string(bytes) + " bytes");
  }
  if (begin < recent.begin || begin + bytes > recent.end) {
    auto found = allocations().upper_bound(begin);
    if (found == allocations().begin()) {
      fail(" is out of bounds: an access below every buffer");
    }
    --found;
    const std::uintptr_t end = found->first + found->second.bytes;
    if (begin + bytes > end) {
      fail(" is out of bounds: " + std::to_string(bytes) + " bytes at offset " + std::to_string(begin - found->first) +
           " of " + found->second.name + ", which has " + std::to_string(found->second.bytes));
    }
    recent = {found->first, end, found->second.writable, found->second.mixed};
  }
  if (write && !recent.writable) {
    fail(" writes to memory that is only to be read");
  }
  if (!machine.thread().waited && (write || (recent.writable && !recent.mixed))) {
    machine.report("early access", "thread " + std::to_string(machine.thread().index) +
                                       " touches what the kernel before may be writing or reading");
  }
}

}  // namespace coppice::simt
