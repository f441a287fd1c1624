// POST /v1/embeddings and /v1/decisions: what a model holds of texts, and how likely it finds answers.
#include <utility>

#include "proto/openai/decision.h"
#include "proto/openai/embedding.h"
#include "server/http/pool_routes.h"
#include "server/http/routes/route_table.h"
#include "server/sessions/prepare_reading.h"

namespace coppice::server {
namespace {

openai::Result<Reading> prepare_embeddings(const ModelHost& host, std::string_view body, const JobContext& job) {
  const openai::Result<openai::EmbeddingRequest> parsed = openai::parse_embedding_request(body, host.request_limits);
  if (!parsed.ok()) {
    return parsed.error();
  }
  openai::Result<PreparedReading> prepared = prepare(parsed.value(), host, job);
  if (!prepared.ok()) {
    return std::move(prepared.error());
  }
  const openai::EmbeddingRequest& request = parsed.value();
  return Reading{std::move(prepared.value()),
                 [dimensions = request.dimensions, normalize = request.normalize,
                  format = openai::EmbeddingFormat{request.is_base64, host.name}](ReadingAnswer& answer) {
                   for (std::vector<float>& vector : answer.readings) {
                     vector = openai::shape_embedding(std::move(vector), dimensions, normalize);
                   }
                   return openai::write_embeddings(format, answer.readings, answer.usage);
                 },
                 request.ignored};
}

openai::Result<Reading> prepare_decision(const ModelHost& host, std::string_view body, const JobContext& job) {
  openai::Result<openai::DecisionRequest> parsed = openai::parse_decision_request(body, host.request_limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  openai::Result<PreparedReading> prepared = prepare(parsed.value(), host, job);
  if (!prepared.ok()) {
    return std::move(prepared.error());
  }
  return Reading{std::move(prepared.value()),
                 [questions = std::move(parsed.value().questions), name = host.name](ReadingAnswer& answer) {
                   answer.usage.completion_tokens = static_cast<std::int64_t>(questions.size());
                   return openai::write_decision(name, questions, answer.readings, answer.usage);
                 },
                 std::move(parsed.value().ignored)};
}

std::unique_ptr<RequestHandler> embed(ServerState& state, const CallPointer& call) {
  return read(state, call, kHereMax, &prepare_embeddings);
}

// As with chats, what the template makes of a short input has no bound by its length.
std::unique_ptr<RequestHandler> decide(ServerState& state, const CallPointer& call) {
  return read(state, call, 0, &prepare_decision);
}

Operation describe_embedding(const openai::RequestLimits& limits) {
  return {.name = "createEmbedding",
          .summary = "What the model holds of texts, as vectors.",
          .body = openai::embedding_schema(limits),
          .answer = openai::embedding_answer_schema()};
}

Operation describe_decision(const openai::RequestLimits& limits) {
  return {.name = "createDecision",
          .summary = "How likely the model finds each answer to questions about one input.",
          .body = openai::decision_schema(limits),
          .answer = openai::decision_answer_schema()};
}

constexpr Route kRoutes[] = {
    {.method = "POST",
     .path = "/v1/embeddings",
     .action = &embed,
     .describe = &describe_embedding,
     .ends_by_deadline = true},
    {.method = "POST",
     .path = "/v1/decisions",
     .action = &decide,
     .describe = &describe_decision,
     .ends_by_deadline = true},
};

}  // namespace

std::span<const Route> reading_routes() {
  return kRoutes;
}

}  // namespace coppice::server
