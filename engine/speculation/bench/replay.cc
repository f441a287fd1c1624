// Reading recorded sequences and replaying them.
#include "engine/speculation/bench/replay.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>

#include "base/clock.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::engine {
namespace {

using Duration = base::Clock::TimePoint::duration;

const base::SteadyClock kClock{};

double microseconds(Duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

absl::StatusOr<RecordedSequence> parse_line(const std::string& line, double prompt_fraction) {
  RecordedSequence sequence;
  std::vector<TokenId>* into = &sequence.output;
  bool is_divided = false;
  for (std::size_t at = 0; at < line.size();) {
    if (line[at] == ' ' || line[at] == '\t' || line[at] == '\r') {
      ++at;
      continue;
    }
    if (line[at] == '|' && !is_divided) {
      std::swap(sequence.prompt, sequence.output);
      is_divided = true;
      ++at;
      continue;
    }
    TokenId token = 0;
    const auto [end, error] = std::from_chars(line.data() + at, line.data() + line.size(), token);
    if (error != std::errc() || token < 0) {
      return absl::InvalidArgumentError(fmt::format("column {}: a token id was expected", at + 1));
    }
    into->push_back(token);
    at = static_cast<std::size_t>(end - line.data());
  }
  if (!is_divided) {
    const auto count = static_cast<std::ptrdiff_t>(static_cast<double>(sequence.output.size()) * prompt_fraction);
    sequence.prompt.assign(sequence.output.begin(), sequence.output.begin() + count);
    sequence.output.erase(sequence.output.begin(), sequence.output.begin() + count);
  }
  return sequence;
}

// How many nodes of the draft the truth walks down.
std::size_t accepted_count(const DraftTree& draft, std::span<const TokenId> truth) {
  std::size_t depth = 0;
  std::int32_t at = -1;
  for (std::int32_t node = 0; node < draft.size() && depth < truth.size(); ++node) {
    const auto index = static_cast<std::size_t>(node);
    if (draft.parents[index] == at && draft.tokens[index] == truth[depth]) {
      at = node;
      ++depth;
    }
  }
  return depth;
}

class Replayer {
 public:
  Replayer(const SuffixSpeculatorOptions& options, float survival_min)
      : draft_max_(options.draft_max), survival_min_(survival_min), speculator_(options) {}

  void run(const RecordedSequence& sequence) {
    speculator_.begin(0, "");
    auto begin = kClock.now();
    speculator_.observe(0, TokenSource::kPrompt, sequence.prompt);
    prompt_time_ += kClock.now() - begin;
    prompt_tokens_ += sequence.prompt.size();
    std::span<const TokenId> left(sequence.output);
    while (!left.empty()) {
      const std::size_t step = take_step(left);
      left = left.subspan(step);
    }
    own_bytes_ += speculator_.own_bytes(0);
    own_tokens_ += sequence.prompt.size() + sequence.output.size();
    result_.tokens += sequence.output.size();
    ++result_.sequences;
    speculator_.end(0, {});
  }

  ReplayResult result() {
    result_.observe_us_per_token =
        microseconds(observe_time_) / static_cast<double>(std::max<std::uint64_t>(result_.tokens, 1));
    result_.prompt_us_per_token =
        microseconds(prompt_time_) / static_cast<double>(std::max<std::size_t>(prompt_tokens_, 1));
    double sum = 0;
    for (const float time : propose_us_) {
      sum += time;
    }
    std::sort(propose_us_.begin(), propose_us_.end());
    if (!propose_us_.empty()) {
      result_.speculate_us_p50 = propose_us_[propose_us_.size() / 2];
      result_.speculate_us_p99 = propose_us_[propose_us_.size() * 99 / 100];
      result_.speculate_us_mean = sum / static_cast<double>(propose_us_.size());
    }
    const auto stored = static_cast<double>(std::max<std::size_t>(speculator_.tokens(), 1));
    result_.bytes_per_token = static_cast<double>(speculator_.bytes()) / stored;
    result_.own_bytes_per_token =
        static_cast<double>(own_bytes_) / static_cast<double>(std::max<std::size_t>(own_tokens_, 1));
    return result_;
  }

 private:
  // Tokens gained: those accepted and the one that the model draws after them.
  std::size_t take_step(std::span<const TokenId> left) {
    draft_.clear();
    // The engine never drafts past the last token it may draw.
    const auto draft_max = static_cast<std::int32_t>(std::min(static_cast<std::size_t>(draft_max_), left.size() - 1));
    auto begin = kClock.now();
    if (draft_max > 0) {
      speculator_.propose(0, draft_max, survival_min_, draft_);
    }
    propose_us_.push_back(static_cast<float>(microseconds(kClock.now() - begin)));
    const std::size_t accepted = accepted_count(draft_, left.first(left.size() - 1));
    ++result_.steps;
    result_.proposed += static_cast<std::uint64_t>(draft_.size());
    result_.accepted += accepted;
    for (const float survival : draft_.survival) {
      result_.expected += survival;
    }
    begin = kClock.now();
    speculator_.observe(0, TokenSource::kOutput, left.first(accepted + 1));
    observe_time_ += kClock.now() - begin;
    return accepted + 1;
  }

  const std::int32_t draft_max_;
  const float survival_min_;
  SuffixSpeculator speculator_;
  DraftTree draft_;
  ReplayResult result_;
  Duration observe_time_{};
  Duration prompt_time_{};
  std::size_t prompt_tokens_ = 0;
  std::size_t own_bytes_ = 0;
  std::size_t own_tokens_ = 0;
  std::vector<float> propose_us_;
};

// Outputs into the two trees that a speculator keeps, and nothing else.
double append_us_per_token(std::span<const RecordedSequence> sequences, std::int32_t depth) {
  SuffixTree shared(depth);
  Duration time{};
  std::size_t tokens = 0;
  for (const RecordedSequence& sequence : sequences) {
    SuffixTree own(depth);
    const SuffixTree::SequenceId in_own = own.begin();
    const SuffixTree::SequenceId in_shared = shared.begin();
    own.push(in_own, sequence.prompt);
    own.enter(in_own, sequence.prompt.size());
    const auto begin = kClock.now();
    for (const TokenId token : sequence.output) {
      own.append(in_own, token);
      shared.append(in_shared, token);
    }
    time += kClock.now() - begin;
    tokens += sequence.output.size();
    shared.finish(in_shared);
  }
  return microseconds(time) / static_cast<double>(std::max<std::size_t>(tokens, 1));
}

}  // namespace

absl::StatusOr<std::vector<RecordedSequence>> read_sequences(const std::string& path, double prompt_fraction) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  }
  std::vector<RecordedSequence> sequences;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    absl::StatusOr<RecordedSequence> sequence = parse_line(line, prompt_fraction);
    if (!sequence.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: line {}: {}", path, number, std::string(sequence.status().message())));
    }
    if (!sequence->output.empty()) {
      sequences.push_back(*std::move(sequence));
    }
  }
  if (sequences.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: no sequence in it", path));
  }
  return sequences;
}

ReplayResult replay(std::span<const RecordedSequence> sequences, const SuffixSpeculatorOptions& options,
                    float survival_min) {
  Replayer replayer(options, survival_min);
  for (const RecordedSequence& sequence : sequences) {
    replayer.run(sequence);
  }
  ReplayResult result = replayer.result();
  result.append_us_per_token = append_us_per_token(sequences, options.depth);
  return result;
}

}  // namespace coppice::engine
