// OpenAI's model objects, vLLM's tokenizer objects.
#include "proto/openai/write_objects.h"

#include "proto/openai/json_writer.h"

namespace coppice::openai {

std::string write_model(const ModelCard& card) {
  JsonWriter out;
  out.begin_object();
  out.key("id").string(card.id);
  out.key("object").string("model");
  out.key("created").integer(card.created_s);
  out.key("owned_by").string("coppice");
  out.key("max_model_len").integer(card.model_tokens_max);
  out.end_object();
  return out.take();
}

std::string write_model_list(std::span<const ModelCard> cards) {
  JsonWriter out;
  out.begin_object();
  out.key("object").string("list");
  out.key("data").begin_array();
  for (const ModelCard& card : cards) {
    out.raw(write_model(card));
  }
  out.end_array().end_object();
  return out.take();
}

std::string write_tokenize(std::span<const TokenId> tokens, std::int64_t model_tokens_max,
                           const std::vector<std::string>* token_strs) {
  JsonWriter out;
  out.begin_object();
  out.key("count").integer(static_cast<std::int64_t>(tokens.size()));
  out.key("max_model_len").integer(model_tokens_max);
  out.key("tokens").begin_array();
  for (const TokenId token : tokens) {
    out.integer(token);
  }
  out.end_array();
  out.key("token_strs");
  if (token_strs == nullptr) {
    out.null();
  } else {
    out.begin_array();
    for (const std::string& piece : *token_strs) {
      out.string(piece);
    }
    out.end_array();
  }
  out.end_object();
  return out.take();
}

std::string write_detokenize(std::string_view text) {
  JsonWriter out;
  out.begin_object().key("prompt").string(text).end_object();
  return out.take();
}

}  // namespace coppice::openai
