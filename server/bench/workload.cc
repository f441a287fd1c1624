// Makes the requests of a load run: from a JSON lines file, or synthetic prompts with a shared prefix and an own part
// each.
#include <charconv>
#include <fstream>
#include <map>

#include "base/random.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/bench/load.h"

namespace coppice::server {
namespace {

using nlohmann::json;

constexpr std::size_t kDatasetLinesMax = 1'000'000;  // all are held in memory

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

// `count` pseudo-random words that most tokenizers split into one or two pieces each.
std::string words(std::int64_t count, std::uint64_t seed, std::uint64_t stream) {
  static constexpr const char* kWords[] = {"river",  "stone", "light", "green",   "house",  "winter",
                                           "little", "paper", "north", "morning", "garden", "window",
                                           "silver", "quiet", "story", "road"};
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) {
    text += kWords[base::philox4x32(seed, static_cast<std::uint64_t>(i), stream)[0] % 16];
    text += ' ';
  }
  return text;
}

void append_ids(json& ids, std::int64_t count, std::int64_t vocab, std::uint64_t seed, std::uint64_t stream) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t draw = base::philox4x32(seed, static_cast<std::uint64_t>(i), stream)[0];
    ids.push_back(3 + draw % static_cast<std::uint32_t>(std::max<std::int64_t>(1, vocab - 3)));
  }
}

json common_body(const LoadOptions& options, std::int64_t max_tokens) {
  json body = {{"model", options.model},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}},
               {"temperature", 0},
               {"max_tokens", max_tokens}};
  if (options.ignore_eos) {
    body["ignore_eos"] = true;
  }
  return body;
}

absl::StatusOr<std::vector<LoadRequest>> synthetic_workload(const LoadOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const Synthetic synthetic, parse_synthetic(options.synthetic));
  if (options.requests < 1) {
    return absl::InvalidArgumentError("--synthetic needs --requests N");
  }
  std::vector<LoadRequest> requests;
  for (std::int32_t i = 0; i < options.requests; ++i) {
    const auto group = static_cast<std::uint64_t>(i % synthetic.groups);
    const std::uint64_t own = (1ULL << 32) + static_cast<std::uint64_t>(i);
    json body = common_body(options, synthetic.output);
    if (synthetic.vocab > 0) {
      json ids = json::array();
      append_ids(ids, synthetic.shared, synthetic.vocab, options.seed, group);
      append_ids(ids, synthetic.unique, synthetic.vocab, options.seed, own);
      body["prompt"] = std::move(ids);
    } else {
      body["prompt"] = words(synthetic.shared, options.seed, group) + words(synthetic.unique, options.seed, own);
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
  json body = common_body(options, max_tokens);
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

}  // namespace

absl::StatusOr<std::vector<LoadRequest>> make_workload(const LoadOptions& options) {
  if (options.dataset.empty() == options.synthetic.empty()) {
    return absl::InvalidArgumentError("give either --dataset FILE.jsonl or --synthetic SPEC");
  }
  return options.dataset.empty() ? synthetic_workload(options) : dataset_workload(options);
}

}  // namespace coppice::server
