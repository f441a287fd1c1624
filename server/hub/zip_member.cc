// The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT. The directory at the archive's end is what
// counts; the header before a member is only skipped.
#include "server/hub/zip_member.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::server {
namespace {

constexpr std::uint32_t kEndMark = 0x06054b50;                      // "PK\5\6": end of the directory
constexpr std::uint32_t kEntryMark = 0x02014b50;                    // "PK\1\2": an entry of it
constexpr std::uint32_t kHeaderMark = 0x04034b50;                   // "PK\3\4": before a member
constexpr std::size_t kEndBytes = 22;                               // without the comment
constexpr std::size_t kEntryBytes = 46;                             // without name, extra field and comment
constexpr std::size_t kHeaderBytes = 30;                            // without name and extra field
constexpr std::size_t kCommentBytesMost = 65535;                    // the field has 16 bits
constexpr std::size_t kDirectoryBytesMost = std::size_t{64} << 20;  // 65,535 entries of 1,000 bytes
constexpr std::uint32_t kIn64 = 0xffffffff;                         // a size or an offset that stands in a zip64 field
constexpr std::uint16_t kStored = 0;                                // a method, by its number
constexpr std::uint16_t kDeflated = 8;                              // the same
constexpr std::uint16_t kEncrypted = 1;                             // a flag's bit
constexpr std::size_t kPartBytes = std::size_t{1} << 18;            // read and written at once: fits a core's cache

// Numbers of a block of bytes, lowest byte first. REQUIRES: the offset lies in it.
std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return value;
}
std::uint32_t number16(std::string_view bytes, std::size_t at) {
  return number(bytes, at, 2);
}
std::uint32_t number32(std::string_view bytes, std::size_t at) {
  return number(bytes, at, 4);
}

absl::StatusOr<std::string> read(const base::RegularFile& file, std::uint64_t at, std::size_t count) {
  if (at > file.size() || count > file.size() - at) {
    return absl::InvalidArgumentError("the archive ends early");
  }
  std::string bytes(count, '\0');
  COPPICE_RETURN_IF_ERROR(file.read(at, std::as_writable_bytes(std::span<char>(bytes))));
  return bytes;
}

struct Directory {
  std::string bytes;
  std::uint64_t begin = 0;  // in the archive
};

absl::StatusOr<Directory> read_directory(const base::RegularFile& file) {
  const std::size_t tail_bytes = std::min(file.size(), kEndBytes + kCommentBytesMost);
  COPPICE_ASSIGN_OR_RETURN(const std::string tail, read(file, file.size() - tail_bytes, tail_bytes));
  for (std::size_t back = kEndBytes; back <= tail.size(); ++back) {
    const std::size_t at = tail.size() - back;
    if (number32(tail, at) != kEndMark || number16(tail, at + 20) != back - kEndBytes) {
      continue;
    }
    const std::uint32_t bytes = number32(tail, at + 12);
    const std::uint32_t begin = number32(tail, at + 16);
    if (bytes == kIn64 || begin == kIn64) {
      return absl::UnimplementedError("zip64 archives are not read");
    }
    const std::uint64_t end = file.size() - tail_bytes + at;
    if (number16(tail, at + 4) != 0 || bytes > kDirectoryBytesMost || std::uint64_t{begin} + bytes > end) {
      return absl::InvalidArgumentError("its directory is damaged");
    }
    COPPICE_ASSIGN_OR_RETURN(std::string directory, read(file, begin, bytes));
    return Directory{std::move(directory), begin};
  }
  return absl::InvalidArgumentError("no zip archive");
}

struct Member {
  std::uint32_t method = 0;
  std::uint32_t crc = 0;
  std::uint64_t packed_bytes = 0;
  std::uint64_t begin = 0;  // of its content in the archive
};

absl::StatusOr<Member> find_member(const base::RegularFile& file, const std::string& name, std::uint64_t bytes) {
  COPPICE_ASSIGN_OR_RETURN(const Directory directory, read_directory(file));
  const std::string_view entries = directory.bytes;
  std::optional<std::size_t> found;
  for (std::size_t at = 0; entries.size() - at >= kEntryBytes && number32(entries, at) == kEntryMark;) {
    const std::size_t name_bytes = number16(entries, at + 28);
    const std::size_t whole = kEntryBytes + name_bytes + number16(entries, at + 30) + number16(entries, at + 32);
    if (whole > entries.size() - at) {
      return absl::InvalidArgumentError("its directory is damaged");
    }
    if (entries.substr(at + kEntryBytes, name_bytes) == name) {
      if (found.has_value()) {
        return absl::InvalidArgumentError("it stands in the archive twice");
      }
      found = at;
    }
    at += whole;
  }
  if (!found.has_value()) {
    return absl::NotFoundError("it is not in the archive");
  }
  Member member;
  member.method = number16(entries, *found + 10);
  member.crc = number32(entries, *found + 16);
  member.packed_bytes = number32(entries, *found + 20);
  const std::uint32_t unpacked = number32(entries, *found + 24);
  const std::uint32_t header = number32(entries, *found + 42);
  if (member.packed_bytes == kIn64 || unpacked == kIn64 || header == kIn64) {
    return absl::UnimplementedError("zip64 archives are not read");
  }
  if ((number16(entries, *found + 8) & kEncrypted) != 0) {
    return absl::InvalidArgumentError("it is encrypted");
  }
  if (unpacked != bytes) {
    return absl::InvalidArgumentError(fmt::format("it has {} bytes, and should have {}", unpacked, bytes));
  }
  COPPICE_ASSIGN_OR_RETURN(const std::string head, read(file, header, kHeaderBytes));
  member.begin = std::uint64_t{header} + kHeaderBytes + number16(head, 26) + number16(head, 28);
  if (number32(head, 0) != kHeaderMark || member.begin + member.packed_bytes > directory.begin) {
    return absl::InvalidArgumentError("its header is damaged");
  }
  return member;
}

// Ends an inflation. Owner: the stack.
struct Inflater {
  z_stream stream{};
  bool is_open = inflateInit2(&stream, -MAX_WBITS) == Z_OK;  // no header: the archive has its own

  Inflater() = default;
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (is_open) {
      inflateEnd(&stream);
    }
  }
};

// Where the content goes, counted.
class Sink {
 public:
  Sink(PartFile& into, std::uint64_t bytes) : into_(into), left_(bytes) {}

  absl::Status add(std::string_view bytes) {
    if (bytes.size() > left_) {
      return absl::InvalidArgumentError("it has more bytes than its entry says");
    }
    left_ -= bytes.size();
    crc_ = crc32(crc_, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
    return into_.append(bytes);
  }
  bool is_whole(std::uint32_t crc) const { return left_ == 0 && crc_ == crc; }

 private:
  PartFile& into_;
  std::uint64_t left_;
  uLong crc_ = crc32(0, nullptr, 0);
};

// All that a part of the packed bytes gives. ERRORS: as Sink::add(); InvalidArgument.
absl::Status inflate_part(std::string_view packed, z_stream& stream, bool& is_over, Sink& sink) {
  std::array<char, kPartBytes> out;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));  // zlib's interface; it only reads
  stream.avail_in = static_cast<uInt>(packed.size());
  do {
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    is_over = result == Z_STREAM_END;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return absl::InvalidArgumentError("its packed content is damaged");
    }
    COPPICE_RETURN_IF_ERROR(sink.add(std::string_view(out.data(), out.size() - stream.avail_out)));
  } while (!is_over && stream.avail_out == 0);
  return absl::OkStatus();
}

absl::Status unpack(const base::RegularFile& file, const Member& member, Sink& sink) {
  Inflater inflater;
  if (!inflater.is_open) {
    return absl::ResourceExhaustedError("zlib has no memory");
  }
  bool is_over = false;
  for (std::uint64_t done = 0; done < member.packed_bytes && !is_over;) {
    const std::size_t count = std::min<std::uint64_t>(kPartBytes, member.packed_bytes - done);
    COPPICE_ASSIGN_OR_RETURN(const std::string part, read(file, member.begin + done, count));
    COPPICE_RETURN_IF_ERROR(member.method == kStored ? sink.add(part)
                                                     : inflate_part(part, inflater.stream, is_over, sink));
    done += count;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status extract_member(const std::filesystem::path& archive, const std::string& member, std::uint64_t bytes,
                            PartFile& into) {
  const auto about = [&](const absl::Status& status) {
    return absl::Status(status.code(),
                        fmt::format("{}: {}: {}", archive.string(), member, std::string(status.message())));
  };
  COPPICE_ASSIGN_OR_RETURN(const base::RegularFile file, base::RegularFile::open(archive));
  const absl::StatusOr<Member> found = find_member(file, member, bytes);
  if (!found.ok()) {
    return about(found.status());
  }
  if (found->method != kStored && found->method != kDeflated) {
    return about(absl::UnimplementedError(fmt::format("packed by method {}, which is not read", found->method)));
  }
  Sink sink(into, bytes);
  if (const absl::Status status = unpack(file, *found, sink); !status.ok()) {
    return about(status);
  }
  return sink.is_whole(found->crc) ? absl::OkStatus()
                                   : about(absl::InvalidArgumentError("its content does not fit its checksum"));
}

}  // namespace coppice::server
