// Writing and checking snapshots.
#include "engine/speculation/snapshot_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::engine {
namespace {

// First bytes of a snapshot.
constexpr std::array<char, 8> kMagic = {'C', 'O', 'P', 'P', 'S', 'P', 'E', 'C'};
constexpr std::uint32_t kVersion = 1;  // of the layout in snapshot_file.h

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t zero = 0;
  std::uint64_t fingerprint = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t checksum = 0;
};
static_assert(sizeof(Header) == 40);

std::uint64_t checksum_of(Header header, std::string_view payload) {
  header.checksum = 0;
  const std::uint64_t seed = XXH3_64bits(&header, sizeof(header));
  return XXH3_64bits_withSeed(payload.data(), payload.size(), seed);
}

void put(std::string& bytes, std::size_t value) {
  const auto narrow = static_cast<std::uint32_t>(value);
  bytes.append(reinterpret_cast<const char*>(&narrow), sizeof(narrow));
}

std::string payload_of(const SpeculationSnapshot& snapshot) {
  std::string bytes;
  put(bytes, snapshot.tenants.size());
  for (const TenantText& tenant : snapshot.tenants) {
    put(bytes, tenant.tenant.size());
    bytes += tenant.tenant;
    put(bytes, tenant.sequences.size());
    for (const SharedText& sequence : tenant.sequences) {
      put(bytes, sequence->size());
      bytes.append(reinterpret_cast<const char*>(sequence->data()), sequence->size() * sizeof(TokenId));
    }
  }
  return bytes;
}

// Reads a payload front to back and never past its end.
class PayloadReader {
 public:
  explicit PayloadReader(std::string_view bytes) : left_(bytes) {}
  bool number(std::uint32_t& value) { return take(&value, sizeof(value)); }
  bool text(std::string& value, std::uint32_t size) {
    if (size > left_.size()) {
      return false;
    }
    value.assign(left_.substr(0, size));
    left_.remove_prefix(size);
    return true;
  }
  bool tokens(std::vector<TokenId>& value, std::uint32_t size) {
    if (size > left_.size() / sizeof(TokenId)) {
      return false;
    }
    value.resize(size);
    take(value.data(), size * sizeof(TokenId));
    return std::all_of(value.begin(), value.end(), [](TokenId token) { return token >= 0; });
  }
  bool at_end() const { return left_.empty(); }

 private:
  bool take(void* into, std::size_t size) {
    if (size > left_.size()) {
      return false;
    }
    if (size > 0) {
      std::memcpy(into, left_.data(), size);
    }
    left_.remove_prefix(size);
    return true;
  }
  std::string_view left_;
};

bool parse_payload(std::string_view bytes, SpeculationSnapshot& snapshot) {
  PayloadReader reader(bytes);
  std::uint32_t tenants = 0;
  if (!reader.number(tenants)) {
    return false;
  }
  for (std::uint32_t i = 0; i < tenants; ++i) {
    TenantText tenant;
    std::uint32_t size = 0;
    std::uint32_t sequences = 0;
    if (!reader.number(size) || !reader.text(tenant.tenant, size) || !reader.number(sequences)) {
      return false;
    }
    for (std::uint32_t s = 0; s < sequences; ++s) {
      auto text = std::make_shared<std::vector<TokenId>>();
      if (!reader.number(size) || !reader.tokens(*text, size)) {
        return false;
      }
      tenant.sequences.push_back(std::move(text));
    }
    snapshot.tenants.push_back(std::move(tenant));
  }
  return reader.at_end();
}

absl::Status system_error(const std::string& path, const char* doing) {
  return absl::InternalError(fmt::format("{}: {}: {}", path, doing, std::strerror(errno)));
}

// A file descriptor that closes itself.
struct File {
  int descriptor;
  ~File() {
    if (descriptor >= 0) {
      ::close(descriptor);
    }
  }
};

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

absl::StatusOr<std::string> read_all(const std::string& path) {
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.descriptor < 0) {
    return errno == ENOENT ? absl::NotFoundError(fmt::format("{}: no such file", path)) : system_error(path, "opening");
  }
  std::string bytes;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t count = ::read(file.descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return system_error(path, "reading");
    }
    if (count == 0) {
      return bytes;
    }
    bytes.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

absl::Status write_snapshot(const SpeculationSnapshot& snapshot, std::uint64_t fingerprint, const std::string& path) {
  const std::string payload = payload_of(snapshot);
  Header header;
  header.fingerprint = fingerprint;
  header.payload_bytes = payload.size();
  header.checksum = checksum_of(header, payload);
  const std::string beside = path + ".tmp";
  {
    const File file{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR)};
    if (file.descriptor < 0) {
      return system_error(beside, "opening");
    }
    const std::string_view head(reinterpret_cast<const char*>(&header), sizeof(header));
    if (!write_all(file.descriptor, head) || !write_all(file.descriptor, payload) || ::fsync(file.descriptor) != 0) {
      return system_error(beside, "writing");
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    return system_error(path, "renaming");
  }
  return absl::OkStatus();
}

absl::StatusOr<SpeculationSnapshot> read_snapshot(std::uint64_t fingerprint, const std::string& path) {
  COPPICE_ASSIGN_OR_RETURN(const std::string bytes, read_all(path));
  const auto refuse = [&path](std::string_view why) {
    return absl::DataLossError(fmt::format("{}: {}; not restored", path, why));
  };
  Header header;
  if (bytes.size() < sizeof(header)) {
    return refuse("too short for a speculation snapshot");
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  const std::string_view payload = std::string_view(bytes).substr(sizeof(header));
  if (header.magic != kMagic) {
    return refuse("not a speculation snapshot");
  }
  if (header.version != kVersion) {
    return refuse(fmt::format("version {} of the format, this program knows {}", header.version, kVersion));
  }
  if (header.payload_bytes != payload.size() || header.checksum != checksum_of(header, payload)) {
    return refuse("torn or damaged: its checksum does not fit");
  }
  if (header.fingerprint != fingerprint) {
    return refuse("of another vocabulary");
  }
  SpeculationSnapshot snapshot;
  if (!parse_payload(payload, snapshot)) {
    return refuse("its contents make no sense");
  }
  return snapshot;
}

}  // namespace coppice::engine
