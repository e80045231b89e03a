// The version of this build, as the command line tools and the metrics show it.
#pragma once

#include <string_view>

namespace culvert::control {
#ifndef CULVERT_VERSION
#error "the build defines CULVERT_VERSION"
#endif
inline constexpr std::string_view kVersion = CULVERT_VERSION;
}  // namespace culvert::control
