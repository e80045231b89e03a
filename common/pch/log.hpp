// std.hpp, and what who logs includes.
#pragma once

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "common/pch/std.hpp"
