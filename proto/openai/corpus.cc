// Reading and writing what the corpus routes speak.
#include "proto/openai/corpus.h"

#include <fmt/format.h>
#include <algorithm>

#include "proto/openai/json_reader.h"
#include "proto/openai/json_writer.h"

namespace coppice::openai {
namespace {

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kCorpusNameMax && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

Result<std::vector<TokenId>> read_tokens(const Json& value, const RequestLimits& limits) {
  if (!value.is_array()) {
    return bad_value("tokens", "'tokens' must hold arrays of token ids; got " + describe(value));
  }
  if (value.empty()) {
    return bad_value("tokens", "'tokens' must hold arrays that are not empty");
  }
  std::vector<TokenId> tokens;
  tokens.reserve(value.size());
  for (const Json& token : value) {
    const std::optional<std::int64_t> id = as_integer(token);
    if (!id.has_value() || *id < 0 || *id >= limits.vocab) {
      return bad_value("tokens",
                       fmt::format("'tokens' must hold ids from 0 to {}; got {}", limits.vocab - 1, describe(token)));
    }
    tokens.push_back(static_cast<TokenId>(*id));
  }
  return tokens;
}

void write_card(const CorpusCard& card, JsonWriter& out) {
  out.begin_object().key("name").string(card.name).key("object").string("speculation.corpus");
  out.key("sequences").integer(card.sequences).key("tokens").integer(card.tokens);
  out.key("shared").boolean(card.shared).end_object();
}

}  // namespace

Result<CorpusRequest> parse_corpus_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  if (!parsed.value().is_object()) {
    return bad_value("", "the request body must be a JSON object; got " + describe(parsed.value()));
  }
  FieldReader reader(parsed.value());
  CorpusRequest request;
  reader.read("name", request.name);
  reader.read("cache_salt", request.cache_salt);
  const Json* const texts = reader.find("texts");
  const Json* const tokens = reader.find("tokens");
  if (reader.failed()) {
    return *reader.error();
  }
  if (!is_name(request.name)) {
    return bad_value("name", fmt::format("'name' must be 1 to {} letters, digits, '.', '_' or '-'", kCorpusNameMax));
  }
  if (request.cache_salt.size() > static_cast<std::size_t>(limits.name_bytes_max)) {
    return bad_value("cache_salt", fmt::format("'cache_salt' must have at most {} bytes", limits.name_bytes_max));
  }
  const Json* const list = texts != nullptr ? texts : tokens;
  const char* const field = texts != nullptr ? "texts" : "tokens";
  if ((texts != nullptr) == (tokens != nullptr) || !list->is_array() || list->empty()) {
    return bad_value(
        list == nullptr ? "texts" : field,
        "either 'texts' (an array of strings) or 'tokens' (an array of arrays of token ids) must be given, "
        "and not be empty");
  }
  if (list->size() > static_cast<std::size_t>(limits.corpus_sequences_max)) {
    return bad_value(field, fmt::format("'{}' must hold at most {} entries; got {}; send the rest in further calls",
                                        field, limits.corpus_sequences_max, list->size()));
  }
  request.texts.reserve(list->size());
  for (const Json& item : *list) {
    if (tokens != nullptr) {
      Result<std::vector<TokenId>> ids = read_tokens(item, limits);
      if (!ids.ok()) {
        return std::move(ids.error());
      }
      request.texts.emplace_back(std::move(ids.value()));
    } else if (item.is_string() && item.get_ref<const std::string&>().empty()) {
      return bad_value("texts", "'texts' must hold strings that are not empty");
    } else if (item.is_string()) {
      request.texts.emplace_back(item.get_ref<const std::string&>());
    } else {
      return bad_value("texts", "'texts' must hold strings; got " + describe(item));
    }
  }
  return request;
}

Result<CorpusText> parse_corpus_line(std::string_view line, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(line, limits, "the line");
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  const Json& object = parsed.value();
  const bool has_text = object.is_object() && object.contains("text");
  const bool has_tokens = object.is_object() && object.contains("tokens");
  if (has_text == has_tokens) {
    return bad_value("text", "a line must be an object with either 'text' or 'tokens'");
  }
  if (has_tokens) {
    Result<std::vector<TokenId>> ids = read_tokens(object.at("tokens"), limits);
    if (!ids.ok()) {
      return std::move(ids.error());
    }
    return CorpusText(std::move(ids.value()));
  }
  if (!object.at("text").is_string()) {
    return bad_value("text", "'text' must be a string; got " + describe(object.at("text")));
  }
  if (object.at("text").get_ref<const std::string&>().empty()) {
    return bad_value("text", "'text' must not be empty");
  }
  return CorpusText(object.at("text").get_ref<const std::string&>());
}

std::string write_corpus(const CorpusCard& card) {
  JsonWriter out;
  write_card(card, out);
  return out.take();
}

std::string write_corpus_list(std::span<const CorpusCard> cards) {
  JsonWriter out;
  out.begin_object().key("object").string("list").key("data").begin_array();
  for (const CorpusCard& card : cards) {
    write_card(card, out);
  }
  out.end_array().end_object();
  return out.take();
}

std::string write_corpus_deleted(std::string_view name) {
  JsonWriter out;
  out.begin_object().key("name").string(name).key("object").string("speculation.corpus");
  out.key("deleted").boolean(true).end_object();
  return out.take();
}

}  // namespace coppice::openai
