// OpenAI's batch objects: created from a body, written for clients and, with what only the server needs, to disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/ignored_fields.h"
#include "proto/openai/json_reader.h"

namespace coppice::openai {

enum class BatchStatus : std::uint8_t {
  kValidating,
  kFailed,
  kInProgress,
  kFinalizing,
  kCompleted,
  kExpired,
  kCancelling,
  kCancelled,
};
// True: nothing about the batch will change.
bool is_final(BatchStatus status);
std::string_view batch_status_name(BatchStatus status);

// POST /v1/batches.
struct BatchRequest {
  std::string input_file_id;
  std::string endpoint;
  std::string completion_window;  // as the client wrote it
  std::chrono::seconds window{};
  std::vector<std::pair<std::string, std::string>> metadata;
  std::int64_t output_expires_s = 0;  // seconds after which the answers' files go; 0 = never
  IgnoredFields ignored;
};
// ERRORS: 400. Whether file and endpoint exist is not looked at.
Result<BatchRequest> parse_batch_request(std::string_view body, const RequestLimits& limits);

// Why a line of the input keeps the batch from being run.
struct BatchError {
  std::string code;
  std::string message;
  std::int64_t line = 0;  // 0: of the file as a whole
};

struct BatchCounts {
  std::int64_t total = 0;
  std::int64_t completed = 0;
  std::int64_t failed = 0;
};

struct BatchCard {
  std::string id;  // "batch_" and 24 hexadecimal digits
  BatchRequest request;
  std::string model;  // that runs it
  BatchStatus status = BatchStatus::kValidating;
  std::int64_t created_s = 0;  // Unix times; 0 = not yet
  std::int64_t expires_s = 0;
  std::int64_t in_progress_s = 0;
  std::int64_t finalizing_s = 0;
  std::int64_t cancelling_s = 0;
  std::int64_t ended_s = 0;  // completed, failed, expired or cancelled
  // Where the answers go. They are told to clients once the files are whole.
  std::string output_file_id;
  std::string error_file_id;
  bool has_output = false;
  bool has_errors = false;
  BatchCounts counts;
  AnswerUsage usage;
  std::vector<BatchError> errors;
};

std::string write_batch(const BatchCard& card);
std::string write_batch_list(std::span<const BatchCard> cards, bool has_more);

// The whole of a card, for a file.
std::string write_batch_record(const BatchCard& card);
// What write_batch_record() wrote. ERRORS: 400.
Result<BatchCard> read_batch_record(const Json& object);

}  // namespace coppice::openai
