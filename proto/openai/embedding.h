// POST /v1/embeddings: OpenAI's fields, with how hidden states become a vector.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/request.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

// How the hidden states of a text's tokens become one vector.
enum class Pooling : std::uint8_t { kLast, kMean };

// A value.
struct EmbeddingRequest {
  std::string model;
  std::vector<Prompt> inputs;
  bool is_base64 = false;
  std::optional<std::int64_t> dimensions;
  std::optional<Pooling> pooling;  // unset: the model's own
  bool normalize = true;
  std::optional<bool> add_special_tokens;  // BOS and the like; unset: yes
  std::int64_t priority = 0;
  std::string cache_salt;
  IgnoredFields ignored;  // for the answer's header
};

// What a body may hold, and what the answer holds.
Schema embedding_schema(const RequestLimits& limits);
Schema embedding_answer_schema();

// Checks the body against the schema, and the size of its texts. ERRORS: 400, 413.
Result<EmbeddingRequest> parse_embedding_request(std::string_view body, const RequestLimits& limits);

// How an answer is written.
struct EmbeddingFormat {
  bool is_base64 = false;
  std::string model;
};

// Bytes of an answer with `count` vectors of `width` numbers, at most.
std::size_t embedding_answer_bytes(std::size_t count, std::size_t width, bool is_base64);
// Floats are written as the shortest text that reads back as the same float, or as base64 of their little-endian bytes.
std::string write_embeddings(const EmbeddingFormat& format, std::span<const std::vector<float>> vectors,
                             const AnswerUsage& usage);

// The first `dimensions` numbers (all of them when there is no such number), brought to length 1 if `normalize`; a
// vector of zeros stays.
std::vector<float> shape_embedding(std::vector<float> hidden, const std::optional<std::int64_t>& dimensions,
                                   bool normalize);

}  // namespace coppice::openai
