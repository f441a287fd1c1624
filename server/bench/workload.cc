// Makes the requests of a load run: from a JSON lines file, from a trace, or synthetic prompts with a shared prefix and
// an own part each.
#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/bench/load.h"
#include "server/bench/prompt_parts.h"
#include "server/bench/trace.h"

namespace coppice::server {
namespace {

using nlohmann::json;

constexpr std::size_t kDatasetLinesMax = 1'000'000;  // all are held in memory
constexpr std::uint64_t kOwnStreams = 1ULL << 32;    // of random words, behind those of shared prefixes
constexpr std::uint64_t kBlockStreams = 1ULL << 63;  // likewise those of a trace's blocks
constexpr std::size_t kWorkloadBytesMax = std::size_t{4}
                                          << 30;     // of all bodies, which are made before the first is sent
constexpr double kSpanMaxSeconds = 7.0 * 24 * 3600;  // of a run: a longer one is a trace in another unit of time

struct Synthetic {
  std::int64_t shared = 0;  // words (or token ids) common to all requests of a group
  std::int64_t unique = 64;
  std::int64_t output = 64;
  std::int64_t groups = 1;  // different shared prefixes
  std::int64_t vocab = 0;   // > 0: prompts are token ids drawn from [3, vocab); else words
};

// "key=value,…"; unknown keys and values that are no numbers are errors.
absl::StatusOr<Synthetic> parse_synthetic(const std::string& spec) {
  Synthetic synthetic;
  const std::map<std::string, std::int64_t*> keys = {{"shared", &synthetic.shared},
                                                     {"unique", &synthetic.unique},
                                                     {"output", &synthetic.output},
                                                     {"groups", &synthetic.groups},
                                                     {"vocab", &synthetic.vocab}};
  std::size_t begin = 0;
  while (begin < spec.size()) {
    const std::size_t end = std::min(spec.find(',', begin), spec.size());
    const std::string part = spec.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    const auto key = keys.find(part.substr(0, equals));
    std::int64_t value = -1;
    if (equals != std::string::npos) {
      const char* last = part.data() + part.size();
      const auto parsed = std::from_chars(part.data() + equals + 1, last, value);
      if (parsed.ec != std::errc() || parsed.ptr != last) {
        value = -1;
      }
    }
    if (key == keys.end() || value < 0 || value > 10'000'000) {
      return absl::InvalidArgumentError(fmt::format(
          "--synthetic: \"{}\" is not understood; write shared=N,unique=N,output=N,groups=N,vocab=N", part));
    }
    *key->second = value;
    begin = end + 1;
  }
  if (synthetic.groups < 1 || synthetic.shared + synthetic.unique < 1 || synthetic.output < 1) {
    return absl::InvalidArgumentError("--synthetic: groups, output and shared + unique must be at least 1");
  }
  return synthetic;
}

absl::StatusOr<std::vector<LoadRequest>> synthetic_workload(const LoadOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const Synthetic synthetic, parse_synthetic(options.synthetic));
  if (options.requests < 1) {
    return absl::InvalidArgumentError("--synthetic needs --requests N");
  }
  std::vector<LoadRequest> requests;
  for (std::int32_t i = 0; i < options.requests; ++i) {
    const auto group = static_cast<std::uint64_t>(i % synthetic.groups);
    const std::uint64_t own = kOwnStreams + static_cast<std::uint64_t>(i);
    json body = request_body(options, synthetic.output);
    if (synthetic.vocab > 0) {
      json ids = json::array();
      append_random_ids(ids, synthetic.shared, synthetic.vocab, options.seed, group);
      append_random_ids(ids, synthetic.unique, synthetic.vocab, options.seed, own);
      body["prompt"] = std::move(ids);
    } else {
      body["prompt"] =
          random_words(synthetic.shared, options.seed, group) + random_words(synthetic.unique, options.seed, own);
    }
    requests.push_back({"/v1/completions", body.dump()});
  }
  return requests;
}

absl::StatusOr<LoadRequest> dataset_request(const LoadOptions& options, const std::string& line, std::size_t number) {
  const json row = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: not a JSON object", options.dataset, number));
  }
  std::int64_t max_tokens = options.max_tokens;
  if (const auto found = row.find("max_tokens"); found != row.end() && found->is_number_integer()) {
    max_tokens = found->get<std::int64_t>();
  }
  json body = request_body(options, max_tokens);
  if (row.contains("messages")) {
    body["messages"] = row["messages"];
    return LoadRequest{"/v1/chat/completions", body.dump(-1, ' ', false, json::error_handler_t::replace)};
  }
  if (row.contains("prompt")) {
    body["prompt"] = row["prompt"];
    return LoadRequest{"/v1/completions", body.dump(-1, ' ', false, json::error_handler_t::replace)};
  }
  return absl::InvalidArgumentError(fmt::format("{}:{}: neither \"prompt\" nor \"messages\"", options.dataset, number));
}

absl::StatusOr<std::vector<LoadRequest>> dataset_workload(const LoadOptions& options) {
  std::ifstream file(options.dataset);
  if (!file) {
    return absl::NotFoundError(fmt::format("{}: cannot be read", options.dataset));
  }
  std::vector<LoadRequest> rows;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line) && number <= kDatasetLinesMax; ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    COPPICE_ASSIGN_OR_RETURN(LoadRequest request, dataset_request(options, line, number));
    rows.push_back(std::move(request));
  }
  if (rows.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: no requests in it", options.dataset));
  }
  if (options.requests > 0) {
    const std::size_t distinct = rows.size();
    rows.resize(static_cast<std::size_t>(options.requests));
    for (std::size_t i = distinct; i < rows.size(); ++i) {
      rows[i] = rows[i % distinct];
    }
  }
  return rows;
}

// The beginning of a text, at most `bytes_max` long and never half a character.
void shorten(std::string& text, std::int64_t bytes_max) {
  if (static_cast<std::int64_t>(text.size()) <= bytes_max) {
    return;
  }
  auto end = static_cast<std::size_t>(bytes_max);
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  text.resize(end);
}

// A prompt of which only the length and the names of its blocks are known, in words or token ids.
json counted_prompt(const LoadOptions& options, const TraceRequest& request, std::uint64_t own) {
  const std::int64_t vocab = options.trace.vocab;
  json ids = json::array();
  std::string text;
  std::int64_t left = request.prompt_tokens;
  const auto append = [&](std::int64_t count, std::uint64_t stream) {
    if (vocab > 0) {
      append_random_ids(ids, count, vocab, options.seed, stream);
    } else {
      text += random_words(count, options.seed, stream);
    }
    left -= count;
  };
  for (std::size_t i = 0; i < request.blocks.size() && left > 0; ++i) {
    append(std::min(left, kBlockTokens), kBlockStreams + static_cast<std::uint64_t>(request.blocks[i]));
  }
  append(left, own);
  return vocab > 0 ? ids : json(text);
}

LoadRequest trace_request(const LoadOptions& options, TraceRequest request, std::uint64_t number) {
  const TraceOptions& trace = options.trace;
  std::int64_t output_tokens = request.output_tokens > 0 ? request.output_tokens : options.max_tokens;
  if (trace.output_max > 0) {
    output_tokens = std::min(output_tokens, trace.output_max);
  }
  if (trace.prompt_max > 0) {
    request.prompt_tokens = std::min(request.prompt_tokens, trace.prompt_max);
    shorten(request.text, trace.prompt_max * kBytesPerToken);
  }
  json body = request_body(options, output_tokens);
  body["prompt"] = request.text.empty() ? counted_prompt(options, request, kOwnStreams + number) : json(request.text);
  return {"/v1/completions", body.dump(-1, ' ', false, json::error_handler_t::replace), request.at_s / trace.speed,
          std::move(request.session)};
}

absl::StatusOr<std::vector<LoadRequest>> trace_workload(const LoadOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(std::vector<TraceRequest> rows, read_trace(options.trace.path));
  if (options.requests > 0 && static_cast<std::size_t>(options.requests) < rows.size()) {
    rows.resize(static_cast<std::size_t>(options.requests));
  }
  if (const double span_s = rows.back().at_s / options.trace.speed; !(span_s <= kSpanMaxSeconds)) {
    return absl::InvalidArgumentError(fmt::format("{}: its times span {:.3g} s, more than {:.0f}; give a --speed",
                                                  options.trace.path, span_s, kSpanMaxSeconds));
  }
  std::vector<LoadRequest> requests;
  std::size_t bytes = 0;
  for (TraceRequest& row : rows) {
    const std::uint64_t number = requests.size();
    requests.push_back(trace_request(options, std::move(row), number));
    bytes += requests.back().body.size();
    if (bytes > kWorkloadBytesMax) {
      return absl::InvalidArgumentError(
          fmt::format("{}: its prompts take more than {} MiB; give --requests N or "
                      "--prompt-max N",
                      options.trace.path, kWorkloadBytesMax >> 20));
    }
  }
  return requests;
}

}  // namespace

absl::StatusOr<std::vector<LoadRequest>> make_workload(const LoadOptions& options) {
  const int sources =
      (options.dataset.empty() ? 0 : 1) + (options.synthetic.empty() ? 0 : 1) + (options.trace.path.empty() ? 0 : 1);
  if (sources != 1) {
    return absl::InvalidArgumentError("give one of --dataset FILE.jsonl, --synthetic SPEC and --trace FILE");
  }
  if (!options.trace.path.empty()) {
    return trace_workload(options);
  }
  return options.dataset.empty() ? synthetic_workload(options) : dataset_workload(options);
}

}  // namespace coppice::server
