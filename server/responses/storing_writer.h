// StoringWriter: the writer of a response that is stored when it is complete, before the client reads its end.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "proto/openai/responses_writer.h"
#include "server/stored/response_store.h"

namespace coppice::server {

// The store outlives it.
class StoringWriter final : public openai::AnswerWriter {
 public:
  // `input`: the request's own items as JSON; `previous`: what they continue.
  StoringWriter(openai::ResponseHead head, ResponseStore& store, std::string tenant, std::string input,
                TurnPointer previous)
      : writer_(std::move(head)),
        store_(store),
        tenant_(std::move(tenant)),
        input_(std::move(input)),
        previous_(std::move(previous)) {}

  std::string whole(const openai::Answer& answer) const override;
  void append_begin(const openai::AnswerUsage& known, std::string& out) override { writer_.append_begin(known, out); }
  void append_delta(const openai::ChoiceDelta& delta, std::string& out) override { writer_.append_delta(delta, out); }
  void append_end(const openai::Answer& answer, std::string& out) override;
  void append_error(const openai::ApiError& error, std::string& out) override { writer_.append_error(error, out); }
  std::size_t held_bytes() const override { return writer_.held_bytes() + input_.size(); }

 private:
  void store(openai::ResponseTexts texts) const;

  openai::ResponsesWriter writer_;
  ResponseStore& store_;
  const std::string tenant_;
  const std::string input_;
  const TurnPointer previous_;
};

}  // namespace coppice::server
