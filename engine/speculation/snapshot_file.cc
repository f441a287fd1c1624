// Writing and checking snapshots.
#include "engine/speculation/snapshot_file.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::engine {
namespace {

// First bytes of a snapshot.
constexpr std::array<char, 8> kMagic = {'C', 'O', 'P', 'P', 'S', 'P', 'E', 'C'};
constexpr std::uint32_t kVersion = 1;  // of the layout in snapshot_file.h
// A gibibyte of trees makes about 60 MB: more is no snapshot of ours.
constexpr std::size_t kSnapshotBytesMax = std::size_t{8} << 30;

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

Header header_of(std::string_view payload, std::uint64_t fingerprint) {
  Header header;
  header.fingerprint = fingerprint;
  header.payload_bytes = payload.size();
  header.checksum = checksum_of(header, payload);
  return header;
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

}  // namespace

std::string with_header(std::string_view payload, std::uint64_t fingerprint) {
  const Header header = header_of(payload, fingerprint);
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
  return bytes.append(payload);
}

absl::Status write_snapshot(const SpeculationSnapshot& snapshot, std::uint64_t fingerprint, const std::string& path) {
  const std::string payload = payload_of(snapshot);
  const Header header = header_of(payload, fingerprint);
  const std::array<std::string_view, 2> parts = {
      std::string_view(reinterpret_cast<const char*>(&header), sizeof(header)), payload};
  return base::replace_file(path, parts, base::FileReaders::kOwner);
}

absl::StatusOr<SpeculationSnapshot> read_snapshot(std::uint64_t fingerprint, const std::string& path) {
  COPPICE_ASSIGN_OR_RETURN(const std::string bytes, base::read_file(path, kSnapshotBytesMax));
  return parse_snapshot(bytes, fingerprint, path);
}

absl::StatusOr<SpeculationSnapshot> parse_snapshot(std::string_view bytes, std::uint64_t fingerprint,
                                                   const std::string& path) {
  const auto refuse = [&path](std::string_view why) {
    return absl::DataLossError(fmt::format("{}: {}; not restored", path, why));
  };
  Header header;
  if (bytes.size() < sizeof(header)) {
    return refuse("too short for a speculation snapshot");
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  const std::string_view payload = bytes.substr(sizeof(header));
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
