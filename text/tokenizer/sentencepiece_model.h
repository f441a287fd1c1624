// Wraps the sentencepiece library. Its header declares names in absl's namespace that clash with absl itself, so only
// sentencepiece_model.cc includes it, and neither file includes absl.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::text {

enum class SentencePieceKind : std::uint8_t { kNormal, kUnknown, kControl, kByte };

// A loaded `tokenizer.model`. Thread: immutable; any may call any method.
class SentencePieceModel {
 public:
  // Returns the model, or null with one line in `error` when the library refuses the bytes.
  static std::unique_ptr<SentencePieceModel> load(std::string_view serialized, std::string& error);

  SentencePieceModel(const SentencePieceModel&) = delete;
  SentencePieceModel& operator=(const SentencePieceModel&) = delete;
  ~SentencePieceModel();

  // Replaces `ids` by the ids of `utf8`. Returns false, with one line in `error`, when the library fails.
  bool encode(std::string_view utf8, std::vector<std::int32_t>& ids, std::string& error) const;

  std::int32_t size() const;
  // REQUIRES: 0 <= id < size().
  const std::string& piece(std::int32_t id) const;
  SentencePieceKind piece_kind(std::int32_t id) const;
  // Each returns -1 when the model has no such piece.
  std::int32_t bos_id() const;
  std::int32_t eos_id() const;
  std::int32_t unk_id() const;
  std::int32_t pad_id() const;

 private:
  class Library;
  explicit SentencePieceModel(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

}  // namespace coppice::text
