// multipart/form-data (RFC 7578 over RFC 2046), as a body that has come whole: bodies are bounded by --max-body, so
// nothing is gained by reading one as it comes. The parts are views of the body.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/api_error.h"

namespace coppice::server {

struct FormPart {
  std::string name;
  std::string filename;  // "" when the part is no file; text of the client's, never a path
  bool is_file = false;
  std::string_view content;
};

// The boundary that a content-type field names; "" when it names no multipart/form-data or no boundary of 1 to 70 of
// the characters that RFC 2046 allows.
std::string form_boundary(std::string_view content_type);

// Time is linear in the body's size. ERRORS: 400 saying what is wrong: a boundary that does not end the body, a part
// without a name, more parts, headers or longer names than any form of this API has.
openai::Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body);

}  // namespace coppice::server
