// OpenAI's file objects: written for clients and, in the same form, to disk.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

struct FileCard {
  std::string id;  // "file-" and 24 hexadecimal digits
  std::int64_t bytes = 0;
  std::int64_t created_s = 0;  // Unix time
  std::int64_t expires_s = 0;  // Unix time; 0 = never
  std::string filename;        // as the client named it: text, never a path
  std::string purpose;
};

std::string write_file(const FileCard& card);
std::string write_file_list(std::span<const FileCard> cards, bool has_more);
std::string write_file_deleted(std::string_view id);
// What write_file() wrote. ERRORS: 400.
Result<FileCard> read_file_card(const Json& object);

// An id of ours: `prefix` and 24 hexadecimal digits in lower case, so that it may be a file's name.
bool is_object_id(std::string_view text, std::string_view prefix);
inline constexpr std::string_view kFilePrefix = "file-";
inline constexpr std::string_view kBatchPrefix = "batch_";

// What a client may say that a file is for.
inline constexpr std::string_view kFilePurposes[] = {"assistants", "batch",     "fine-tune",
                                                     "vision",     "user_data", "evals"};

// Seconds after which a file goes, by the rules of `expires_after`: {"anchor":"created_at","seconds"}, an hour to 30
// days.
inline constexpr std::int64_t kExpiresMin = 3600;
inline constexpr std::int64_t kExpiresMax = std::int64_t{30} * 24 * 3600;
MaybeError check_expiry(const std::string& field, std::string_view anchor, std::int64_t seconds);

// A page of a list, as its query asks: at most `limit` objects behind the one with the id `after`.
struct ListQuery {
  std::string after;
  std::int64_t limit = 0;
  bool ascending = false;  // by time of creation
};
// `limit`: text of the query, "" = `otherwise`, from 1 to `most`; `order`: "asc", "desc" or "" = desc. ERRORS: 400.
Result<ListQuery> read_list_query(std::string after, std::string_view limit, std::string_view order,
                                  std::int64_t otherwise, std::int64_t most);

}  // namespace coppice::openai
