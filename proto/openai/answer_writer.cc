// Which API a request came by decides its writer.
#include "proto/openai/answer_writer.h"

#include <utility>

#include "proto/openai/chat_writer.h"
#include "proto/openai/completion_writer.h"
#include "proto/openai/service_fields.h"

namespace coppice::openai {

std::unique_ptr<AnswerWriter> make_answer_writer(const GenerationRequest& request, AnswerIdentity identity) {
  AnswerHead head;
  head.created_s = identity.created_s;
  head.model = std::move(identity.model);
  head.service_tier = service_tier_name(request.service_tier);
  head.logprobs = request.top_logprobs.has_value();
  head.include_usage = request.include_usage;
  head.continuous_usage = request.continuous_usage;
  head.return_token_ids = request.return_token_ids;
  head.has_functions = request.chat.has_functions;
  head.tokens_as_ids = request.tokens_as_ids;
  switch (request.kind) {
    case RequestKind::kChat:
      head.id = "chatcmpl-" + identity.request_id;
      return std::make_unique<ChatWriter>(std::move(head));
    case RequestKind::kCompletion:
      head.id = "cmpl-" + identity.request_id;
      return std::make_unique<CompletionWriter>(std::move(head));
  }
  return nullptr;
}

}  // namespace coppice::openai
