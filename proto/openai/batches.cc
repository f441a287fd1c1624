// Batch objects. The record on disk is the client's object with a member of the server's own.
#include "proto/openai/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "proto/openai/files.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/service_fields.h"
#include "proto/openai/time_text.h"

namespace coppice::openai {
namespace {

constexpr std::chrono::seconds kWindowMax = std::chrono::days{30};  // as long as an input file is kept
constexpr const char* kOwn = "server";                              // the member that clients do not see

constexpr std::array<std::string_view, 8> kStatusNames = {"validating", "failed",  "in_progress", "finalizing",
                                                          "completed",  "expired", "cancelling",  "cancelled"};

void read_output_expiry(FieldReader& reader, BatchRequest& request) {
  const Json* const expiry = reader.find("output_expires_after");
  if (expiry == nullptr) {
    return;
  }
  if (!expiry->is_object()) {
    reader.fail_type("output_expires_after", "an object with 'anchor' and 'seconds'", *expiry);
    return;
  }
  FieldReader inner(*expiry, "output_expires_after.");
  std::string anchor;
  inner.read("anchor", anchor);
  inner.read("seconds", request.output_expires_s);
  if (inner.failed()) {
    reader.fail(*inner.error());
  } else if (MaybeError error = check_expiry("output_expires_after", anchor, request.output_expires_s)) {
    reader.fail(*std::move(error));
  }
}

void require_text(FieldReader& reader, const char* name, std::string& out) {
  reader.read(name, out);
  if (!reader.failed() && out.empty()) {
    reader.fail(bad_value(name, fmt::format("'{}' is missing: send a text", name)));
  }
}

void time_or_null(const char* name, bool is_it, std::int64_t time_s, JsonWriter& out) {
  out.key(name);
  if (is_it && time_s > 0) {
    out.integer(time_s);
  } else {
    out.null();
  }
}

void write_times(const BatchCard& card, JsonWriter& out) {
  out.key("created_at").integer(card.created_s);
  time_or_null("in_progress_at", true, card.in_progress_s, out);
  time_or_null("expires_at", true, card.expires_s, out);
  time_or_null("finalizing_at", true, card.finalizing_s, out);
  time_or_null("completed_at", card.status == BatchStatus::kCompleted, card.ended_s, out);
  time_or_null("failed_at", card.status == BatchStatus::kFailed, card.ended_s, out);
  time_or_null("expired_at", card.status == BatchStatus::kExpired, card.ended_s, out);
  time_or_null("cancelling_at", true, card.cancelling_s, out);
  time_or_null("cancelled_at", card.status == BatchStatus::kCancelled, card.ended_s, out);
}

void write_errors(const BatchCard& card, JsonWriter& out) {
  out.key("errors");
  if (card.errors.empty()) {
    out.null();
    return;
  }
  out.begin_object().key("object").string("list").key("data").begin_array();
  for (const BatchError& error : card.errors) {
    out.begin_object();
    out.key("code").string(error.code).key("message").string(error.message).key("param").null().key("line");
    if (error.line > 0) {
      out.integer(error.line);
    } else {
      out.null();
    }
    out.end_object();
  }
  out.end_array().end_object();
}

void write_usage_of(const AnswerUsage& usage, JsonWriter& out) {
  out.key("usage").begin_object();
  out.key("input_tokens").integer(usage.prompt_tokens);
  out.key("input_tokens_details").begin_object().key("cached_tokens").integer(usage.cached_tokens).end_object();
  out.key("output_tokens").integer(usage.completion_tokens);
  out.key("output_tokens_details").begin_object();
  out.key("reasoning_tokens").integer(usage.reasoning_tokens).end_object();
  out.key("total_tokens").integer(usage.prompt_tokens + usage.completion_tokens);
  out.end_object();
}

void write_metadata(const BatchRequest& request, JsonWriter& out) {
  out.key("metadata");
  if (request.metadata.empty()) {
    out.null();
    return;
  }
  out.begin_object();
  for (const auto& [key, value] : request.metadata) {
    out.key(key).string(value);
  }
  out.end_object();
}

// The members of a client's object.
void write_members(const BatchCard& card, JsonWriter& out) {
  out.key("id").string(card.id);
  out.key("object").string("batch");
  out.key("endpoint").string(card.request.endpoint);
  out.key("model").string_or_null(card.model);
  write_errors(card, out);
  out.key("input_file_id").string(card.request.input_file_id);
  out.key("completion_window").string(card.request.completion_window);
  out.key("status").string(batch_status_name(card.status));
  out.key("output_file_id").string_or_null(card.has_output ? card.output_file_id : "");
  out.key("error_file_id").string_or_null(card.has_errors ? card.error_file_id : "");
  write_times(card, out);
  out.key("request_counts").begin_object();
  out.key("total").integer(card.counts.total);
  out.key("completed").integer(card.counts.completed);
  out.key("failed").integer(card.counts.failed);
  out.end_object();
  write_usage_of(card.usage, out);
  write_metadata(card.request, out);
}

const Json* member(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() && found->is_object() ? &*found : nullptr;
}

void read_counts(const Json& object, BatchCard& card) {
  if (const Json* const counts = member(object, "request_counts")) {
    FieldReader reader(*counts);
    reader.read("total", card.counts.total);
    reader.read("completed", card.counts.completed);
    reader.read("failed", card.counts.failed);
  }
  if (const Json* const usage = member(object, "usage")) {
    FieldReader reader(*usage);
    reader.read("input_tokens", card.usage.prompt_tokens);
    reader.read("output_tokens", card.usage.completion_tokens);
    if (const Json* const details = member(*usage, "input_tokens_details")) {
      FieldReader(*details).read("cached_tokens", card.usage.cached_tokens);
    }
  }
}

void read_errors(const Json& object, BatchCard& card) {
  const Json* const errors = member(object, "errors");
  if (errors == nullptr || !errors->contains("data") || !(*errors)["data"].is_array()) {
    return;
  }
  for (const Json& entry : (*errors)["data"]) {
    FieldReader reader(entry);
    BatchError error;
    reader.read("code", error.code);
    reader.read("message", error.message);
    reader.read("line", error.line);
    card.errors.push_back(std::move(error));
  }
}

}  // namespace

bool is_final(BatchStatus status) {
  return status == BatchStatus::kFailed || status == BatchStatus::kCompleted || status == BatchStatus::kExpired ||
         status == BatchStatus::kCancelled;
}

std::string_view batch_status_name(BatchStatus status) {
  return kStatusNames[static_cast<std::size_t>(status)];
}

Result<BatchRequest> parse_batch_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  if (!parsed.value().is_object()) {
    return bad_value("", "the request body must be a JSON object; got " + describe(parsed.value()));
  }
  FieldReader reader(parsed.value());
  BatchRequest request;
  require_text(reader, "input_file_id", request.input_file_id);
  require_text(reader, "endpoint", request.endpoint);
  require_text(reader, "completion_window", request.completion_window);
  read_metadata(reader, request.metadata);
  read_output_expiry(reader, request);
  if (reader.failed()) {
    return *reader.error();
  }
  const auto window = parse_time(request.completion_window, kWindowMax);
  if (!window) {
    return bad_value("completion_window",
                     fmt::format("'completion_window' must be a time such as \"24h\", from 1s to 30d; got \"{}\"",
                                 request.completion_window.substr(0, 40)));
  }
  request.window = *window;
  if (MaybeError error = check_metadata(request.metadata)) {
    return *std::move(error);
  }
  for (const std::string& name : reader.unread()) {
    request.ignored.add(name);
  }
  return request;
}

std::string write_batch(const BatchCard& card) {
  JsonWriter out;
  out.begin_object();
  write_members(card, out);
  out.end_object();
  return out.take();
}

std::string write_batch_list(std::span<const BatchCard> cards, bool has_more) {
  JsonWriter out;
  out.begin_object();
  out.key("object").string("list");
  out.key("data").begin_array();
  for (const BatchCard& card : cards) {
    out.begin_object();
    write_members(card, out);
    out.end_object();
  }
  out.end_array();
  out.key("first_id").string_or_null(cards.empty() ? "" : cards.front().id);
  out.key("last_id").string_or_null(cards.empty() ? "" : cards.back().id);
  out.key("has_more").boolean(has_more);
  out.end_object();
  return out.take();
}

std::string write_batch_record(const BatchCard& card) {
  JsonWriter out;
  out.begin_object();
  write_members(card, out);
  out.key(kOwn).begin_object();
  out.key("output_file_id").string(card.output_file_id);
  out.key("error_file_id").string(card.error_file_id);
  out.key("ended_at").integer(card.ended_s);
  out.key("output_expires_after").integer(card.request.output_expires_s);
  out.end_object().end_object();
  return out.take();
}

Result<BatchCard> read_batch_record(const Json& object) {
  const Json* const own = member(object, kOwn);
  if (own == nullptr) {
    return bad_value("", "not the record of a batch");
  }
  BatchCard card;
  std::string status;
  FieldReader reader(object);
  reader.read("id", card.id);
  reader.read("endpoint", card.request.endpoint);
  reader.read("model", card.model);
  reader.read("input_file_id", card.request.input_file_id);
  reader.read("completion_window", card.request.completion_window);
  reader.read("status", status);
  reader.read("created_at", card.created_s);
  reader.read("expires_at", card.expires_s);
  reader.read("in_progress_at", card.in_progress_s);
  reader.read("finalizing_at", card.finalizing_s);
  reader.read("cancelling_at", card.cancelling_s);
  read_metadata(reader, card.request.metadata);
  card.has_output = reader.has("output_file_id");
  card.has_errors = reader.has("error_file_id");
  FieldReader own_reader(*own);
  own_reader.read("output_file_id", card.output_file_id);
  own_reader.read("error_file_id", card.error_file_id);
  own_reader.read("ended_at", card.ended_s);
  own_reader.read("output_expires_after", card.request.output_expires_s);
  const auto known = std::find(kStatusNames.begin(), kStatusNames.end(), status);
  const bool has_ids = is_object_id(card.id, kBatchPrefix) && is_object_id(card.request.input_file_id, kFilePrefix) &&
                       is_object_id(card.output_file_id, kFilePrefix) && is_object_id(card.error_file_id, kFilePrefix);
  if (reader.failed() || own_reader.failed() || known == kStatusNames.end() || !has_ids) {
    return bad_value("", "not the record of a batch");
  }
  card.status = static_cast<BatchStatus>(known - kStatusNames.begin());
  read_counts(object, card);
  read_errors(object, card);
  return card;
}

}  // namespace coppice::openai
