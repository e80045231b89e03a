// std.hpp, and what the command line's two ends include.
#pragma once

#include <boost/json.hpp>
#include <fmt/format.h>

#include "common/pch/std.hpp"
