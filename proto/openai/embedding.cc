// Embeddings read, shaped and written.
#include "proto/openai/embedding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/json_writer.h"

namespace coppice::openai {
namespace {

constexpr std::size_t kFloatTextBytes = 16;  // "-1.17549435e-38,": the longest shortest text of a float, and a comma
constexpr std::size_t kEntryBytes = 64;      // {"object":"embedding","index":2047,"embedding":}, and a comma

// Text, or token ids as the client counts them.
Schema input_schema(const RequestLimits& limits) {
  const auto inputs_max = static_cast<std::size_t>(limits.inputs_max);
  const Schema text = Schema::string(1);
  const Schema tokens = Schema::array(Schema::integer(0, limits.vocab - 1), 1,
                                      static_cast<std::size_t>(limits.model_tokens_max), "token ids");
  return Schema::one_of("text, token ids, or an array of texts or of arrays of token ids",
                        {text, Schema::array(text, 1, inputs_max, "texts"), tokens,
                         Schema::array(tokens, 1, inputs_max, "arrays of token ids")});
}

std::vector<TokenId> take_tokens(const Json& tokens) {
  std::vector<TokenId> ids;
  ids.reserve(tokens.size());
  for (const Json& token : tokens) {
    ids.push_back(static_cast<TokenId>(as_integer(token).value_or(0)));
  }
  return ids;
}

// REQUIRES: input_schema().
std::vector<Prompt> take_inputs(Json& input) {
  std::vector<Prompt> inputs;
  if (input.is_string()) {
    inputs.emplace_back(std::move(input.get_ref<std::string&>()));
  } else if (is_number(input.front())) {
    inputs.emplace_back(take_tokens(input));
  } else {
    for (Json& item : input) {
      if (item.is_string()) {
        inputs.emplace_back(std::move(item.get_ref<std::string&>()));
      } else {
        inputs.emplace_back(take_tokens(item));
      }
    }
  }
  return inputs;
}

std::size_t text_bytes(const std::vector<Prompt>& inputs) {
  std::size_t bytes = 0;
  for (const Prompt& input : inputs) {
    const auto* const text = std::get_if<std::string>(&input);
    bytes += text == nullptr ? 0 : text->size();
  }
  return bytes;
}

std::string base64_of(std::span<const float> vector) {
  static_assert(std::endian::native == std::endian::little, "base64 is of little-endian floats");
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)));
}

}  // namespace

Schema embedding_schema(const RequestLimits& limits) {
  const auto name_max = static_cast<std::size_t>(limits.name_bytes_max);
  return Schema::object({
      optional("model", Schema::string(0, name_max), "The served model's name, or nothing."),
      required("input", input_schema(limits), "What to embed: one vector for each text."),
      optional("encoding_format", Schema::word({"float", "base64"}),
               "Numbers, or base64 of their bytes as little-endian float32. Default: float."),
      optional("dimensions", Schema::integer(1, std::numeric_limits<std::int32_t>::max()),
               "Length of the vectors, for models whose makers say that they may be cut."),
      optional("pooling", Schema::word({"last", "mean"}),
               "The final hidden state of the last token, or the mean of all tokens'. Default: the model's own, else "
               "last."),
      optional("normalize", Schema::boolean(), "Brings vectors to length 1. Default: true."),
      optional("add_special_tokens", Schema::boolean(),
               "Puts the model's BOS and the like around texts. Default: true."),
      optional("priority",
               Schema::integer(std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()),
               "Lower runs first."),
      optional("cache_salt", Schema::string(0, name_max), "Only requests of the same salt share cached prefixes."),
      optional("user", Schema::string(0, name_max), "Who asks. No effect."),
  });
}

Schema embedding_answer_schema() {
  const Schema vector = Schema::one_of("numbers or base64", {Schema::array(Schema::number()), Schema::string()});
  const Schema entry = Schema::object({required("object", Schema::word({"embedding"})),
                                       required("index", Schema::integer(0)), required("embedding", vector)});
  const Schema details = Schema::object(
      {required("cached_tokens", Schema::integer(0)), required("cache_write_tokens", Schema::integer(0))});
  const Schema usage =
      Schema::object({required("prompt_tokens", Schema::integer(0)), required("total_tokens", Schema::integer(0)),
                      required("prompt_tokens_details", details)});
  return Schema::object({required("object", Schema::word({"list"})), required("model", Schema::string()),
                         required("data", Schema::array(entry.named("Embedding"))), required("usage", usage)})
      .named("EmbeddingList");
}

Result<EmbeddingRequest> parse_embedding_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  Json& fields = parsed.value();
  if (MaybeError error = embedding_schema(limits).check(fields, "")) {
    return *std::move(error);
  }
  EmbeddingRequest request;
  FieldReader reader(fields);
  reader.read("model", request.model);
  reader.read("dimensions", request.dimensions);
  reader.read("normalize", request.normalize);
  reader.read("add_special_tokens", request.add_special_tokens);
  reader.read("priority", request.priority);
  reader.read("cache_salt", request.cache_salt);
  constexpr IgnoredField kIgnored[] = {{"user"}};
  request.ignored.add_present(reader, kIgnored);
  const Json* const format = reader.find("encoding_format");
  request.is_base64 = format != nullptr && *format == "base64";
  if (const Json* const pooling = reader.find("pooling")) {
    request.pooling = *pooling == "mean" ? Pooling::kMean : Pooling::kLast;
  }
  request.inputs = take_inputs(fields["input"]);
  if (MaybeError error = check_text_bytes("input", text_bytes(request.inputs), limits)) {
    return *std::move(error);
  }
  return request;
}

std::size_t embedding_answer_bytes(std::size_t count, std::size_t width, bool is_base64) {
  const std::size_t vector = is_base64 ? (width * sizeof(float) + 2) / 3 * 4 : width * kFloatTextBytes;
  return count * (vector + kEntryBytes);
}

std::string write_embeddings(const EmbeddingFormat& format, std::span<const std::vector<float>> vectors,
                             const AnswerUsage& usage) {
  JsonWriter out;
  out.begin_object().key("object").string("list").key("model").string(format.model).key("data").begin_array();
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    out.begin_object().key("object").string("embedding").key("index").integer(static_cast<std::int64_t>(i));
    out.key("embedding");
    if (format.is_base64) {
      out.string(base64_of(vectors[i]));
    } else {
      out.begin_array();
      for (const float number : vectors[i]) {
        out.single(number);
      }
      out.end_array();
    }
    out.end_object();
  }
  out.end_array().key("usage").begin_object();
  out.key("prompt_tokens").integer(usage.prompt_tokens).key("total_tokens").integer(usage.prompt_tokens);
  out.key("prompt_tokens_details").begin_object();
  out.key("cached_tokens").integer(usage.cached_tokens).key("cache_write_tokens").integer(usage.cache_write_tokens);
  out.end_object().end_object().end_object();
  return out.take();
}

std::vector<float> shape_embedding(std::vector<float> hidden, const std::optional<std::int64_t>& dimensions,
                                   bool normalize) {
  if (dimensions) {
    hidden.resize(std::min(hidden.size(), static_cast<std::size_t>(*dimensions)));
  }
  double squares = 0;
  for (const float number : hidden) {
    squares += static_cast<double>(number) * number;
  }
  if (normalize && squares > 0) {
    const double length = std::sqrt(squares);
    for (float& number : hidden) {
      number = static_cast<float>(number / length);
    }
  }
  return hidden;
}

}  // namespace coppice::openai
