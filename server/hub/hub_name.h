// A model's name on the Hugging Face Hub, as MODEL may have it: owner/name[@revision][:QUANT].
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace coppice::server {

struct HubName {
  std::string owner;
  std::string name;
  std::string revision = "main";  // a branch, a tag or a commit
  std::string quant;              // "Q4_K_M": of a GGUF file; "" = none is asked for

  std::string repository() const { return owner + "/" + name; }
  // What clients call the model: everything but the revision.
  std::string served_name() const { return repository() + (quant.empty() ? "" : ":" + quant); }
};

// Nothing when `text` is no such name: the Hub's own rules for names, git's for revisions, none of which leads out of a
// folder.
std::optional<HubName> parse_hub_name(std::string_view text);

// True: 40 lower-case hexadecimal digits.
bool is_commit(std::string_view text);

// Lower-case hexadecimal digits, `count` of them.
bool is_hex(std::string_view text, std::size_t count);

// True: `path` stays in the folder that it is relative to: parts between slashes, none empty, "." or "..", no control
// character, none longer than a file system takes.
bool is_safe_path(std::string_view path);

// `text` of a server, fit to be shown in a message: cut, control characters replaced.
std::string printable(std::string_view text);

}  // namespace coppice::server
