// Paths and queries.
#include "server/http/route.h"

#include <algorithm>
#include <utility>

namespace coppice::server {
namespace {

// The value of a hexadecimal digit; -1 when it is none.
int hex_value(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

}  // namespace

std::string decode_path(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool matches_path(std::string_view pattern, std::string_view path, std::vector<std::string>& parts) {
  std::vector<std::string> found;
  while (!pattern.empty()) {
    if (pattern.front() != '{') {
      if (path.empty() || path.front() != pattern.front()) {
        return false;
      }
      pattern.remove_prefix(1);
      path.remove_prefix(1);
      continue;
    }
    const std::size_t end = pattern.find('}');
    const bool is_rest = pattern.substr(0, end).ends_with("...");
    const std::string_view part = is_rest ? path : path.substr(0, path.find('/'));
    if (part.empty()) {
      return false;
    }
    found.push_back(decode_path(part));
    pattern.remove_prefix(end + 1);
    path.remove_prefix(part.size());
  }
  if (!path.empty()) {
    return false;
  }
  parts.insert(parts.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  return true;
}

std::string query_value(const RouteCall& call, std::string_view name) {
  const std::string_view target = call.request.target;
  const std::size_t mark = target.find('?');
  std::string_view rest = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    if (pair.substr(0, pair.find('=')) == name && pair.size() > name.size()) {
      return decode_path(pair.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
  }
  return "";
}

}  // namespace coppice::server
