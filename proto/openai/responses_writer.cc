// The order of a stream: created, in progress, items, the end.
#include "proto/openai/responses_writer.h"

#include <ctime>
#include <utility>

namespace coppice::openai {

std::string ResponsesWriter::pending(std::string_view status) const {
  ResponseState state;
  state.status = status;
  return write_response(head_, state);
}

std::string ResponsesWriter::failed(const ApiError& error) const {
  ResponseState state;
  state.status = "failed";
  state.error = &error;
  state.items = &output_.items();
  return write_response(head_, state);
}

std::string ResponsesWriter::ended(const ResponseOutput& output, const AnswerUsage& usage) const {
  ResponseState state;
  state.status = output.is_cut() ? "incomplete" : "completed";
  state.completed_s = output.is_cut() ? 0 : static_cast<std::int64_t>(std::time(nullptr));
  state.usage = &usage;
  state.items = &output.items();
  return write_response(head_, state);
}

ResponseTexts ResponsesWriter::texts(const Answer& answer) const {
  ResponseOutput output(head_.id);
  for (const ChoiceDelta& choice : answer.choices) {
    output.add(choice, nullptr);
  }
  output.end(nullptr);
  return {ended(output, answer.usage), write_items(output.items())};
}

ResponseTexts ResponsesWriter::texts() const {
  return {ended_, write_items(output_.items())};
}

void ResponsesWriter::append_begin(const AnswerUsage& /*known*/, std::string& out) {
  if (std::exchange(has_begun_, true)) {
    return;
  }
  ResponseEvents events(sequence_, out);
  const std::string object = pending("in_progress");
  events.response("response.created", object);
  events.response("response.in_progress", object);
}

void ResponsesWriter::append_delta(const ChoiceDelta& delta, std::string& out) {
  ResponseEvents events(sequence_, out);
  output_.add(delta, &events);
}

void ResponsesWriter::append_end(const Answer& answer, std::string& out) {
  ResponseEvents events(sequence_, out);
  output_.end(&events);
  ended_ = ended(output_, answer.usage);
  events.response(output_.is_cut() ? "response.incomplete" : "response.completed", ended_);
}

void ResponsesWriter::append_error(const ApiError& error, std::string& out) {
  ResponseEvents events(sequence_, out);
  events.error(error);
  events.response("response.failed", failed(error));
}

}  // namespace coppice::openai
