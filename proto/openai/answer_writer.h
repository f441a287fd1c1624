// AnswerWriter: an answer as one HTTP API sends it, whole as one JSON object or streamed as server-sent events. One
// class per API; each reads the items with a visitor that has an overload per kind of item, so a writer that forgets
// one does not compile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proto/openai/answer.h"
#include "proto/openai/api_error.h"
#include "proto/openai/request.h"

namespace coppice::openai {

// Owner: the request's handler. Thread: its owner's. Used for one answer, either whole or streamed.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  // The JSON object of a whole answer.
  virtual std::string whole(const Answer& answer) const = 0;

  // A stream's events, appended to `out`: the beginning, deltas as they come, then either the end or an error. `known`:
  // what can be said of the usage before the first token.
  virtual void append_begin(const AnswerUsage& /*known*/, std::string& /*out*/) {}
  virtual void append_delta(const ChoiceDelta& delta, std::string& out) = 0;
  virtual void append_end(const Answer& answer, std::string& out) = 0;
  virtual void append_error(const ApiError& error, std::string& out) = 0;
  // A sign of life while nothing else is sent, after append_begin(). Most APIs have none.
  virtual void append_ping(std::string& /*out*/) {}

  // Memory of the streamed answer that the writer keeps to repeat it at the end.
  virtual std::size_t held_bytes() const { return 0; }
};

// Identity of an answer, repeated in all its objects.
struct AnswerIdentity {
  std::string request_id;
  std::int64_t created_s = 0;  // Unix time
  std::string model;
};

// The writer of the API that `request` came by.
std::unique_ptr<AnswerWriter> make_answer_writer(const GenerationRequest& request, AnswerIdentity identity);

}  // namespace coppice::openai
