// One pass over the file, and the order that follows from it.
#include "server/batch/batch_input.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace coppice::server {
namespace {

using openai::Json;

// Lengths at which beginnings are compared, in bytes: from a few words to a long document.
constexpr std::array<std::size_t, 5> kLengths = {64, 256, 1024, 4096, 16384};
constexpr std::size_t kReadBytes = std::size_t{64} << 10;  // of one read: few system calls

// What a prompt begins with, as text: tools and messages in the order in which templates write them, or the prompt.
std::string prefix_of(const Json& body) {
  std::string key;
  for (const char* const name : {"tools", "messages", "prompt"}) {
    if (const auto found = body.find(name); found != body.end()) {
      key += found->dump(-1, ' ', false, Json::error_handler_t::replace);
    }
  }
  return key;
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

BatchInput::BatchInput(base::RegularFile file, const openai::RequestLimits& limits, std::size_t lines_max,
                       const BatchEndpoint* only)
    : file_(std::move(file)), limits_(limits), lines_max_(lines_max), only_(only) {}

BatchLine BatchInput::parse(std::size_t number, std::string_view text) const {
  BatchLine line = read_batch_line(number, text, limits_);
  if (line.refusal.empty() && only_ != nullptr && line.endpoint != only_) {
    line.refusal = fmt::format("line {}: 'url' must be the batch's endpoint \"{}\"; got \"{}\"", number, only_->url,
                               line.endpoint->url);
    line.body = nullptr;
  }
  return line;
}

absl::Status BatchInput::scan(std::size_t bytes, const OnBad& on_bad) {
  const std::size_t end = at_ + std::min(file_.size() - at_, bytes);
  std::string buffer;
  while (at_ < end) {
    buffer.resize(std::min(kReadBytes, end - at_));
    COPPICE_RETURN_IF_ERROR(file_.read(at_, std::as_writable_bytes(std::span<char>(buffer))));
    at_ += buffer.size();
    COPPICE_RETURN_IF_ERROR(take_lines(buffer, on_bad));
  }
  if (at_ == file_.size() && !is_scanned_) {
    COPPICE_RETURN_IF_ERROR(take_lines(line_.empty() && !is_too_long_ ? "" : "\n", on_bad));  // one without an end
    sort();
    is_scanned_ = true;
  }
  return absl::OkStatus();
}

// Cuts what was read into lines.
absl::Status BatchInput::take_lines(std::string_view fresh, const OnBad& on_bad) {
  while (!fresh.empty()) {
    const std::size_t end = fresh.find('\n');
    const std::string_view part = fresh.substr(0, end);
    if (line_.size() + part.size() > limits_.body_bytes_max) {
      is_too_long_ = true;
    }
    if (!is_too_long_) {
      line_ += part;
    }
    if (end == std::string_view::npos) {
      return absl::OkStatus();
    }
    fresh.remove_prefix(end + 1);
    ++lines_;
    take_line(line_, begin_, !is_too_long_, on_bad);
    if (lines_max_ > 0 && entries_.size() > lines_max_) {
      return absl::InvalidArgumentError(fmt::format("the file has more than {} requests", lines_max_));
    }
    begin_ = at_ - fresh.size();
    line_.clear();
    is_too_long_ = false;
  }
  return absl::OkStatus();
}

void BatchInput::take_line(std::string_view text, std::uint64_t offset, bool is_whole, const OnBad& on_bad) {
  if (is_whole && is_blank(text)) {
    return;
  }
  Entry entry;
  entry.offset = offset;
  entry.bytes = static_cast<std::uint32_t>(is_whole ? text.size() : 0);
  entry.number = static_cast<std::uint32_t>(lines_);
  BatchLine line;
  if (is_whole) {
    line = parse(lines_, text);
  } else {
    line.number = lines_;
    line.refusal = fmt::format("line {}: it has more than {} bytes", lines_, limits_.body_bytes_max);
  }
  if (!line.custom_id.empty()) {
    const std::uint64_t hash = XXH3_64bits(line.custom_id.data(), line.custom_id.size());
    const auto [earlier, is_new] = by_custom_id_.emplace(hash, entry.number);
    entry.duplicate_of = is_new ? 0 : earlier->second;
  }
  Beginnings beginnings{};
  if (line.refusal.empty() && entry.duplicate_of == 0) {
    const std::string prefix = prefix_of(line.body);
    for (std::size_t i = 0; i < kLengths.size() && kLengths[i] <= prefix.size(); ++i) {
      beginnings[i] = XXH3_64bits(prefix.data(), kLengths[i]);
    }
  } else if (on_bad) {
    if (entry.duplicate_of != 0) {
      line.refusal = fmt::format("line {}: custom_id '{}' is already used by line {}", line.number,
                                 line.custom_id.substr(0, 100), entry.duplicate_of);
    }
    on_bad(line);
  }
  entries_.push_back(entry);
  beginnings_.push_back(beginnings);
}

void BatchInput::sort() {
  std::vector<std::size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Groups by the shortest beginning stand where the first of them does in the file, and so on within each: a hash says
  // only what is equal.
  std::vector<std::array<std::uint32_t, kLengths.size()>> ranks(entries_.size());
  for (std::size_t level = 0; level < kLengths.size(); ++level) {
    absl::flat_hash_map<std::uint64_t, std::uint32_t> first;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const std::uint64_t hash = beginnings_[i][level];
      ranks[i][level] = hash == 0 ? entries_[i].number : first.emplace(hash, entries_[i].number).first->second;
    }
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tie(ranks[a], entries_[a].number) < std::tie(ranks[b], entries_[b].number);
  });
  std::vector<Entry> sorted;
  sorted.reserve(order.size());
  for (const std::size_t index : order) {
    sorted.push_back(entries_[index]);
  }
  entries_ = std::move(sorted);
  beginnings_ = {};
  by_custom_id_ = {};
  line_ = {};
}

absl::StatusOr<BatchLine> BatchInput::read(const Entry& entry) const {
  COPPICE_CHECK(is_scanned_, "a line is read after all were seen");
  BatchLine line;
  line.number = entry.number;
  if (entry.bytes == 0) {
    line.refusal = fmt::format("line {}: it has more than {} bytes", entry.number, limits_.body_bytes_max);
    return line;
  }
  std::string text(entry.bytes, '\0');
  COPPICE_RETURN_IF_ERROR(file_.read(entry.offset, std::as_writable_bytes(std::span<char>(text))));
  line = parse(entry.number, text);
  if (entry.duplicate_of != 0) {
    line.refusal = fmt::format("line {}: custom_id '{}' is already used by line {}", entry.number,
                               line.custom_id.substr(0, 100), entry.duplicate_of);
    line.custom_id.clear();  // the answer to it is the other line's
    line.body = nullptr;
  }
  return line;
}

}  // namespace coppice::server
