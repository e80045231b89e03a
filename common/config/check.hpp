// What `culvertd --check FILE` does: reads the file, prints every finding, says how it ends. Touches nothing else.
#pragma once

#include <iosfwd>
#include <string>

#include "common/config/load.hpp"

namespace culvert::config {

/// Prints each finding of `path` on a line of its own and a closing line ("FILE: ok", "FILE: 3 errors"). 0: usable, 1: not.
int check(const std::string& path, std::ostream& out, const Further& further = {});

}  // namespace culvert::config
