// What the files and batches APIs take and answer, for documents. The readers and writers are files.h and batches.h.
#pragma once

#include "proto/openai/schema.h"

namespace coppice::openai {

// The parts of an upload's form.
Schema file_form_schema();
Schema file_schema();
Schema file_list_schema();
Schema file_deleted_schema();

Schema batch_request_schema();
Schema batch_schema();
Schema batch_list_schema();

}  // namespace coppice::openai
