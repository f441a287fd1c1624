// Parts of structural tags, as XGrammar has them in JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"
#include "proto/openai/request.h"

namespace coppice::server {

inline openai::Json text_part(std::string_view text) {
  return {{"type", "const_string"}, {"value", std::string(text)}};
}

inline openai::Json token_part(TokenId token) {
  return {{"type", "token"}, {"token", token}};
}

inline openai::Json schema_part(const openai::Json& schema) {
  openai::Json part = {{"type", "json_schema"}};
  part["json_schema"] = schema;
  return part;
}

inline openai::Json sequence_part(std::vector<openai::Json> parts) {
  openai::Json part = {{"type", "sequence"}};
  part["elements"] = std::move(parts);
  return part;
}

inline openai::Json either_part(const std::vector<openai::Json>& parts) {
  if (parts.size() == 1) {
    return parts.front();
  }
  openai::Json part = {{"type", "or"}};
  part["elements"] = parts;
  return part;
}

inline openai::Json optional_part(openai::Json content) {
  openai::Json part = {{"type", "optional"}};
  part["content"] = std::move(content);
  return part;
}

// None, or any number of them.
inline openai::Json repeat_part(openai::Json content) {
  openai::Json part = {{"type", "star"}};
  part["content"] = std::move(content);
  return part;
}

}  // namespace coppice::server
