// Which reader reads which shape.
#include "server/output/call_reader.h"

#include "base/check.h"
#include "server/output/json_call_reader.h"
#include "server/output/named_call_reader.h"
#include "server/output/python_call_reader.h"
#include "server/output/xml_call_reader.h"

namespace coppice::server {

std::unique_ptr<CallReader> make_call_reader(const ToolFormat& format, const ToolSet& tools, bool is_in_function,
                                             bool is_marked) {
  switch (format.shape) {
    case CallShape::kJson:
      return std::make_unique<JsonCallReader>(tools, /*needs_arguments=*/!is_marked);
    case CallShape::kPython:
      return std::make_unique<PythonCallReader>(tools);
    case CallShape::kXml:
      return std::make_unique<XmlCallReader>(tools, is_in_function);
    case CallShape::kNamed:
      return std::make_unique<NamedCallReader>(tools);
    case CallShape::kNone:
      break;
  }
  COPPICE_CHECK(false, "no calls in this format");
  return nullptr;
}

}  // namespace coppice::server
