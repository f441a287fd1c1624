// Reads traces, line by line. They are strangers' files: every number has bounds, every refusal names the line.
#include "server/bench/trace.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace coppice::server {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::string_view kAzureHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";
constexpr std::size_t kRequestsMax = 1'000'000;               // all are held in memory
constexpr std::size_t kTraceBytesMax = std::size_t{4} << 30;  // bytes of all files: rows are kept in memory
constexpr std::size_t kLineBytesMax = 16 << 20;               // bytes: no context is longer as text
constexpr std::int64_t kTokensMax = 10'000'000;               // tokens: likewise
constexpr std::int64_t kTimeMaxUs = 1LL << 62;                // us: differences of two still fit 64 bits
constexpr std::uint64_t kBlocksEnd = 1ULL << 53;              // names of blocks: what every JSON reader keeps exactly
constexpr std::int64_t kMicrosPerSecond = 1'000'000;          // us in a second

struct Row {
  std::int64_t at_us = 0;
  TraceRequest request;
};

absl::Status wrong(const std::string& what) {
  return absl::InvalidArgumentError(what);
}

// All of `text` as a number of [low, high].
std::optional<std::int64_t> whole_number(std::string_view text, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < low || value > high) {
    return std::nullopt;
  }
  return value;
}

// "2023-11-16 18:15:46.6805900", the fraction of up to nine digits and a zone "+00:00" or "Z" optional.
std::optional<std::int64_t> date_us(std::string_view text) {
  for (const std::string_view zone : {std::string_view("+00:00"), std::string_view("Z")}) {
    if (text.size() > zone.size() && text.substr(text.size() - zone.size()) == zone) {
      text.remove_suffix(zone.size());
    }
  }
  constexpr std::string_view kForm = "0000-00-00 00:00:00";
  if (text.size() < kForm.size() || text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 'T') ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const auto year = whole_number(text.substr(0, 4), 1, 9999);
  const auto month = whole_number(text.substr(5, 2), 1, 12);
  const auto day = whole_number(text.substr(8, 2), 1, 31);
  const auto hour = whole_number(text.substr(11, 2), 0, 23);
  const auto minute = whole_number(text.substr(14, 2), 0, 59);
  const auto second = whole_number(text.substr(17, 2), 0, 60);
  if (!year || !month || !day || !hour || !minute || !second) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) {
    return std::nullopt;
  }
  std::int64_t micros = 0;
  if (std::string_view fraction = text.substr(kForm.size()); !fraction.empty()) {
    if (fraction[0] != '.' || fraction.size() < 2 || fraction.size() > 10) {
      return std::nullopt;
    }
    std::string six(fraction.substr(1, 6));
    const bool digits = std::all_of(fraction.begin() + 1, fraction.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) {
      return std::nullopt;
    }
    six.resize(6, '0');
    micros = *whole_number(six, 0, kMicrosPerSecond - 1);
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return (((days * 24 + *hour) * 60 + *minute) * 60 + *second) * kMicrosPerSecond + micros;
}

absl::StatusOr<Row> azure_row(std::string_view line) {
  const std::size_t first = line.find(',');
  const std::size_t second = first == std::string_view::npos ? first : line.find(',', first + 1);
  if (second == std::string_view::npos) {
    return wrong("three values with commas between them are expected");
  }
  const auto at = date_us(line.substr(0, first));
  if (!at) {
    return wrong("the time is not of the form 2023-11-16 18:15:46.6805900");
  }
  const auto prompt = whole_number(line.substr(first + 1, second - first - 1), 1, kTokensMax);
  const auto output = whole_number(line.substr(second + 1), 0, kTokensMax);
  if (!prompt || !output) {
    return wrong(fmt::format("tokens must be whole numbers, of the context 1 to {0}, generated 0 to {0}", kTokensMax));
  }
  return Row{*at, {0, "", "", *prompt, std::max<std::int64_t>(1, *output), {}}};
}

absl::StatusOr<std::int64_t> number_of(const json& row, const char* name, std::int64_t low, std::int64_t high) {
  const auto found = row.find(name);
  const bool fits = found != row.end() && found->is_number_integer() &&
                    (!found->is_number_unsigned() ||
                     found->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()}) &&
                    found->get<std::int64_t>() >= low && found->get<std::int64_t>() <= high;
  if (!fits) {
    return wrong(fmt::format("\"{}\" must be a whole number from {} to {}", name, low, high));
  }
  return found->get<std::int64_t>();
}

absl::StatusOr<Row> text_row(const json& row) {
  Row result;
  COPPICE_ASSIGN_OR_RETURN(result.at_us, number_of(row, "timestamp", 0, kTimeMaxUs));
  const json& input = row["input"];
  if (!input.is_string() || input.get_ref<const std::string&>().empty()) {
    return wrong("\"input\" must be a text that is not empty");
  }
  TraceRequest& request = result.request;
  request.text = input.get<std::string>();
  request.prompt_tokens = (static_cast<std::int64_t>(request.text.size()) + kBytesPerToken - 1) / kBytesPerToken;
  if (const auto output = row.find("output"); output != row.end()) {
    if (!output->is_string()) {
      return wrong("\"output\" must be a text");
    }
    const auto bytes = static_cast<std::int64_t>(output->get_ref<const std::string&>().size());
    request.output_tokens = (bytes + kBytesPerToken - 1) / kBytesPerToken;
  }
  if (const auto session = row.find("session_id"); session != row.end()) {
    if (!session->is_string()) {
      return wrong("\"session_id\" must be a text");
    }
    request.session = session->get<std::string>();
  }
  return result;
}

absl::StatusOr<Row> count_row(const json& row) {
  constexpr std::int64_t kMicrosPerMilli = 1000;  // us in a millisecond
  Row result;
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t at_ms, number_of(row, "timestamp", 0, kTimeMaxUs / kMicrosPerMilli));
  result.at_us = at_ms * kMicrosPerMilli;
  COPPICE_ASSIGN_OR_RETURN(result.request.prompt_tokens, number_of(row, "input_length", 1, kTokensMax));
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t output, number_of(row, "output_length", 0, kTokensMax));
  result.request.output_tokens = std::max<std::int64_t>(1, output);
  if (const auto blocks = row.find("hash_ids"); blocks != row.end()) {
    const auto fits = [](const json& each) {
      return each.is_number_unsigned() && each.get<std::uint64_t>() < kBlocksEnd;
    };
    if (!blocks->is_array() || !std::all_of(blocks->begin(), blocks->end(), fits)) {
      return wrong(fmt::format("\"hash_ids\" must be whole numbers from 0 to {}", kBlocksEnd - 1));
    }
    result.request.blocks = blocks->get<std::vector<std::int64_t>>();
  }
  return result;
}

absl::StatusOr<Row> json_row(const std::string& line) {
  const json row = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object()) {
    return wrong(fmt::format("neither a JSON object nor the header {}", kAzureHeader));
  }
  if (row.contains("input")) {
    return text_row(row);
  }
  if (row.contains("input_length")) {
    return count_row(row);
  }
  return wrong("neither \"input\" nor \"input_length\"");
}

// As std::getline, but of a line that is too long only as much as shows it.
bool read_line(std::ifstream& file, std::vector<char>& buffer, std::string& line) {
  buffer.resize(kLineBytesMax + 2);
  file.getline(buffer.data(), static_cast<std::streamsize>(buffer.size()));
  const auto count = static_cast<std::size_t>(file.gcount());
  const bool has_newline = count > 0 && !file.eof() && !file.fail();
  line.assign(buffer.data(), count - (has_newline ? 1 : 0));
  return count > 0 && !file.bad();
}

// Takes what it reads from `bytes_left`.
absl::Status read_file(const std::string& path, std::size_t& bytes_left, std::vector<Row>& rows) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  }
  std::string line;
  std::vector<char> buffer;
  std::optional<bool> azure;
  for (std::size_t number = 1; read_line(file, buffer, line); ++number) {
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    if (line.find_first_not_of(" \t") == std::string::npos) {
      continue;
    }
    const bool header = line == kAzureHeader && !azure;
    azure = azure.value_or(header);
    if (header) {
      continue;
    }
    bytes_left -= std::min(bytes_left, line.size());
    if (bytes_left == 0) {
      return wrong(fmt::format("{}:{}: the trace has more than 4 GiB", path, number));
    }
    absl::StatusOr<Row> row = line.size() > kLineBytesMax ? wrong("longer than 16 MiB")
                              : *azure                    ? azure_row(line)
                                                          : json_row(line);
    if (!row.ok()) {
      return wrong(fmt::format("{}:{}: {}", path, number, std::string(row.status().message())));
    }
    if (rows.size() == kRequestsMax) {
      return wrong(fmt::format("{}:{}: more than {} requests", path, number, kRequestsMax));
    }
    rows.push_back(*std::move(row));
  }
  return file.bad() ? absl::DataLossError(fmt::format("{}: cannot be read to its end", path)) : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> files_of(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return std::vector<std::string>{path};
  }
  std::vector<std::string> files;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& name = entry->path();
    if (name.extension() == ".jsonl" || name.extension() == ".csv") {
      files.push_back(name.string());
    }
  }
  if (error) {
    return absl::NotFoundError(fmt::format("{}: {}", path, error.message()));
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

absl::StatusOr<std::vector<TraceRequest>> read_trace(const std::string& path) {
  COPPICE_ASSIGN_OR_RETURN(const std::vector<std::string> files, files_of(path));
  std::vector<Row> rows;
  std::size_t bytes_left = kTraceBytesMax;
  for (const std::string& file : files) {
    COPPICE_RETURN_IF_ERROR(read_file(file, bytes_left, rows));
  }
  if (rows.empty()) {
    return wrong(fmt::format("{}: no requests in it", path));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.at_us < b.at_us; });
  std::vector<TraceRequest> requests;
  for (Row& row : rows) {
    row.request.at_s = static_cast<double>(row.at_us - rows.front().at_us) / static_cast<double>(kMicrosPerSecond);
    requests.push_back(std::move(row.request));
  }
  return requests;
}

}  // namespace coppice::server
