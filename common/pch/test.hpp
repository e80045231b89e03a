// std.hpp, and Catch2.
#pragma once

#include <catch2/catch.hpp>

#include "common/pch/std.hpp"
