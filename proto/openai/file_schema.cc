// Objects, and the lists of them with a cursor.
#include "proto/openai/file_schema.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/files.h"

namespace coppice::openai {
namespace {

Schema time_or_null() {
  return Schema::one_of("a Unix time or null", {Schema::integer(0), Schema::null()});
}

Schema text_or_null() {
  return Schema::one_of("a string or null", {Schema::string(), Schema::null()});
}

Schema list_of(const Schema& items) {
  return Schema::object({required("object", Schema::word({"list"})), required("data", Schema::array(items)),
                         required("first_id", text_or_null()), required("last_id", text_or_null()),
                         required("has_more", Schema::boolean())});
}

Schema batch_errors() {
  const Schema line = Schema::one_of("an integer or null", {Schema::integer(1), Schema::null()});
  const Schema error = Schema::object({required("code", Schema::string()), required("message", Schema::string()),
                                       required("param", Schema::null()), required("line", line)});
  const Schema list =
      Schema::object({required("object", Schema::word({"list"})), required("data", Schema::array(error))});
  return Schema::one_of("a list or null", {list, Schema::null()});
}

Schema batch_usage() {
  const Schema count = Schema::integer(0);
  return Schema::object({required("input_tokens", count),
                         required("input_tokens_details", Schema::object({required("cached_tokens", count)})),
                         required("output_tokens", count),
                         required("output_tokens_details", Schema::object({required("reasoning_tokens", count)})),
                         required("total_tokens", count)});
}

}  // namespace

Schema file_form_schema() {
  const std::vector<std::string> purposes(std::begin(kFilePurposes), std::end(kFilePurposes));
  return Schema::object({required("file", Schema::string(), "The content; the part's filename is the file's."),
                         required("purpose", Schema::word(purposes), "Batches take files of the purpose \"batch\"."),
                         optional("expires_after[anchor]", Schema::word({"created_at"})),
                         optional("expires_after[seconds]", Schema::integer(kExpiresMin, kExpiresMax),
                                  "How long the file is kept. Default: for batches 30 days, else for ever.")})
      .named("FileForm");
}

Schema file_schema() {
  return Schema::object({required("id", Schema::string(1)), required("object", Schema::word({"file"})),
                         required("bytes", Schema::integer(0)), required("created_at", Schema::integer(0)),
                         optional("expires_at", Schema::integer(0)), required("filename", Schema::string()),
                         required("purpose", Schema::string()), required("status", Schema::word({"processed"}))})
      .named("File");
}

Schema file_list_schema() {
  return list_of(file_schema()).named("FileList");
}

Schema file_deleted_schema() {
  return Schema::object({required("id", Schema::string(1)), required("object", Schema::word({"file"})),
                         required("deleted", Schema::boolean())})
      .named("FileDeleted");
}

Schema batch_request_schema() {
  const Schema expiry = Schema::object({required("anchor", Schema::word({"created_at"})),
                                        required("seconds", Schema::integer(kExpiresMin, kExpiresMax))});
  constexpr std::size_t kMetadataTextMax = 512;  // characters, as OpenAI
  return Schema::object(
             {required("input_file_id", Schema::string(1), "A file of requests, one a line."),
              required("endpoint", Schema::string(1), "The path that all of them are for."),
              required("completion_window", Schema::string(1), "When it expires: \"24h\"; from 1s to 30d."),
              optional("metadata", Schema::map(Schema::string(0, kMetadataTextMax)), "Comes back."),
              optional("output_expires_after", expiry, "How long the answers' files are kept. Default: for ever.")})
      .named("BatchRequest");
}

Schema batch_schema() {
  const Schema count = Schema::integer(0);
  std::vector<Schema::Member> members = {
      required("id", Schema::string(1)),
      required("object", Schema::word({"batch"})),
      required("endpoint", Schema::string()),
      required("model", text_or_null()),
      required("errors", batch_errors()),
      required("input_file_id", Schema::string()),
      required("completion_window", Schema::string()),
      required("status", Schema::word({"validating", "failed", "in_progress", "finalizing", "completed", "expired",
                                       "cancelling", "cancelled"})),
      required("output_file_id", text_or_null()),
      required("error_file_id", text_or_null()),
      required("created_at", count)};
  for (const char* const name : {"in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at",
                                 "expired_at", "cancelling_at", "cancelled_at"}) {
    members.push_back(required(name, time_or_null()));
  }
  members.push_back(required("request_counts", Schema::object({required("total", count), required("completed", count),
                                                               required("failed", count)})));
  members.push_back(required("usage", batch_usage()));
  members.push_back(required(
      "metadata", Schema::one_of("an object of texts or null", {Schema::map(Schema::string()), Schema::null()})));
  return Schema::object(std::move(members)).named("Batch");
}

Schema batch_list_schema() {
  return list_of(batch_schema()).named("BatchList");
}

}  // namespace coppice::openai
