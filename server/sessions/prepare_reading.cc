// Texts of reading requests to tokens, lengths, and the bill for memory.
#include "server/sessions/prepare_reading.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace coppice::server {
namespace {

constexpr std::size_t kTokenCopies = 2;      // of a branch: the request's and its sequence's
constexpr std::size_t kFloatCopies = 3;      // of an embedding: the engine's, as read, as shaped
constexpr std::size_t kAnswerCopies = 2;     // of an answer's text: written, and on its way
constexpr std::size_t kOptionBytes = 128;    // of the answer, for one option of a question, beside its text
constexpr std::size_t kQuestionBytes = 512;  // likewise for one question

openai::ApiError too_long(const std::string& param, std::size_t tokens, std::int64_t most) {
  return openai::context_too_long(param, most, fmt::format("'{}' has {} tokens", param, tokens));
}

openai::MaybeError check_dimensions(const openai::EmbeddingRequest& request, const ModelHost& host) {
  if (!request.dimensions) {
    return std::nullopt;
  }
  const std::int64_t width = host.request_limits.hidden;
  const std::vector<std::int64_t>& known = host.embedding.dimensions;
  if (!host.embedding.may_be_cut && *request.dimensions != width) {
    return openai::not_supported(
        "dimensions", fmt::format("'dimensions' must be {}: this model's embeddings do not keep their meaning when "
                                  "they are cut; got {}",
                                  width, *request.dimensions));
  }
  const bool is_known = known.empty() || std::find(known.begin(), known.end(), *request.dimensions) != known.end();
  if (*request.dimensions > width || (*request.dimensions != width && !is_known)) {
    return openai::bad_value(
        "dimensions", fmt::format("'dimensions' must be {}{}; got {}", known.empty() ? "from 1 to " : "one of ",
                                  known.empty() ? fmt::format("{}", width) : fmt::format("{}", fmt::join(known, ", ")),
                                  *request.dimensions));
  }
  return std::nullopt;
}

openai::MaybeError check_inputs(const std::vector<TokenIds>& inputs, const openai::RequestLimits& limits) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = inputs.size() == 1 ? "input" : fmt::format("input[{}]", i);
    if (inputs[i].empty()) {
      return openai::bad_value("input", fmt::format("'{}' gives no tokens: this model needs at least one", name));
    }
    if (inputs[i].size() > static_cast<std::size_t>(limits.model_tokens_max)) {
      return too_long(name, inputs[i].size(), limits.model_tokens_max);
    }
    total += inputs[i].size();
  }
  const std::int64_t most = std::max(limits.input_tokens_max, limits.model_tokens_max);
  if (total > static_cast<std::size_t>(most)) {
    return openai::bad_value(
        "input", fmt::format("'input' has {} tokens in all; at most {} are allowed in one request", total, most));
  }
  return std::nullopt;
}

// Pays for `prepared` as it is, and for `answer_bytes` of text to come.
openai::MaybeError hold(PreparedReading& prepared, std::size_t answer_bytes, const JobContext& job) {
  prepared.held_bytes += answer_bytes * kAnswerCopies;
  if (openai::MaybeError error = job.hold(prepared.held_bytes)) {
    return error;
  }
  return job.is_cancelled() ? std::optional(openai::cancelled()) : std::nullopt;
}

}  // namespace

openai::Result<PreparedReading> prepare(const openai::EmbeddingRequest& request, const ModelHost& host,
                                        const JobContext& job) {
  const openai::RequestLimits& limits = host.request_limits;
  openai::MaybeError error = host.check_model(request.model);
  error = error ? std::move(error) : check_dimensions(request, host);
  if (error) {
    return *std::move(error);
  }
  openai::Result<std::vector<TokenIds>> inputs = host.encoder().encode(request, job);
  if (!inputs.ok()) {
    return std::move(inputs.error());
  }
  error = check_inputs(inputs.value(), limits);
  if (error) {
    return *std::move(error);
  }
  PreparedReading prepared;
  prepared.reading = request.pooling.value_or(host.embedding.pooling) == openai::Pooling::kMean
                         ? engine::Reading::kMeanHidden
                         : engine::Reading::kLastHidden;
  prepared.priority = request.priority;
  prepared.cache_salt = request.cache_salt;
  for (TokenIds& tokens : inputs.value()) {
    prepared.branches.push_back({std::move(tokens), {}});
  }
  const std::size_t count = prepared.branches.size();
  const auto width = static_cast<std::size_t>(limits.hidden);
  prepared.held_bytes = static_cast<std::size_t>(prepared.token_count()) * sizeof(TokenId) * kTokenCopies +
                        count * width * sizeof(float) * kFloatCopies;
  error = hold(prepared, openai::embedding_answer_bytes(count, width, request.is_base64), job);
  return error ? openai::Result<PreparedReading>(*std::move(error)) : std::move(prepared);
}

openai::Result<PreparedReading> prepare(const openai::DecisionRequest& request, const ModelHost& host,
                                        const JobContext& job) {
  const openai::RequestLimits& limits = host.request_limits;
  openai::MaybeError error = host.check_model(request.model);
  if (error) {
    return *std::move(error);
  }
  openai::Result<DecisionPrompt> encoded = host.encoder().encode(request, job);
  if (!encoded.ok()) {
    return std::move(encoded.error());
  }
  PreparedReading prepared;
  prepared.reading = engine::Reading::kLabels;
  prepared.prompt = std::move(encoded.value().prompt);
  std::size_t answer_bytes = 0;
  for (std::size_t i = 0; i < request.questions.size(); ++i) {
    DecisionPrompt::Question& question = encoded.value().questions[i];
    const std::size_t tokens = prepared.prompt.size() + question.tokens.size();
    if (tokens > static_cast<std::size_t>(limits.model_tokens_max)) {
      return too_long(fmt::format("questions[{}]", i), tokens, limits.model_tokens_max);
    }
    answer_bytes += kQuestionBytes;
    for (const openai::DecisionOption& option : request.questions[i].options) {
      answer_bytes += kOptionBytes + option.text.size();
    }
    // Each question's sequence has the prompt's tokens too.
    prepared.held_bytes += tokens * sizeof(TokenId) * kTokenCopies;
    prepared.branches.push_back({std::move(question.tokens), std::move(question.labels)});
  }
  error = hold(prepared, answer_bytes, job);
  return error ? openai::Result<PreparedReading>(*std::move(error)) : std::move(prepared);
}

}  // namespace coppice::server
