// The truth oracle and its hash-valued attention; see the header.
#include "tests/support/fake_executor.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "base/check.h"
#include "engine/constraint.h"
#include "engine/step_plan.h"

namespace coppice::testing {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9E3779B97F4A7C15ULL + b + 0x2545F4914F6CDD1DULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::uint64_t key_of(TokenId token, std::int32_t position, std::uint64_t before) {
  return mix(mix(static_cast<std::uint64_t>(token), static_cast<std::uint64_t>(position)), before);
}

std::uint64_t bits(float value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value * 65536.0F));
}

float fake_logprob(std::uint64_t state, TokenId token) {
  return -static_cast<float>(mix(state, static_cast<std::uint64_t>(token)) % 100000) / 1000.0F;
}

std::vector<kernels::TokenLogprob> fake_top(std::uint64_t state, std::int32_t count, std::int32_t vocab) {
  std::vector<kernels::TokenLogprob> top;
  for (std::int32_t i = 0; i < count; ++i) {
    const auto token =
        static_cast<TokenId>(mix(state, 7 + static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(vocab));
    top.push_back({token, fake_logprob(state, token)});
  }
  return top;
}

bool may_be_drawn(const kernels::SamplingRow& row, TokenId token) {
  const auto index = static_cast<std::size_t>(token);
  const bool is_allowed = row.allowed.empty() || (row.allowed[index / 32] >> (index % 32) & 1U) != 0;
  return is_allowed && std::find(row.forbidden.begin(), row.forbidden.end(), token) == row.forbidden.end();
}

engine::TokenInfo info_of(const kernels::SamplingResult& result, bool with_logprob) {
  engine::TokenInfo info;
  info.token = result.token;
  if (with_logprob) {
    info.logprob = result.logprob;
    for (const kernels::TokenLogprob& top : result.top) {
      info.top.push_back({top.token, top.logprob});
    }
  }
  return info;
}

}  // namespace

void FakeReader::read(TokenId token) {
  state_ = mix(state_, key_of(token, count_, state_));
  ++count_;
}

kernels::SamplingResult fake_sample(std::uint64_t state, const kernels::SamplingRow& row, std::int32_t vocab) {
  kernels::SamplingResult result;
  if (row.scored >= 0) {
    result.token = row.scored;
  } else {
    std::uint64_t draw = state;
    if (row.temperature > 0) {
      draw = mix(draw, mix(row.seed, row.position) + bits(row.temperature) + bits(row.top_p) +
                           static_cast<std::uint64_t>(row.top_k));
    }
    if (row.repetition_penalty != 1.0F || row.presence_penalty != 0.0F || row.frequency_penalty != 0.0F) {
      std::uint64_t counts = 0;  // a sum: the order of the counts says nothing
      for (const kernels::TokenCount& count : row.counts) {
        counts += mix(static_cast<std::uint64_t>(count.token) + 1, static_cast<std::uint64_t>(count.output_count));
      }
      draw = mix(draw, counts);
    }
    for (const kernels::TokenBias& bias : row.biases) {
      draw = mix(draw, static_cast<std::uint64_t>(bias.token) + bits(bias.bias));
    }
    result.token = static_cast<TokenId>(mix(draw, 1) % static_cast<std::uint64_t>(vocab));
    const TokenId first = result.token;
    while (!may_be_drawn(row, result.token)) {
      result.token = (result.token + 1) % vocab;
      COPPICE_CHECK(result.token != first, "some token may be drawn");
    }
  }
  for (const TokenId label : row.labels) {
    result.labels.push_back(fake_logprob(state, label));
  }
  if (row.top_logprobs >= 0) {
    result.logprob = fake_logprob(state, result.token);
    result.top = fake_top(state, row.top_logprobs, vocab);
  }
  return result;
}

std::vector<float> fake_hidden(std::uint64_t state) {
  std::vector<float> hidden;
  for (std::uint64_t i = 0; i < kFakeHidden; ++i) {
    hidden.push_back(static_cast<float>(mix(state, 100 + i) % 1000000) / 1000.0F);
  }
  return hidden;
}

Answer direct_reading(const engine::Request& request, std::size_t branch, const FakeModel& model) {
  Answer answer;
  answer.finish = engine::FinishReason::kLength;
  std::vector<TokenId> tokens = request.prompt;
  const engine::Branch& own = request.branches[branch];
  tokens.insert(tokens.end(), own.tokens.begin(), own.tokens.end());
  FakeReader reading;
  std::vector<double> sum(kFakeHidden, 0.0);
  bool is_broken = false;
  for (const TokenId token : tokens) {
    reading.read(token);
    const bool is_read = request.reading == engine::Reading::kMeanHidden || reading.count() == std::ssize(tokens);
    is_broken = is_broken || (is_read && model.is_broken(reading.state()));
    const std::vector<float> hidden = fake_hidden(reading.state());
    std::transform(hidden.begin(), hidden.end(), sum.begin(), sum.begin(), std::plus<>());
  }
  if (is_broken) {
    answer.finish = engine::FinishReason::kError;
    return answer;
  }
  switch (request.reading) {
    case engine::Reading::kNone:
      break;
    case engine::Reading::kLabels: {
      kernels::SamplingRow row;
      row.scored = own.labels.front();
      row.labels = own.labels;
      answer.reading = fake_sample(reading.state(), row, model.vocab).labels;
      break;
    }
    case engine::Reading::kLastHidden:
      answer.reading = fake_hidden(reading.state());
      break;
    case engine::Reading::kMeanHidden:
      for (const double number : sum) {
        answer.reading.push_back(static_cast<float>(number / static_cast<double>(tokens.size())));
      }
      break;
  }
  return answer;
}

namespace {

// What a constraint lets come next, as bits; nothing: anything.
std::vector<std::uint32_t> mask_of(engine::TokenConstraint* constraint, std::int32_t vocab) {
  std::vector<std::uint32_t> mask((static_cast<std::size_t>(vocab) + 31) / 32);
  std::uint8_t is_limited = 0;
  if (constraint != nullptr) {
    COPPICE_CHECK(constraint->fill_masks({}, mask, {&is_limited, 1}).ok(), "the truth has no failing constraints");
  }
  return is_limited != 0 ? mask : std::vector<std::uint32_t>();
}

}  // namespace

Answer direct_answer(const engine::Request& request, std::uint64_t seed, const FakeModel& model) {
  const engine::SamplingParameters& sampling = request.sampling;
  std::unique_ptr<engine::TokenConstraint> constraint;
  if (request.constraint != nullptr) {
    constraint = *request.constraint->begin();
  }
  Answer answer;
  FakeReader reading;
  std::map<TokenId, std::int32_t> outputs;
  for (const TokenId token : request.prompt) {
    if (reading.count() > 0 && sampling.prompt_logprobs >= 0) {
      kernels::SamplingRow row;
      row.scored = token;
      row.top_logprobs = sampling.prompt_logprobs;
      answer.prompt.push_back(info_of(fake_sample(reading.state(), row, model.vocab), true));
      answer.has_broken_prompt = answer.has_broken_prompt || model.is_broken(reading.state());
    }
    reading.read(token);
    outputs[token] = 0;
  }
  std::vector<TokenId> ends = sampling.stop_tokens;
  if (!sampling.ignore_eos) {
    ends.insert(ends.end(), model.eos.begin(), model.eos.end());
  }
  answer.finish = engine::FinishReason::kLength;
  for (std::int32_t output = 0; output < sampling.max_tokens && reading.count() < model.context; ++output) {
    kernels::SamplingRow row;
    row.temperature = sampling.temperature;
    row.top_k = sampling.top_k;
    row.top_p = sampling.top_p;
    row.repetition_penalty = sampling.repetition_penalty;
    row.presence_penalty = sampling.presence_penalty;
    row.frequency_penalty = sampling.frequency_penalty;
    row.seed = seed;
    row.position = static_cast<std::uint64_t>(reading.count());
    row.top_logprobs = sampling.top_logprobs;
    std::vector<kernels::TokenCount> counts;
    for (const auto& [token, count] : outputs) {
      counts.push_back({token, count});
    }
    row.counts = counts;
    std::vector<kernels::TokenBias> biases;
    for (const engine::LogitBias& bias : sampling.logit_bias) {
      biases.push_back({bias.token, bias.bias});
    }
    row.biases = biases;
    if (output < sampling.min_tokens) {
      row.forbidden = ends;
    }
    const std::vector<std::uint32_t> allowed = mask_of(constraint.get(), model.vocab);
    row.allowed = allowed;
    bool has_choice = false;
    for (TokenId token = 0; token < model.vocab; ++token) {
      has_choice = has_choice || may_be_drawn(row, token);
    }
    if (!has_choice) {
      row.forbidden = {};
    }
    if (model.is_broken(reading.state())) {
      answer.finish = engine::FinishReason::kError;
      return answer;
    }
    answer.tokens.push_back(info_of(fake_sample(reading.state(), row, model.vocab), sampling.top_logprobs >= 0));
    const TokenId token = answer.tokens.back().token;
    reading.read(token);
    ++outputs[token];
    if (std::find(ends.begin(), ends.end(), token) != ends.end()) {
      answer.finish = engine::FinishReason::kStop;
      break;
    }
    const bool is_last = output + 1 == sampling.max_tokens || reading.count() == model.context;
    if (constraint != nullptr && !is_last && !constraint->accept(token).ok()) {
      answer.finish = engine::FinishReason::kError;
      break;
    }
  }
  return answer;
}

FakeExecutor::FakeExecutor(const FakeModel& model, const Options& options)
    : model_(model),
      options_(options),
      attention_(options.page_size),
      kv_(static_cast<std::size_t>(options.pages) * static_cast<std::size_t>(options.page_size), 0),
      written_(kv_.size(), 0) {}

bool FakeExecutor::fails(std::uint32_t one_in) {
  ++events_;
  return one_in != 0 && base::philox4x32(options_.seed, events_, 0xFA11)[0] % one_in == 0;
}

bool FakeExecutor::is_working() const {
  const bool works = asked_++ < options_.works_for;
  if (works && options_.meanwhile) {
    options_.meanwhile();
  }
  return works;
}

void FakeExecutor::prepare(const engine::StepPlan& plan) {
  COPPICE_CHECK(phase_ == Phase::kDrawn && options_.asynchronous, "a step is prepared while one runs");
  COPPICE_CHECK(plan.number != 0 && plan.moves.empty(), "a prepared plan has a number and is not behind drafts");
  prepared_ = plan;
  ++prepared_count_;
  attention_.prepare(plan);
}

// What was prepared is what is submitted under its number, except for tokens and how they are drawn.
void FakeExecutor::check_prepared(const engine::StepPlan& plan) {
  if (plan.number == 0 || plan.number != prepared_.number) {
    return;
  }
  ++as_prepared_;
  COPPICE_CHECK(plan.rows == prepared_.rows && plan.tokens.size() == prepared_.tokens.size() &&
                    plan.slots == prepared_.slots && plan.pages == prepared_.pages &&
                    plan.draft_parents == prepared_.draft_parents && plan.logits_rows == prepared_.logits_rows &&
                    plan.hidden_rows == prepared_.hidden_rows && plan.draws.size() == prepared_.draws.size() &&
                    plan.moves.empty(),
                "a prepared step stays as it is");
}

absl::Status FakeExecutor::submit(const engine::StepPlan& plan) {
  COPPICE_CHECK(phase_ == Phase::kIdle, "one step at a time");
  asked_ = 0;
  check_prepared(plan);
  if (fails(options_.submit_fails_in)) {
    return absl::InternalError("the fake device refused the step");
  }
  collect_fails_ = fails(options_.collect_fails_in);
  ++step_;
  attended_ = 0;
  for (const kernels::SlotMove& move : plan.moves) {
    kv_[static_cast<std::size_t>(move.to)] = kv_[static_cast<std::size_t>(move.from)];
  }
  for (const engine::PageCopy& copy : plan.copies) {
    const auto size = static_cast<std::size_t>(options_.page_size);
    std::copy_n(kv_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(copy.from) * size), size,
                kv_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(copy.to) * size));
  }
  check_shape(plan);
  attention_.check(plan);
  states_.assign(plan.tokens.size(), 0);
  fresh_.assign(plan.tokens.size(), 0);
  for (const engine::StepRow& row : plan.rows) {
    attend(plan, row);  // reads only what earlier steps wrote
  }
  for (std::size_t i = 0; i < plan.tokens.size(); ++i) {
    const auto slot = static_cast<std::size_t>(plan.slots[i]);
    COPPICE_CHECK(written_[slot] != step_, "two rows of a step write one slot");
    written_[slot] = step_;
    kv_[slot] = collect_fails_ ? ~fresh_[i] : fresh_[i];  // of a lost step nothing may be used
  }
  phase_ = Phase::kSubmitted;
  read_.clear();
  for (const std::int32_t row : plan.hidden_rows) {
    const std::uint64_t state = states_[static_cast<std::size_t>(row)];
    std::vector<float> hidden = fake_hidden(state);
    hidden[0] = model_.is_broken(state) ? std::numeric_limits<float>::quiet_NaN() : hidden[0];
    read_.insert(read_.end(), hidden.begin(), hidden.end());
  }
  return absl::OkStatus();
}

void FakeExecutor::draw(const engine::StepPlan& plan) {
  COPPICE_CHECK(phase_ == Phase::kSubmitted, "draw() follows submit()");
  phase_ = Phase::kDrawn;
  drawn_.clear();
  for (std::size_t i = 0; i < plan.logits_rows.size(); ++i) {
    const std::uint64_t state = states_[static_cast<std::size_t>(plan.logits_rows[i])];
    drawn_.push_back(fake_sample(state, engine::sampling_row(plan.draws[i], plan.lists), model_.vocab));
    drawn_.back().is_broken = model_.is_broken(state);
  }
}

// Every row's keys in order of position: the page table's, then the row's own linear tokens, then a draft's ancestors.
void FakeExecutor::attend(const engine::StepPlan& plan, const engine::StepRow& row) {
  const std::span<const PageId> pages = plan.pages_of(row);
  std::uint64_t state = 0;
  for (std::int32_t position = 0; position < row.begin; ++position) {
    const auto page = static_cast<std::size_t>(pages[static_cast<std::size_t>(position / options_.page_size)]);
    state = mix(state, kv_[page * static_cast<std::size_t>(options_.page_size) +
                           static_cast<std::size_t>(position % options_.page_size)]);
  }
  for (std::int32_t i = 0; i < row.token_count; ++i) {
    const auto at = static_cast<std::size_t>(row.token_begin + i);
    const std::int32_t node = i - row.linear_count();
    if (node >= 0) {
      const std::int32_t parent = plan.draft_parents[static_cast<std::size_t>(row.parents_begin + node)];
      state = states_[static_cast<std::size_t>(row.token_begin + row.linear_count() + parent)];
    }
    const std::int32_t position = position_of(plan, row, i);
    fresh_[at] = key_of(plan.tokens[at], position, state);
    state = mix(state, fresh_[at]);
    states_[at] = state;
    attended_ += position + 1;
  }
}

void FakeExecutor::check_shape(const engine::StepPlan& plan) const {
  const std::size_t tokens = plan.tokens.size();
  COPPICE_CHECK(std::find(plan.tokens.begin(), plan.tokens.end(), kNoToken) == plan.tokens.end(),
                "every token is known");
  COPPICE_CHECK(!plan.rows.empty() && tokens <= static_cast<std::size_t>(options_.step_tokens_max), "rows in bounds");
  COPPICE_CHECK(plan.logits_rows.size() + plan.hidden_rows.size() <= static_cast<std::size_t>(options_.step_logits_max),
                "outputs in bounds");
  COPPICE_CHECK(plan.slots.size() == tokens, "one entry a token row");
  COPPICE_CHECK(plan.draws.size() == plan.logits_rows.size(), "one draw a logits row");
  COPPICE_CHECK(std::is_sorted(plan.logits_rows.begin(), plan.logits_rows.end()), "logits rows ascend");
  COPPICE_CHECK(std::is_sorted(plan.hidden_rows.begin(), plan.hidden_rows.end()), "hidden rows ascend");
  std::int32_t token_end = 0;
  std::int32_t logits_end = 0;
  std::int32_t hidden_end = 0;
  std::int32_t parents_end = 0;
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    const engine::StepRow& row = plan.rows[i];
    COPPICE_CHECK(row.token_begin == token_end && row.logits_begin == logits_end && row.hidden_begin == hidden_end &&
                      row.parents_begin == parents_end,
                  "rows tile the step");
    token_end += row.token_count;
    logits_end += row.logits_count;
    hidden_end += row.hidden_count;
    parents_end += row.draft_count;
    check_row(plan, i);
  }
  COPPICE_CHECK(static_cast<std::size_t>(token_end) == tokens, "rows cover the step");
}

void FakeExecutor::check_row(const engine::StepPlan& plan, std::size_t index) const {
  const engine::StepRow& row = plan.rows[index];
  COPPICE_CHECK(row.token_count > 0 && row.logits_count + row.hidden_count <= row.token_count, "a row has tokens");
  const std::span<const PageId> pages = plan.pages_of(row);
  COPPICE_CHECK(static_cast<std::int64_t>(pages.size()) * options_.page_size >= row.begin + row.token_count,
                "the page table covers the row");
  for (std::int32_t i = 0; i < row.token_count; ++i) {
    const std::int32_t place = row.begin + i;
    const KvSlot slot =
        pages[static_cast<std::size_t>(place / options_.page_size)] * options_.page_size + place % options_.page_size;
    COPPICE_CHECK(plan.slots[static_cast<std::size_t>(row.token_begin + i)] == slot, "a row's slot is its place's");
  }
  if (index > 0 && row.shared_pages >= 0) {
    const std::span<const PageId> before = plan.pages_of(plan.rows[index - 1]);
    const auto common =
        std::mismatch(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(std::min(before.size(), pages.size())),
                      before.begin());
    COPPICE_CHECK(common.first - pages.begin() == row.shared_pages, "shared_pages is exact");
  }
}

absl::StatusOr<engine::StepResult> FakeExecutor::collect() {
  COPPICE_CHECK(phase_ == Phase::kDrawn, "collect() follows draw()");
  phase_ = Phase::kIdle;
  results_.swap(drawn_);
  hidden_.swap(read_);
  if (collect_fails_) {
    return absl::InternalError("the fake device lost the step");
  }
  engine::StepResult result;
  result.results = results_;
  result.hidden = hidden_;
  result.keys_attended = attended_;
  result.keys_read = attended_;
  result.device_ns = options_.device_ns;
  return result;
}

}  // namespace coppice::testing
