// The only file that includes sentencepiece.
#include "text/tokenizer/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <utility>

namespace coppice::text {

class SentencePieceModel::Library {
 public:
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceModel::SentencePieceModel(std::unique_ptr<Library> library) : library_(std::move(library)) {}

SentencePieceModel::~SentencePieceModel() = default;

std::unique_ptr<SentencePieceModel> SentencePieceModel::load(std::string_view serialized, std::string& error) {
  auto library = std::make_unique<Library>();
  try {  // the library throws when it cannot make an index of the pieces
    const sentencepiece::util::Status status = library->processor.LoadFromSerializedProto(serialized);
    if (!status.ok()) {
      error = status.ToString();
      return nullptr;
    }
  } catch (const std::exception& exception) {
    error = exception.what();
    return nullptr;
  }
  return std::unique_ptr<SentencePieceModel>(new SentencePieceModel(std::move(library)));
}

bool SentencePieceModel::encode(std::string_view utf8, std::vector<std::int32_t>& ids, std::string& error) const {
  const sentencepiece::util::Status status = library_->processor.Encode(utf8, &ids);
  if (!status.ok()) {
    error = status.ToString();
  }
  return status.ok();
}

std::int32_t SentencePieceModel::size() const {
  return library_->processor.GetPieceSize();
}

const std::string& SentencePieceModel::piece(std::int32_t id) const {
  return library_->processor.IdToPiece(id);
}

SentencePieceKind SentencePieceModel::piece_kind(std::int32_t id) const {
  if (library_->processor.IsUnknown(id)) {
    return SentencePieceKind::kUnknown;
  }
  if (library_->processor.IsControl(id)) {
    return SentencePieceKind::kControl;
  }
  return library_->processor.IsByte(id) ? SentencePieceKind::kByte : SentencePieceKind::kNormal;
}

std::int32_t SentencePieceModel::bos_id() const {
  return library_->processor.bos_id();
}
std::int32_t SentencePieceModel::eos_id() const {
  return library_->processor.eos_id();
}
std::int32_t SentencePieceModel::unk_id() const {
  return library_->processor.unk_id();
}
std::int32_t SentencePieceModel::pad_id() const {
  return library_->processor.pad_id();
}

}  // namespace coppice::text
