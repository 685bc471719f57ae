// See DfsTargets.cmake.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pch_std.h"
