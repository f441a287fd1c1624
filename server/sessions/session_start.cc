// The first half of a session: a prepared request becomes choices and requests of the engine.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "server/access/api_keys.h"
#include "server/output/token_entry.h"
#include "server/sessions/event_error.h"
#include "server/sessions/sampling_map.h"
#include "server/sessions/session.h"

namespace coppice::server {
namespace {

constexpr std::int64_t kCompletionTokensDefault = 16;  // tokens; OpenAI's default for completions
// Steps of priority that a class of service is worth: 512 requests, more than run at once by default.
constexpr std::int64_t kTierSteps = 16;

// Lower goes first.
std::int32_t priority_of(const openai::GenerationRequest& request) {
  const std::int64_t steps = request.service_tier == openai::ServiceTier::kPriority ? -kTierSteps
                             : request.service_tier == openai::ServiceTier::kFlex   ? kTierSteps
                                                                                    : 0;
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(
      request.priority + steps, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()));
}

// `keeps`: of one prompt.
engine::CacheUse cache_use(const openai::GenerationRequest& request, const std::vector<engine::KeepPrefix>& keeps) {
  engine::CacheUse use;
  use.keeps = keeps;
  if (request.cache_control.is_explicit) {
    use.reads = !keeps.empty();
    use.write_tokens = keeps.empty() ? 0 : keeps.back().tokens;
  }
  return use;
}

}  // namespace

openai::MaybeError Session::start(openai::GenerationRequest request, const std::string& tenant) {
  openai::Result<PreparedRequest> prepared = prepare(std::move(request), host_);
  if (!prepared.ok()) {
    return std::move(prepared.error());
  }
  if (openai::MaybeError error = compile_here(prepared.value(), host_)) {
    return error;
  }
  return start(std::move(prepared.value()), tenant);
}

openai::MaybeError Session::start(PreparedRequest prepared, const std::string& tenant) {
  request_ = std::move(prepared.request);
  COPPICE_CHECK(prepared.order == nullptr, "the grammar is compiled");
  constraint_ = std::move(prepared.constraint);
  held_bytes_ = prepared.held_bytes;
  if (constraint_ != nullptr && memory_ != nullptr) {
    (void)memory_->set(MemoryPart::kWork, held_bytes_);  // no longer what compiling took; never an error for less
  }
  tenant_ = tenant_of(tenant, request_.cache_salt);
  choices_per_prompt_ = request_.best_of.value_or(request_.n);
  const engine::RequestId first_id = host_.take_request_ids(prepared.prompts.size());
  const Shared shared = {
      .stops = std::make_shared<const text::StopStrings>(request_.stop),
      .prediction = prepared.prediction.empty() ? nullptr : std::make_shared<const Prediction>(prepared.prediction),
      .parsing = {.rules = &host_.output_rules,
                  .start = prepared.reasoning_start,
                  .tools = std::move(prepared.tools),
                  .ids = CallIds(prepared.has_short_call_ids),
                  .is_held = prepared.is_held,
                  .hold = prepared.call_hold}};
  runs_.resize(prepared.prompts.size());
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    runs_[i].id = first_id + i;
    runs_[i].tokens = std::move(prepared.prompts[i].tokens);
    runs_[i].echo = std::move(prepared.prompts[i].echo);
    runs_[i].has_open_echo = prepared.prompts[i].has_open_echo;
    runs_[i].keeps = std::move(prepared.prompts[i].keeps);
    totals_.prompt_tokens += static_cast<std::int64_t>(runs_[i].tokens.size());
    make_choices(runs_[i], shared);
  }
  return submit(prepared.prediction);
}

std::int32_t Session::tokens_max(const PromptRun& run) const {
  const std::int64_t room = host_.request_limits.model_tokens_max - static_cast<std::int64_t>(run.tokens.size());
  const bool is_chat = request_.kind == openai::RequestKind::kChat;
  const std::int64_t recommended = std::min(room, host_.defaults.max_tokens.value_or(room));
  const std::int64_t otherwise = is_chat ? recommended : std::min(recommended, kCompletionTokensDefault);
  const std::int64_t asked = request_.sampling.max_tokens.value_or(otherwise);
  return static_cast<std::int32_t>(request_.cuts_max_tokens ? std::min(asked, room) : asked);
}

void Session::make_choices(PromptRun& run, const Shared& shared) {
  const text::Detokenizer primed =
      host_.encoder().decoder_after(run.tokens, request_.skip_special_tokens, run.has_open_echo);
  const std::int64_t echo_characters = count_characters(run.echo);
  run.choices.reserve(static_cast<std::size_t>(choices_per_prompt_));
  for (std::int64_t i = 0; i < choices_per_prompt_; ++i) {
    std::unique_ptr<OutputParser> parser = make_output_parser(request_, shared.parsing);
    run.choices.push_back(
        {ChoiceStream(*host_.tokenizer, request_, shared.stops, primed, std::move(parser), echo_characters),
         PredictionMatch(shared.prediction)});
  }
}

engine::Request Session::make_engine_request(const PromptRun& run, const TokenIds& prediction) const {
  engine::Request out;
  out.id = run.id;
  out.prompt = run.tokens;
  out.prediction = prediction;
  out.sampling = map_sampling(request_, host_.defaults.sampling, tokens_max(run));
  out.choices = static_cast<std::int32_t>(choices_per_prompt_);
  out.constraint = constraint_;
  out.priority = priority_of(request_);
  out.background = is_background_;
  out.cache = cache_use(request_, run.keeps);
  if (is_background_) {
    out.cache.keeps.clear();
  }
  out.tenant = tenant_;
  out.account = key_part(tenant_);
  out.deadline = host_.deadline(meter_.arrival(), client_deadline_);
  out.events = hub_.queue();
  return out;
}

openai::MaybeError Session::submit(const TokenIds& prediction) {
  std::vector<engine::Request> requests;
  requests.reserve(runs_.size());
  for (PromptRun& run : runs_) {
    hub_.remember(run.id, *this);
    requests.push_back(make_engine_request(run, prediction));
    run.is_submitted = true;
    choices_left_ += run.choices.size();
  }
  meter_.mark_submitted();
  const engine::Overload overload = host_.engine->submit_all(std::move(requests));
  if (!overload.exists()) {
    return std::nullopt;
  }
  for (PromptRun& run : runs_) {
    run.is_submitted = false;
  }
  leave();
  ended_ = true;
  openai::ApiError error = error_of(overload);
  host_.metrics->count_rejection(error.code);
  return error;
}

}  // namespace coppice::server
