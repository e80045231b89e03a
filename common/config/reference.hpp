// Writes configs/reference.yaml from the schema: every key with its help, what it takes and its default.
// The file in the repository is this text; a test holds them together, so that the reference cannot fall behind the code.
#pragma once

#include <string>

namespace culvert::config {

std::string reference_text();

}  // namespace culvert::config
