// Reads /proc and the cgroup files of Linux. Every reader falls back to "no limit" when a file is missing: other
// systems and old kernels still start.
#include "base/cpu_info.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

namespace coppice::base {

namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();  // bytes: no cgroup limits the memory

std::optional<std::int64_t> parse_number(const std::string& word) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end == word.data()) {
    return std::nullopt;
  }
  return value;
}

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The value of `key` in a file of "key value" or "key: value kB" lines.
std::optional<std::int64_t> read_field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    std::string value;
    words >> name >> value;
    if (name == key || name == key + ":") {
      return parse_number(value);
    }
  }
  return std::nullopt;
}

// Folders of this process's cgroup in the unified (v2) tree, innermost first, up to the root of the mount. Inside a
// container the root itself carries the limits.
template <typename Visit>
void visit_cgroups(Visit visit) {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  std::string path;
  while (std::getline(file, line)) {
    if (line.rfind("0::", 0) == 0) {
      path = line.substr(3);
    }
  }
  while (!path.empty() && path != "/") {
    visit("/sys/fs/cgroup" + path);
    path.erase(path.find_last_of('/'));
  }
  visit(std::string("/sys/fs/cgroup"));
}

// Quota over period, rounded up; v2 "max 100000" or "150000 100000".
int cgroup_cores() {
  std::int64_t cores = std::numeric_limits<int>::max();
  const auto apply = [&cores](const std::string& quota_word, const std::string& period_word) {
    const std::optional<std::int64_t> quota = parse_number(quota_word);
    const std::optional<std::int64_t> period = parse_number(period_word);
    if (quota && period && *quota > 0 && *period > 0) {
      cores = std::min(cores, (*quota + *period - 1) / *period);
    }
  };
  visit_cgroups([&apply](const std::string& folder) {
    std::istringstream words(read_line(folder + "/cpu.max"));
    std::string quota;
    std::string period;
    words >> quota >> period;
    apply(quota, period);
  });
  apply(read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  return static_cast<int>(cores);
}

std::int64_t cgroup_memory_left() {
  std::int64_t left = kNoLimit;
  visit_cgroups([&left](const std::string& folder) {
    const std::optional<std::int64_t> limit = parse_number(read_line(folder + "/memory.max"));
    const std::optional<std::int64_t> used = parse_number(read_line(folder + "/memory.current"));
    if (limit && used) {
      const std::int64_t cache = read_field(folder + "/memory.stat", "inactive_file").value_or(0);
      left = std::min(left, std::max<std::int64_t>(0, *limit - *used + cache));
    }
  });
  const std::string v1 = "/sys/fs/cgroup/memory/";
  const std::optional<std::int64_t> limit = parse_number(read_line(v1 + "memory.limit_in_bytes"));
  const std::optional<std::int64_t> used = parse_number(read_line(v1 + "memory.usage_in_bytes"));
  if (limit && used) {
    const std::int64_t cache = read_field(v1 + "memory.stat", "total_inactive_file").value_or(0);
    left = std::min(left, std::max<std::int64_t>(0, *limit - *used + cache));
  }
  return left;
}

}  // namespace

int available_cores() {
  int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    cores = std::max(1, CPU_COUNT(&mask));
  }
  return std::max(1, std::min(cores, cgroup_cores()));
}

std::int64_t available_memory_bytes() {
  const std::optional<std::int64_t> kilobytes = read_field("/proc/meminfo", "MemAvailable");
  const std::int64_t machine = kilobytes ? *kilobytes * 1024 : kNoLimit;
  return std::min(machine, cgroup_memory_left());
}

std::int64_t last_level_cache_bytes() {
  // glibc answers from CPUID leaf 4, which AMD hypervisors sometimes leave empty; the kernel's table is the other
  // source.
  std::int64_t bytes = std::max<std::int64_t>(0, sysconf(_SC_LEVEL3_CACHE_SIZE));
  for (int index = 0; index < 8; ++index) {
    const std::string size = read_line("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size");
    const std::optional<std::int64_t> number = parse_number(size);
    if (number && !size.empty()) {
      const std::int64_t unit = size.back() == 'K' ? 1024 : size.back() == 'M' ? 1024 * 1024 : 1;
      bytes = std::max(bytes, *number * unit);
    }
  }
  return bytes;
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) == 0) {
      const std::size_t colon = line.find(':');
      if (colon != std::string::npos && colon + 2 < line.size()) {
        return line.substr(colon + 2);
      }
    }
  }
  return "unknown";
}

}  // namespace coppice::base
