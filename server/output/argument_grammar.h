// Arguments that are not written as one JSON object: one part of a structural tag for all arguments of a call.
#pragma once

#include <string>

#include "proto/openai/request.h"
#include "server/output/output_format.h"

namespace coppice::server {

// a=1, b="x": the required ones first, values as JSON: Python except for three words, which the parser knows.
openai::Json python_arguments(const openai::Json& schema);

// \n<parameter=k>\nvalue\n</parameter> for each parameter that there is. A parameter that may be a string is text.
openai::Json xml_arguments(const openai::Json& schema);

// What of `schema` these do not enforce and JSON would; "": nothing.
std::string unenforced_argument(const openai::Json& schema, CallShape shape);

}  // namespace coppice::server
