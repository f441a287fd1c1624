// CallIds: ids of tool calls, unique over the server's life and not to be guessed: a client's next request names a call
// by its id alone.
#pragma once

#include <string>

namespace coppice::server {

// A value. Thread: any.
class CallIds {
 public:
  // `is_short`: nine letters and digits, as Mistral's templates want them; else "call_" and 24 of them, as OpenAI's.
  explicit CallIds(bool is_short = false) : is_short_(is_short) {}

  // Another one each time.
  std::string next() const;

 private:
  bool is_short_;
};

}  // namespace coppice::server
