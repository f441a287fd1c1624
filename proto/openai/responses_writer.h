// The writer of /v1/responses: one response object, or the events that make it up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/openai/answer_writer.h"
#include "proto/openai/response_output.h"

namespace coppice::openai {

// What is stored of a response that has ended.
struct ResponseTexts {
  std::string object;  // the response, as its answer had it
  std::string output;  // its items alone: an array
};

// Of answers with one choice.
class ResponsesWriter final : public AnswerWriter {
 public:
  explicit ResponsesWriter(ResponseHead head) : head_(std::move(head)), output_(head_.id) {}

  std::string whole(const Answer& answer) const override { return texts(answer).object; }
  void append_begin(const AnswerUsage& known, std::string& out) override;
  void append_delta(const ChoiceDelta& delta, std::string& out) override;
  void append_end(const Answer& answer, std::string& out) override;
  void append_error(const ApiError& error, std::string& out) override;
  std::size_t held_bytes() const override { return output_.bytes(); }

  ResponseTexts texts(const Answer& answer) const;
  // REQUIRES: after append_end().
  ResponseTexts texts() const;
  // The object before the answer has begun: "queued", "in_progress", "cancelled".
  std::string pending(std::string_view status) const;
  std::string failed(const ApiError& error) const;

  const std::string& id() const { return head_.id; }

 private:
  std::string ended(const ResponseOutput& output, const AnswerUsage& usage) const;

  const ResponseHead head_;
  ResponseOutput output_;      // streamed so far
  std::string ended_;          // the object at the stream's end
  std::int64_t sequence_ = 0;  // of the next event
  bool has_begun_ = false;
};

}  // namespace coppice::openai
