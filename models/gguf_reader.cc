// A window of the file is kept, so that a vocabulary of short texts is no call each.
#include "models/gguf_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "base/status_macros.h"

namespace coppice::models {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie in the file");

constexpr std::size_t kWindowBytes = std::size_t{1} << 20;        // of one read
constexpr std::uint64_t kElementsMost = std::uint64_t{1} << 23;   // of an array; vocabularies have up to 300,000
constexpr std::uint64_t kTextBytesMost = std::uint64_t{1} << 26;  // a chat template has some 10 KiB

// Types of values in files.
enum : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Fewest bytes of a value of the type in a file; 0: unknown, or an array.
std::uint64_t least_bytes(std::uint32_t type) {
  // By the types' numbers.
  constexpr std::array<std::uint8_t, 13> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
  return type < kBytes.size() ? kBytes[type] : 0;
}

}  // namespace

absl::Status GgufReader::bytes(std::span<std::byte> into) {
  if (into.size() > left()) {
    return absl::InvalidArgumentError(fmt::format("the file ends at byte {}, before its header does", file_bytes_));
  }
  if (into.size() > kWindowBytes) {
    COPPICE_RETURN_IF_ERROR(read_(at_, into));
  } else {
    if (at_ < window_begin_ || at_ + into.size() > window_begin_ + window_.size()) {
      window_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kWindowBytes, left())));
      window_begin_ = at_;
      COPPICE_RETURN_IF_ERROR(read_(at_, window_));
    }
    std::memcpy(into.data(), window_.data() + (at_ - window_begin_), into.size());
  }
  at_ += into.size();
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<T> GgufReader::number() {
  std::array<std::byte, sizeof(T)> raw{};
  COPPICE_RETURN_IF_ERROR(bytes(raw));
  return std::bit_cast<T>(raw);
}

template absl::StatusOr<std::uint32_t> GgufReader::number<std::uint32_t>();
template absl::StatusOr<std::uint64_t> GgufReader::number<std::uint64_t>();

absl::StatusOr<std::string> GgufReader::text(std::uint64_t bytes_max) {
  COPPICE_ASSIGN_OR_RETURN(const auto length, number<std::uint64_t>());
  if (length > left() || length > bytes_max) {
    return absl::InvalidArgumentError(
        fmt::format("a text of {} bytes, where {} are left and {} allowed", length, left(), bytes_max));
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  COPPICE_RETURN_IF_ERROR(bytes(std::as_writable_bytes(std::span<char>(text))));
  return text;
}

absl::StatusOr<GgufValue> GgufReader::scalar(std::uint32_t type) {
  const auto whole = [this]<typename T>(T /*type*/) -> absl::StatusOr<GgufValue> {
    COPPICE_ASSIGN_OR_RETURN(const T found, number<T>());
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      if (found > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return absl::InvalidArgumentError(fmt::format("{} is more than 2^63 - 1", found));
      }
    }
    return GgufValue(static_cast<std::int64_t>(found));
  };
  switch (type) {
    case kUint8:
      return whole(std::uint8_t{});
    case kInt8:
      return whole(std::int8_t{});
    case kUint16:
      return whole(std::uint16_t{});
    case kInt16:
      return whole(std::int16_t{});
    case kUint32:
      return whole(std::uint32_t{});
    case kInt32:
      return whole(std::int32_t{});
    case kUint64:
      return whole(std::uint64_t{});
    case kInt64:
      return whole(std::int64_t{});
    case kFloat32: {
      COPPICE_ASSIGN_OR_RETURN(const auto found, number<float>());
      return GgufValue(static_cast<double>(found));
    }
    case kFloat64: {
      COPPICE_ASSIGN_OR_RETURN(const auto found, number<double>());
      return GgufValue(found);
    }
    case kBool: {
      COPPICE_ASSIGN_OR_RETURN(const auto found, number<std::uint8_t>());
      return found <= 1 ? absl::StatusOr<GgufValue>(GgufValue(found == 1))
                        : absl::InvalidArgumentError(fmt::format("{} is neither true nor false", found));
    }
    case kString: {
      COPPICE_ASSIGN_OR_RETURN(std::string found, text(kTextBytesMost));
      return GgufValue(std::move(found));
    }
    default:
      return absl::InvalidArgumentError(fmt::format("type {} is none of the format's", type));
  }
}

absl::StatusOr<GgufValue> GgufReader::array() {
  COPPICE_ASSIGN_OR_RETURN(const auto type, number<std::uint32_t>());
  COPPICE_ASSIGN_OR_RETURN(const auto count, number<std::uint64_t>());
  const std::uint64_t least = least_bytes(type);
  if (least == 0) {
    return absl::InvalidArgumentError(fmt::format("an array of type {} is not supported", type));
  }
  if (count > kElementsMost) {
    return absl::InvalidArgumentError(fmt::format("an array of {} values, at most {} are read", count, kElementsMost));
  }
  if (count > left() / least) {
    return absl::InvalidArgumentError(fmt::format("an array of {} values, where {} bytes are left", count, left()));
  }
  std::vector<std::int64_t> wholes;
  std::vector<double> reals;
  std::vector<std::string> texts;
  for (std::uint64_t i = 0; i < count; ++i) {
    COPPICE_ASSIGN_OR_RETURN(GgufValue one, scalar(type));
    if (auto* const text = std::get_if<std::string>(&one)) {
      texts.push_back(std::move(*text));
    } else if (const auto* const real = std::get_if<double>(&one)) {
      reals.push_back(*real);
    } else {
      const auto* const flag = std::get_if<bool>(&one);
      wholes.push_back(flag != nullptr ? std::int64_t{*flag} : std::get<std::int64_t>(one));
    }
  }
  switch (type) {
    case kString:
      return GgufValue(std::move(texts));
    case kFloat32:
    case kFloat64:
      return GgufValue(std::move(reals));
    default:
      return GgufValue(std::move(wholes));
  }
}

absl::StatusOr<GgufValue> GgufReader::value() {
  COPPICE_ASSIGN_OR_RETURN(const auto type, number<std::uint32_t>());
  return type == kArray ? array() : scalar(type);
}

}  // namespace coppice::models
