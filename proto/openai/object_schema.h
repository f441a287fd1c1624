// What the small objects hold, for documents: models, the tokenizer's answers, corpora.
#pragma once

#include "proto/openai/limits.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

Schema model_schema();
Schema model_list_schema();
Schema tokenize_answer_schema();
Schema detokenize_answer_schema();

Schema corpus_request_schema(const RequestLimits& limits);
Schema corpus_schema();
Schema corpus_list_schema();
Schema corpus_deleted_schema();

}  // namespace coppice::openai
