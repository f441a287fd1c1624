// Small objects. Their writers are write_objects.h and corpus.h.
#include "proto/openai/object_schema.h"

#include "proto/openai/corpus.h"

namespace coppice::openai {
namespace {

Schema list_of(const Schema& items) {
  return Schema::object({required("object", Schema::word({"list"})), required("data", Schema::array(items))});
}

Schema::Member corpus_object() {
  return required("object", Schema::word({"speculation.corpus"}));
}

}  // namespace

Schema model_schema() {
  return Schema::object({required("id", Schema::string()), required("object", Schema::word({"model"})),
                         required("created", Schema::integer(0)), required("owned_by", Schema::string()),
                         required("max_model_len", Schema::integer(1), "Tokens of prompt and answer together.")})
      .named("Model");
}

Schema model_list_schema() {
  return list_of(model_schema()).named("ModelList");
}

Schema tokenize_answer_schema() {
  const Schema texts = Schema::one_of("an array of strings or null", {Schema::array(Schema::string()), Schema::null()});
  return Schema::object({required("count", Schema::integer(0)), required("max_model_len", Schema::integer(1)),
                         required("tokens", Schema::array(Schema::integer(0))), required("token_strs", texts)})
      .named("Tokens");
}

Schema detokenize_answer_schema() {
  return Schema::object({required("prompt", Schema::string())}).named("Text");
}

Schema corpus_request_schema(const RequestLimits& limits) {
  const Schema::Member name = required("name", Schema::string(1, kCorpusNameMax), "Letters, digits, '.', '_' and '-'.");
  const Schema::Member salt = optional("cache_salt", Schema::string(0, static_cast<std::size_t>(limits.name_bytes_max)),
                                       "Of the requests that shall draft from it.");
  const auto most = static_cast<std::size_t>(limits.corpus_sequences_max);
  const Schema ids = Schema::array(Schema::integer(0, limits.vocab - 1), 1, std::nullopt, "token ids");
  return Schema::one_of(
             "an object with 'name', and 'texts' or 'tokens'",
             {Schema::object({name, salt, required("texts", Schema::array(Schema::string(1), 1, most, "texts"))}),
              Schema::object({name, salt, required("tokens", Schema::array(ids, 1, most, "arrays of token ids"))})})
      .named("CorpusRequest");
}

Schema corpus_schema() {
  return Schema::object({required("name", Schema::string(1)), corpus_object(),
                         required("sequences", Schema::integer(0)), required("tokens", Schema::integer(0)),
                         required("shared", Schema::boolean())})
      .named("Corpus");
}

Schema corpus_list_schema() {
  return list_of(corpus_schema()).named("CorpusList");
}

Schema corpus_deleted_schema() {
  return Schema::object({required("name", Schema::string(1)), corpus_object(), required("deleted", Schema::boolean())})
      .named("CorpusDeleted");
}

}  // namespace coppice::openai
