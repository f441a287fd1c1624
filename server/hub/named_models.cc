// The table read, and its models fetched.
#include "server/hub/named_models.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/hub/content_check.h"
#include "server/hub/part_file.h"
#include "server/hub/zip_member.h"
#include "spdlog/spdlog.h"
#include "yaml-cpp/yaml.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTableBytesMost = std::size_t{1} << 20;     // of some hundred entries
constexpr std::uint64_t kFileBytesMost = std::uint64_t{1} << 42;  // 4 TiB: beyond every model
constexpr std::size_t kSha256Digits = 64;                         // hexadecimal
constexpr std::size_t kShownDigits = 12;                          // of a hash in a folder's name

using Fields = std::map<std::string, std::string>;

absl::StatusOr<std::uint64_t> read_bytes(const Fields& fields, const std::string& name) {
  const std::string& text = fields.at(name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > kFileBytesMost) {
    return absl::InvalidArgumentError(fmt::format("{} must be a number of bytes; it is \"{}\"", name, text));
  }
  return value;
}

absl::StatusOr<std::string> read_hash(const Fields& fields, const std::string& name) {
  if (!is_hex(fields.at(name), kSha256Digits)) {
    return absl::InvalidArgumentError(fmt::format("{} must be 64 hexadecimal digits", name));
  }
  return fields.at(name);
}

absl::StatusOr<NamedModel> read_model(const Fields& fields) {
  const auto demand = [&fields](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (!fields.contains(name)) {
        return absl::InvalidArgumentError(fmt::format("{} is not there", name));
      }
    }
    return absl::OkStatus();
  };
  COPPICE_RETURN_IF_ERROR(demand({"name"}));
  NamedModel model;
  model.name = fields.at("name");
  if (!is_safe_path(model.name) || model.name.find_first_of("/:@") != std::string::npos) {
    return absl::InvalidArgumentError("name must be one word");
  }
  if (fields.contains("hub")) {
    model.hub = fields.at("hub");
    const bool is_alone = fields.size() == 2;
    return is_alone && parse_hub_name(model.hub).has_value()
               ? absl::StatusOr<NamedModel>(std::move(model))
               : absl::InvalidArgumentError(
                     "hub must be owner/name[@revision][:QUANT], and name all that is beside it");
  }
  COPPICE_RETURN_IF_ERROR(demand({"url", "bytes", "sha256", "licence", "source"}));
  const std::optional<Url> url = parse_url(fields.at("url"));
  if (!url.has_value()) {
    return absl::InvalidArgumentError("url must be an address, as https://example.org/model.gguf");
  }
  model.url = *url;
  COPPICE_ASSIGN_OR_RETURN(model.bytes, read_bytes(fields, "bytes"));
  COPPICE_ASSIGN_OR_RETURN(model.sha256, read_hash(fields, "sha256"));
  model.licence = fields.at("licence");
  model.source = fields.at("source");
  if (fields.contains("member")) {
    COPPICE_RETURN_IF_ERROR(demand({"member-bytes", "member-sha256"}));
    model.member = fields.at("member");
    COPPICE_ASSIGN_OR_RETURN(model.member_bytes, read_bytes(fields, "member-bytes"));
    COPPICE_ASSIGN_OR_RETURN(model.member_sha256, read_hash(fields, "member-sha256"));
  }
  return model;
}

absl::StatusOr<Fields> read_fields(const YAML::Node& entry) {
  static constexpr std::array<std::string_view, 10> kNames = {
      "name", "hub", "url", "bytes", "sha256", "member", "member-bytes", "member-sha256", "licence", "source"};
  if (!entry.IsMap()) {
    return absl::InvalidArgumentError("must be a mapping with a name");
  }
  Fields fields;
  for (const auto& field : entry) {
    if (!field.first.IsScalar() || !field.second.IsScalar()) {
      return absl::InvalidArgumentError("must have \"name: value\" alone");
    }
    const std::string& name = field.first.Scalar();
    if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
      return absl::InvalidArgumentError(fmt::format("unknown field \"{}\"", printable(name)));
    }
    if (!fields.emplace(name, field.second.Scalar()).second) {
      return absl::InvalidArgumentError(fmt::format("\"{}\" stands twice", name));
    }
  }
  return fields;
}

// The last part of a path.
std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// Where things of one model lie, and fetching them. Owner: find_named_model()'s stack.
class NamedFetch {
 public:
  NamedFetch(const NamedModel& model, const FetchOptions& options)
      : model_(model),
        options_(options),
        folder_(options.models_cache / fmt::format("{}-{}", model.name, model.sha256.substr(0, kShownDigits))),
        archive_(folder_ / "archive") {
    const std::string name = model.member.empty() ? download_name() : file_name(model.member);
    file_ = folder_ / (is_safe_path(name) && name.ends_with(".gguf") ? name : model.name + ".gguf");
  }

  absl::StatusOr<fs::path> run() {
    if (is_there()) {
      return file_;
    }
    if (options_.is_offline) {
      std::error_code error;
      return absl::NotFoundError(
          fmt::format("looked for {}{}; offline, it is not fetched: leave out --offline (HF_HUB_OFFLINE)",
                      file_.string(), fs::exists(file_, error) ? ", which is there but damaged" : ""));
    }
    COPPICE_ASSIGN_OR_RETURN(const HubOptions hub, options_.hub());
    COPPICE_RETURN_IF_ERROR(make_folders(folder_));
    // Over fetching and unpacking: the archive goes in between.
    COPPICE_ASSIGN_OR_RETURN(const LockFile lock, LockFile::take(folder_ / ".lock", [this] { return say_waiting(); }));
    if (is_there()) {
      return file_;
    }
    const bool is_packed = !model_.member.empty();
    COPPICE_RETURN_IF_ERROR(remove_damaged(is_packed));
    constexpr double kMegabyte = 1e6;  // bytes
    spdlog::info("{}: fetching {:.1f} MB from {} to {}", model_.name, static_cast<double>(model_.bytes) / kMegabyte,
                 model_.url.shown(), folder_.string());
    spdlog::info("{}: {}; licence: {}", model_.name, model_.source, model_.licence);
    const Download download{.url = model_.url,
                            .what = download_name(),
                            .bytes = model_.bytes,
                            .hash = model_.sha256,
                            .path = is_packed ? archive_ : file_,
                            .lock = folder_ / ".fetch.lock"};
    COPPICE_RETURN_IF_ERROR(download_all(HttpsClient(hub.https), {download}, options_.progress));
    if (is_packed) {
      COPPICE_RETURN_IF_ERROR(unpack());
    }
    return file_;
  }

 private:
  bool is_there() const {
    return model_.member.empty() ? has_content(file_, model_.bytes, model_.sha256)
                                 : has_content(file_, model_.member_bytes, model_.member_sha256);
  }

  // Of the name that the address gives it, without a query.
  std::string download_name() const { return file_name(model_.url.target.substr(0, model_.url.target.find('?'))); }

  // What has the right size alone would be taken for the model.
  absl::Status remove_damaged(bool is_packed) const {
    std::error_code error;
    if (fs::remove(file_, error)) {
      spdlog::warn("{}: {} was damaged; it is fetched again", model_.name, file_.string());
    }
    fs::path stays = error ? file_ : fs::path();
    if (is_packed && fs::exists(archive_, error) && !has_content(archive_, model_.bytes, model_.sha256) &&
        !fs::remove(archive_, error)) {
      stays = archive_;
    }
    return stays.empty() ? absl::OkStatus()
                         : absl::FailedPreconditionError(
                               fmt::format("{} is damaged and cannot be removed: {}", stays.string(), error.message()));
  }

  absl::Status say_waiting() {
    if (!std::exchange(has_said_, true)) {
      spdlog::info("{}: another process is fetching it; waiting", model_.name);
    }
    return absl::OkStatus();
  }

  absl::Status unpack() {
    COPPICE_ASSIGN_OR_RETURN(PartFile file, PartFile::open(file_));
    COPPICE_RETURN_IF_ERROR(file.clear());
    absl::Status status = extract_member(archive_, model_.member, model_.member_bytes, file);
    if (status.ok()) {
      ContentHash hash(HashKind::kSha256, model_.member_bytes);
      COPPICE_RETURN_IF_ERROR(file.hash(hash));
      const std::string found = hash.finish();
      status = found == model_.member_sha256
                   ? file.finish()
                   : absl::DataLossError(fmt::format("{}: its hash should be {}, and is {}", model_.member,
                                                     model_.member_sha256, found));
    }
    if (!status.ok()) {
      file.remove();
      return status;
    }
    std::error_code ignored;
    fs::remove(archive_, ignored);
    return absl::OkStatus();
  }

  const NamedModel& model_;
  const FetchOptions& options_;
  const fs::path folder_;
  const fs::path archive_;
  fs::path file_;
  bool has_said_ = false;
};

}  // namespace

absl::StatusOr<std::vector<NamedModel>> read_named_models(const fs::path& path) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(path, kTableBytesMost));
  return parse_named_models(text, path.string());
}

absl::StatusOr<std::vector<NamedModel>> parse_named_models(const std::string& text, const std::string& path) {
  std::vector<NamedModel> models;
  try {
    const YAML::Node root = YAML::Load(text);
    if (!root.IsSequence() && !root.IsNull()) {
      return absl::InvalidArgumentError(fmt::format("{}: must be a list of models", path));
    }
    for (const YAML::Node& entry : root) {
      const absl::StatusOr<Fields> fields = read_fields(entry);
      absl::StatusOr<NamedModel> model = fields.ok() ? read_model(*fields) : fields.status();
      if (!model.ok()) {
        return absl::InvalidArgumentError(
            fmt::format("{}:{}: {}", path, entry.Mark().line + 1, std::string(model.status().message())));
      }
      models.push_back(*std::move(model));
    }
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, error.mark.line + 1, error.msg));
  }
  return models;
}

absl::StatusOr<fs::path> find_named_model(const NamedModel& model, const FetchOptions& options) {
  if (!model.hub.empty()) {
    return find_hub_model(*parse_hub_name(model.hub), options);
  }
  absl::StatusOr<fs::path> path = NamedFetch(model, options).run();
  return path.ok() ? path
                   : absl::Status(path.status().code(),
                                  fmt::format("{}: {}", model.name, std::string(path.status().message())));
}

}  // namespace coppice::server
