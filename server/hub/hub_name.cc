// What names, revisions and paths may be made of.
#include "server/hub/hub_name.h"

#include <algorithm>

namespace coppice::server {
namespace {

constexpr std::size_t kRepositoryBytesMost = 96;  // owner/name; the Hub's own limit
constexpr std::size_t kRevisionBytesMost = 200;   // a file name in refs/ has at most 255 bytes
constexpr std::size_t kQuantBytesMost = 64;       // the longest in use has some 12
constexpr std::size_t kPathBytesMost = 1024;      // of a file in a repository; Linux takes 4096 in all
constexpr std::size_t kPartBytesMost = 240;       // of a path's part; file systems take 255
constexpr std::size_t kShownBytesMost = 160;      // of a server's text in a message: one line of a terminal or two

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

bool is_words(std::string_view text, std::string_view others = "") {
  return !text.empty() && std::all_of(text.begin(), text.end(), [others](char c) {
    return is_word(c) || others.find(c) != std::string_view::npos;
  });
}

// "--" is what the cache's folders have in the place of a slash.
bool is_repository_part(std::string_view text) {
  const auto is_edge = [](char c) { return c == '-' || c == '.'; };
  return is_words(text) && !is_edge(text.front()) && !is_edge(text.back()) &&
         text.find("--") == std::string_view::npos && text.find("..") == std::string_view::npos;
}

}  // namespace

bool is_hex(std::string_view text, std::size_t count) {
  return text.size() == count &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_commit(std::string_view text) {
  constexpr std::size_t kDigits = 40;  // of git's SHA-1
  return is_hex(text, kDigits);
}

bool is_safe_path(std::string_view path) {
  if (path.size() > kPathBytesMost) {
    return false;
  }
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    const bool is_plain = std::all_of(part.begin(), part.end(), [](char c) {
      return static_cast<unsigned char>(c) >= ' ' && c != '\x7f' && c != '\\';
    });
    if (part.empty() || part == "." || part == ".." || part.size() > kPartBytesMost || !is_plain) {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    path.remove_prefix(slash + 1);
  }
}

std::optional<HubName> parse_hub_name(std::string_view text) {
  HubName found;
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    found.quant = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (!is_words(found.quant) || found.quant.size() > kQuantBytesMost) {
      return std::nullopt;
    }
  }
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    found.revision = text.substr(at + 1);
    text = text.substr(0, at);
    const std::string& revision = found.revision;
    if (!is_words(revision, "/+") || !is_safe_path(revision) || revision.size() > kRevisionBytesMost ||
        revision.front() == '-' || revision.find("..") != std::string::npos) {
      return std::nullopt;
    }
  }
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || text.size() > kRepositoryBytesMost ||
      !is_repository_part(text.substr(0, slash)) || !is_repository_part(text.substr(slash + 1))) {
    return std::nullopt;
  }
  found.owner = text.substr(0, slash);
  found.name = text.substr(slash + 1);
  return found;
}

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, kShownBytesMost));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
  return text.size() > kShownBytesMost ? shown + "…" : shown;
}

}  // namespace coppice::server
