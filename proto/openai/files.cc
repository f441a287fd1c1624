// File objects and lists.
#include "proto/openai/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "proto/openai/json_writer.h"

namespace coppice::openai {
namespace {

constexpr std::size_t kIdDigits = 24;  // 96 random bits

void write_fields(const FileCard& card, JsonWriter& out) {
  out.begin_object();
  out.key("id").string(card.id);
  out.key("object").string("file");
  out.key("bytes").integer(card.bytes);
  out.key("created_at").integer(card.created_s);
  if (card.expires_s > 0) {
    out.key("expires_at").integer(card.expires_s);
  }
  out.key("filename").string(card.filename);
  out.key("purpose").string(card.purpose);
  out.key("status").string("processed");
  out.end_object();
}

}  // namespace

std::string write_file(const FileCard& card) {
  JsonWriter out;
  write_fields(card, out);
  return out.take();
}

std::string write_file_list(std::span<const FileCard> cards, bool has_more) {
  JsonWriter out;
  out.begin_object();
  out.key("object").string("list");
  out.key("data").begin_array();
  for (const FileCard& card : cards) {
    write_fields(card, out);
  }
  out.end_array();
  out.key("first_id").string_or_null(cards.empty() ? "" : cards.front().id);
  out.key("last_id").string_or_null(cards.empty() ? "" : cards.back().id);
  out.key("has_more").boolean(has_more);
  out.end_object();
  return out.take();
}

std::string write_file_deleted(std::string_view id) {
  JsonWriter out;
  out.begin_object();
  out.key("id").string(id).key("object").string("file").key("deleted").boolean(true);
  out.end_object();
  return out.take();
}

Result<FileCard> read_file_card(const Json& object) {
  FieldReader reader(object);
  FileCard card;
  reader.read("id", card.id);
  reader.read("bytes", card.bytes);
  reader.read("created_at", card.created_s);
  reader.read("expires_at", card.expires_s);
  reader.read("filename", card.filename);
  reader.read("purpose", card.purpose);
  if (reader.failed()) {
    return *reader.error();
  }
  if (!is_object_id(card.id, kFilePrefix) || card.bytes < 0) {
    return bad_value("id", "not a file object");
  }
  return card;
}

bool is_object_id(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) && text.size() == prefix.size() + kIdDigits &&
         std::all_of(text.begin() + static_cast<std::ptrdiff_t>(prefix.size()), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

MaybeError check_expiry(const std::string& field, std::string_view anchor, std::int64_t seconds) {
  if (anchor != "created_at") {
    return bad_value(field, fmt::format("'{}' must have the anchor \"created_at\"", field));
  }
  if (seconds < kExpiresMin || seconds > kExpiresMax) {
    return bad_value(
        field, fmt::format("'{}' must be from {} to {} seconds; got {}", field, kExpiresMin, kExpiresMax, seconds));
  }
  return std::nullopt;
}

Result<ListQuery> read_list_query(std::string after, std::string_view limit, std::string_view order,
                                  std::int64_t otherwise, std::int64_t most) {
  ListQuery query;
  query.after = std::move(after);
  query.limit = otherwise;
  if (!limit.empty()) {
    const auto [end, problem] = std::from_chars(limit.data(), limit.data() + limit.size(), query.limit);
    if (problem != std::errc() || end != limit.data() + limit.size() || query.limit < 1 || query.limit > most) {
      return bad_value("limit", fmt::format("'limit' must be from 1 to {}; got \"{}\"", most, limit.substr(0, 40)));
    }
  }
  if (!order.empty() && order != "asc" && order != "desc") {
    return bad_value("order", fmt::format("'order' must be \"asc\" or \"desc\"; got \"{}\"", order.substr(0, 40)));
  }
  query.ascending = order == "asc";
  return query;
}

}  // namespace coppice::openai
