// Fuzz target: the files that a server's flags name: API keys, options in YAML, and the snapshot of past outputs. What
// is accepted must keep its promises, and be the same when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/speculation/snapshot_file.h"
#include "server/access/api_keys.h"
#include "server/config/option_table.h"

namespace {

void require(bool promise) {
  if (!promise) {
    std::abort();
  }
}

void fuzz_keys(const std::string& input) {
  const auto keys = coppice::server::ApiKeys::parse(input, "keys");
  if (!keys.ok()) {
    require(!keys.status().message().empty());
    return;
  }
  require(keys->required() && keys->shares() >= 1);
  require(!keys->tenant("").has_value());
  const std::string line = input.substr(0, input.find('\n'));
  if (const auto tenant = keys->tenant(line)) {
    require(*tenant == coppice::server::tenant_of_key(line) && keys->is_known(*tenant));
  }
}

void fuzz_yaml(const std::string& input) {
  std::string text;
  std::int32_t integer = 0;
  std::size_t bytes = 1024;
  double number = 0;
  bool is_on = false;
  coppice::server::OptionTable table;
  table.add_text("host", &text, "");
  table.add_integer("port", &integer, 0, 65535, "");
  table.add_bytes("max-body", &bytes, 1024, 1 << 30, "");
  table.add_number("timeout", &number, 0, 10, "");
  table.add_switch("sharing", &is_on, "");
  if (const auto status = table.parse_yaml(input, "input"); !status.ok()) {
    require(!status.message().empty());
  }
  require(integer >= 0 && integer <= 65535 && bytes >= 1024 && bytes <= 1 << 30 && number >= 0 && number <= 10);
}

void fuzz_snapshot(std::string input) {
  constexpr std::uint64_t kFingerprint = 7;
  static_cast<void>(coppice::engine::parse_snapshot(input, kFingerprint, "input"));
  // The same as the payload of a file whose header is right.
  const auto snapshot =
      coppice::engine::parse_snapshot(coppice::engine::with_header(input, kFingerprint), kFingerprint, "input");
  if (snapshot.ok()) {
    for (const coppice::engine::TenantText& tenant : snapshot->tenants) {
      for (const coppice::engine::SharedText& sequence : tenant.sequences) {
        for (const coppice::TokenId token : *sequence) {
          require(token >= 0);
        }
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::string input(data + 1, data + size);
  switch (data[0] % 3) {
    case 0:
      fuzz_keys(input);
      break;
    case 1:
      fuzz_yaml(input);
      break;
    default:
      fuzz_snapshot(input);
      break;
  }
  return 0;
}
