// CallReader: reads one tool call byte by byte, whatever text the bytes are cut into, and gives its arguments as JSON
// as they come. One class a spelling of calls (CallShape).
//
// A call begins once its name is known and is a declared tool's; until then all of it may yet be text. What a reader
// says depends on the bytes alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/output/output_format.h"
#include "server/output/tool_set.h"

namespace coppice::server {

// What a byte did to a value or a call.
enum class Read : std::uint8_t {
  kMore,        // it is a part, and the end has not come
  kDone,        // it is the last byte
  kDoneBefore,  // the end came before it: it is not a part
  kFailed,      // it is no part: this is malformed
};

// Owner: a parser. Thread: its session's.
class CallReader {
 public:
  virtual ~CallReader() = default;

  // Appends to `arguments` what has become certain of them. REQUIRES: kMore so far.
  virtual Read push(char byte, std::string& arguments) = 0;
  // A mark of the format as a special token. The call goes on, or it is malformed.
  virtual Read push_mark(Terminal /*mark*/) { return Read::kFailed; }
  // The output ended inside the call. Appends what was held back of the arguments.
  virtual void finish(std::string& /*arguments*/) {}

  // Null: the call has not begun.
  const Tool* tool() const { return tool_; }

 protected:
  void begin(const Tool* tool) { tool_ = tool; }

 private:
  const Tool* tool_ = nullptr;
};

// Of JSON, which is Python's too as far as calls go.
inline bool is_space(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

inline bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

inline bool is_hex(char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

// In names of functions and arguments that are neither in quotes nor in tags.
inline bool is_name_part(char byte) {
  constexpr unsigned char kAscii = 0x80;  // bytes below are
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '_' ||
         byte == '.' || byte == '-' || byte == ':' || byte == '/' || static_cast<unsigned char>(byte) >= kAscii;
}

// Whether `reader` reads a call that has begun. Null: no.
inline bool has_begun(const CallReader* reader) {
  return reader != nullptr && reader->tool() != nullptr;
}

// A reader of the format's calls that starts behind what opens them. `is_in_function`: "<function=" has been read.
// `is_marked`: an opener came, so a name alone is sign enough. `tools` outlives it.
std::unique_ptr<CallReader> make_call_reader(const ToolFormat& format, const ToolSet& tools, bool is_in_function,
                                             bool is_marked);

}  // namespace coppice::server
