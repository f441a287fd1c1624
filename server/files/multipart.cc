// Cutting a body at its boundaries, and reading the two headers that matter.
#include "server/files/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <optional>
#include <utility>

#include "text/utf8.h"

namespace coppice::server {
namespace {

constexpr std::size_t kBoundaryMax = 70;        // characters; RFC 2046, 5.1.1
constexpr std::size_t kPartsMax = 16;           // a form of this API has four
constexpr std::size_t kHeadBytesMax = 4096;     // of one part's headers: some lines
constexpr std::size_t kNameBytesMax = 64;       // of a field: the longest of this API has 22
constexpr std::size_t kFilenameBytesMax = 255;  // as file systems have it
constexpr std::string_view kLineEnd = "\r\n";

openai::ApiError bad_form(std::string why) {
  return openai::bad_value("", "the multipart form cannot be read: " + std::move(why));
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view strip(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const std::size_t first = text.find_first_not_of(kBlanks);
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

bool is_boundary_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
}

// The next parameter of a header's value, `; name=value` or `; name="value"`, taken off `rest`. Nothing at the end or
// where the text is none.
std::optional<std::pair<std::string, std::string>> take_parameter(std::string_view& rest) {
  rest = strip(rest);
  if (rest.empty() || rest.front() != ';') {
    return std::nullopt;
  }
  rest.remove_prefix(1);
  const std::size_t sign = rest.find('=');
  if (sign == std::string_view::npos) {
    return std::nullopt;
  }
  std::pair<std::string, std::string> parameter(lower(strip(rest.substr(0, sign))), "");
  rest = strip(rest.substr(sign + 1));
  if (rest.empty() || rest.front() != '"') {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    parameter.second = strip(rest.substr(0, end));
    rest.remove_prefix(end);
    return parameter;
  }
  std::size_t at = 1;
  for (; at < rest.size() && rest[at] != '"'; ++at) {
    const bool is_escape = rest[at] == '\\' && at + 1 < rest.size() && (rest[at + 1] == '"' || rest[at + 1] == '\\');
    at += is_escape ? 1 : 0;
    parameter.second += rest[at];
  }
  if (at == rest.size()) {
    return std::nullopt;  // the quotes do not end
  }
  rest.remove_prefix(at + 1);
  return parameter;
}

// Fills the part from `content-disposition: form-data; name="…"; filename="…"`.
openai::MaybeError read_disposition(std::string_view value, FormPart& part) {
  const std::size_t end = std::min(value.find(';'), value.size());
  if (lower(strip(value.substr(0, end))) != "form-data") {
    return bad_form("a part's content-disposition is not form-data");
  }
  std::string_view rest = value.substr(end);
  while (const auto parameter = take_parameter(rest)) {
    if (parameter->first == "name") {
      part.name = parameter->second;
    } else if (parameter->first == "filename") {
      part.is_file = true;
      part.filename = parameter->second;
    }
  }
  if (!strip(rest).empty()) {
    return bad_form("a part's content-disposition is malformed");
  }
  if (part.name.empty() || part.name.size() > kNameBytesMax || part.filename.size() > kFilenameBytesMax) {
    return bad_form(fmt::format("a part needs a name of at most {} bytes, a file's name has at most {}", kNameBytesMax,
                                kFilenameBytesMax));
  }
  if (!text::is_valid_utf8(part.name) || !text::is_valid_utf8(part.filename)) {
    return bad_form("a name is not valid UTF-8");
  }
  return std::nullopt;
}

// `head` is the part's header lines, without the empty one.
openai::MaybeError read_head(std::string_view head, FormPart& part) {
  bool has_disposition = false;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(head.size(), end + kLineEnd.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || line.find_first_of("\r\n") != std::string_view::npos) {
      return bad_form("a part's header is malformed");
    }
    const std::string name = lower(strip(line.substr(0, colon)));
    const std::string_view value = strip(line.substr(colon + 1));
    if (name == "content-disposition") {
      if (std::exchange(has_disposition, true)) {
        return bad_form("a part has two content-disposition headers");
      }
      if (openai::MaybeError error = read_disposition(value, part)) {
        return error;
      }
    } else if (name == "content-transfer-encoding") {
      const std::string coding = lower(value);
      if (coding != "binary" && coding != "8bit" && coding != "7bit") {
        return bad_form("a part has a content-transfer-encoding other than binary");
      }
    }
  }
  return has_disposition ? std::nullopt : openai::MaybeError(bad_form("a part has no content-disposition"));
}

// What follows a boundary on its line: true, the form ends; false, a part begins behind `rest`. Nothing: neither.
std::optional<bool> end_of_boundary(std::string_view& rest) {
  if (rest.starts_with("--")) {
    return true;
  }
  const std::size_t blanks = std::min(rest.find_first_not_of(" \t"), rest.size());
  rest.remove_prefix(blanks);
  if (!rest.starts_with(kLineEnd)) {
    return std::nullopt;
  }
  rest.remove_prefix(kLineEnd.size());
  return false;
}

}  // namespace

std::string form_boundary(std::string_view content_type) {
  const std::size_t end = std::min(content_type.find(';'), content_type.size());
  if (lower(strip(content_type.substr(0, end))) != "multipart/form-data") {
    return "";
  }
  std::string_view rest = content_type.substr(end);
  std::string boundary;
  while (const auto parameter = take_parameter(rest)) {
    if (parameter->first == "boundary") {
      boundary = parameter->second;
    }
  }
  const bool is_allowed = !boundary.empty() && boundary.size() <= kBoundaryMax && boundary.back() != ' ' &&
                          std::all_of(boundary.begin(), boundary.end(), is_boundary_char);
  return is_allowed ? boundary : "";
}

openai::Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body) {
  const std::string boundary = form_boundary(content_type);
  if (boundary.empty()) {
    return bad_form("the header content-type names no boundary");
  }
  const std::string delimiter = "\r\n--" + boundary;
  std::vector<FormPart> parts;
  std::string_view rest = body;
  // The first boundary may stand at the very beginning; what else stands before it is a preamble.
  const bool begins = body.starts_with(std::string_view(delimiter).substr(kLineEnd.size()));
  const std::size_t first = begins ? 0 : body.find(delimiter);
  if (first == std::string_view::npos) {
    return bad_form("its boundary is not in the body");
  }
  rest.remove_prefix(first + delimiter.size() - (begins ? kLineEnd.size() : 0));
  while (true) {
    const std::optional<bool> is_end = end_of_boundary(rest);
    if (!is_end) {
      return bad_form("a boundary is followed by something else");
    }
    if (*is_end) {
      return parts;
    }
    if (parts.size() == kPartsMax) {
      return bad_form(fmt::format("it has more than {} parts", kPartsMax));
    }
    const std::size_t head_end = rest.substr(0, kHeadBytesMax).find("\r\n\r\n");
    const std::size_t content_end = rest.find(delimiter);
    if (content_end == std::string_view::npos) {
      return bad_form("its last boundary is missing");
    }
    if (head_end == std::string_view::npos || head_end + kLineEnd.size() > content_end) {
      return bad_form(fmt::format("a part's headers do not end within {} bytes", kHeadBytesMax));
    }
    FormPart part;
    if (openai::MaybeError error = read_head(rest.substr(0, head_end), part)) {
      return *std::move(error);
    }
    const std::size_t content_begin = head_end + 2 * kLineEnd.size();
    // An empty content: the empty line's own end is that of the boundary.
    part.content =
        content_begin > content_end ? std::string_view() : rest.substr(content_begin, content_end - content_begin);
    parts.push_back(std::move(part));
    rest.remove_prefix(content_end + delimiter.size());
  }
}

}  // namespace coppice::server
