// Writing, then storing what was written.
#include "server/responses/storing_writer.h"

namespace coppice::server {

void StoringWriter::store(openai::ResponseTexts texts) const {
  store_.put(tenant_, writer_.id(), std::move(texts.object), input_, texts.output, previous_);
}

std::string StoringWriter::whole(const openai::Answer& answer) const {
  openai::ResponseTexts texts = writer_.texts(answer);
  std::string object = texts.object;
  store(std::move(texts));
  return object;
}

void StoringWriter::append_end(const openai::Answer& answer, std::string& out) {
  writer_.append_end(answer, out);
  store(writer_.texts());
}

}  // namespace coppice::server
